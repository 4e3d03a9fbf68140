"""The factory's second service: the weather of a station, over HTTP, traced like the app. Each 7th answer is a 503.

Its process has the pages of the factory's neighbours as well.
"""

import argparse
import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException

import tailtrace
from tailtrace_api.demo.neighbours import add_neighbours

FAILS_EACH = 7


def make_weather() -> FastAPI:
    """Make the service, traced."""
    app = FastAPI(title="Weather", version="2.3")
    tailtrace.instrument(app)
    count = itertools.count(1)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/stations/{station}")
    async def station(station: str) -> dict[str, Any]:
        await asyncio.sleep(0.008)
        if next(count) % FAILS_EACH == 0:
            raise HTTPException(503, "the station does not answer")
        return {"station": station, "temperature_c": 19.5, "humidity_percent": 61}

    add_neighbours(app)
    return app


def main(argv: Sequence[str] | None = None) -> None:
    """Serve the weather on loopback until a signal ends it."""
    parser = argparse.ArgumentParser(description="The demo's weather service")
    parser.add_argument("--port", type=int, required=True)
    uvicorn.run(
        make_weather(),
        host="127.0.0.1",
        port=parser.parse_args(argv).port,
        access_log=False,
        timeout_graceful_shutdown=2,
    )


if __name__ == "__main__":
    main()
