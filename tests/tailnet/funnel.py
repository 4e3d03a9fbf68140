"""One request from the internet through Funnel: what Tailscale's relay does with it, and the status that comes back, or 0.

python funnel.py PEER_API HOST:PORT SOURCE_ADDRESS:PORT PATH [HEADER …]

The relay asks the node's peer API to take the connection over, then the bytes of who asked follow on it.
`handleServeIngress` of tailscale.com/ipn/ipnlocal is the other side.
"""

import socket
import sys
from contextlib import suppress
from urllib.parse import urlsplit

api, target, source, path, *headers = sys.argv[1:]
to = urlsplit(api)
assert to.hostname, api
status = b"0"
with suppress(OSError), socket.create_connection((to.hostname, to.port or 80), timeout=5) as connection:
    connection.sendall(
        f"POST /v0/ingress HTTP/1.1\r\nHost: {to.netloc}\r\nContent-Length: 0\r\n"
        f"Tailscale-Ingress-Src: {source}\r\nTailscale-Ingress-Target: {target}\r\n\r\n".encode()
    )
    answers = connection.makefile("rb")
    status = answers.readline().split()[1]
    if status == b"101":
        while answers.readline().strip():
            pass
        more = "".join(f"{header}\r\n" for header in headers)
        host = target.rpartition(":")[0]
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n".encode())
        status = answers.readline().split()[1]
sys.stdout.write(status.decode())
