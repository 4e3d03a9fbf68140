"""The factory's neighbours: three small apps behind the same nginx, each a `server` block of its own, so a service.

All three have a page at `/`, which is one endpoint for each of them. One process answers for them all: the weather's.
"""

from fastapi import FastAPI

NEIGHBOURS = ("shop.example", "wiki.example", "cams.example")
"""Their names in nginx."""
PAGES = ("/", "/pages/cocoa", "/pages/conche")

_SERVER = """
    server {
        listen @HOST@:@PORT@;
        server_name @NAME@;
        include tailtrace-server.conf;
        location / {
            include tailtrace-proxy.conf;
            proxy_http_version 1.1;
            proxy_set_header Connection close;
            proxy_pass http://127.0.0.1:@APP_PORT@;
        }
    }
"""


def server_blocks(host: str, port: int, app_port: int) -> str:
    """Return nginx's configuration of them, beside the factory's own server on the same address."""
    filled = _SERVER.replace("@HOST@", host).replace("@PORT@", str(port)).replace("@APP_PORT@", str(app_port))
    return "".join(filled.replace("@NAME@", name) for name in NEIGHBOURS)


def add_neighbours(app: FastAPI) -> None:
    """Add their pages."""

    @app.get("/")
    async def home() -> dict[str, str]:
        return {"page": "home"}

    @app.get("/pages/{page}")
    async def page(page: str) -> dict[str, str]:
        return {"page": page}
