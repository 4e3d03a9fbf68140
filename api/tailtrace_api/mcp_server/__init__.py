"""The answers as tools for an assistant, by the Model Context Protocol: over stdio, and as `/mcp` over HTTP.

`tools` says which there are; `source` where their answers come from; `fence` what is done to untrusted text;
`server` speaks the protocol. Only `server`, `stdio` and `mount` import the SDK, and the last does it when it is asked.
"""
