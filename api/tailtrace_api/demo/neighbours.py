"""The factory's neighbours: three small apps behind the same nginx, each a `server` block of its own, so a service.

All three have a page at `/`, which is one endpoint for each of them. One process answers for them all: the weather's.
"""

from fastapi import FastAPI

NEIGHBOURS = ("shop.example", "wiki.example", "cams.example")
"""Their names in nginx."""
PAGES = ("/", "/pages/cocoa", "/pages/conche")

_SERVER = """
    server {
        listen @LISTEN@;
        server_name @NAME@;
        include @INCLUDES@tailtrace-server.conf;
        location / {
            include @INCLUDES@tailtrace-proxy.conf;
            proxy_http_version 1.1;
            proxy_set_header Connection close;
            proxy_pass http://127.0.0.1:@APP_PORT@;
        }
    }
"""


def server_blocks(listen: str, app_port: int, includes: str = "") -> str:
    """Return nginx's configuration of them, on the address where the factory's own server listens.

    `includes`: the folder of the files of `tailtrace nginx`, with a slash; empty: beside nginx's own file.
    """
    filled = _SERVER.replace("@LISTEN@", listen).replace("@APP_PORT@", str(app_port)).replace("@INCLUDES@", includes)
    return "".join(filled.replace("@NAME@", name) for name in NEIGHBOURS)


def add_neighbours(app: FastAPI) -> None:
    """Add their pages."""

    @app.get("/")
    async def home() -> dict[str, str]:
        return {"page": "home"}

    @app.get("/pages/{page}")
    async def page(page: str) -> dict[str, str]:
        return {"page": page}
