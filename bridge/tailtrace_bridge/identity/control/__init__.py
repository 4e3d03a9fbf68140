"""The control API of Tailscale or Headscale: which devices there are, whose they are, since when.

| file | does |
|---|---|
| `devices` | the record `Device`, the index by address, what the two APIs' JSON means |
| `auth` | API key, or OAuth client with its short-lived token |
| `transport` | one GET: time limits, tries, waiting when told to, errors that say what to do |
| `cache` | five minutes of memory, one load at a time, old answers for a while |
| `lookups` | what both clients answer: list, by address, by id, status, whois |
| `client`, `headscale` | the two clients |
| `provider` | the identity provider `control`, with an index that a thread renews |
| `testing` | a fake of both APIs, a real HTTP server on loopback |

The control API has no whois: a name comes from the list of devices, by address.
"""
