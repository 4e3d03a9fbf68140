"""The chocolate factory: a small FastAPI app as a team might have it, traced with one line.

Nothing in it knows who asks. What it does is a function of how often each route was asked, so that a demo shows the
same picture each time:

| route | time | fails |
|---|---|---|
| /dashboard/complete, /batches/{batch_id} | 2-40 ms | a batch that does not exist: 404 |
| /analysis/siar-summary: asks a database, and the weather service | 10-60 ms | raises where that one fails: each 7th |
| /insights/optimal-windows | 20-120 ms | |
| /optimize/production/daily | 50-300 ms | each 9th answers 500 |
| /predict/prices/weekly | 450-900 ms | each 13th raises |
"""

import argparse
import asyncio
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException

import tailtrace
from tailtrace_api.demo.climate import STATION, Climate

BATCHES = range(1, 500)
"""The batches that exist."""
CARDS = ("prices", "production", "weather", "energy", "quality")
SLOW_LOW_S, SLOW_HIGH_S = 0.45, 0.9
OPTIMIZE_FAILS_EACH = 9
FORECAST_RAISES_EACH = 13
_PACE_STEPS = 13


def _pace_s(count: int, low_s: float, high_s: float) -> float:
    """Return a time between the two that looks uneven and is not random."""
    return low_s + (high_s - low_s) * (count * 7 % _PACE_STEPS) / (_PACE_STEPS - 1)


def make_app(weather: str = "") -> FastAPI:
    """Make the app, traced. `weather` is where the weather service is, or empty."""
    app = FastAPI(title="Chocolate factory", version="1.0")
    tailtrace.instrument(app)
    _add_pages(app, Climate(weather))
    _add_models(app)
    return app


def _add_pages(app: FastAPI, climate: Climate) -> None:
    """Add what answers at once."""
    counts = {name: itertools.count(1) for name in ("dashboard", "windows", "siar", "batch")}

    @app.get("/health", summary="Health check")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/dashboard/complete", summary="Dashboard")
    async def dashboard() -> dict[str, Any]:
        await asyncio.sleep(_pace_s(next(counts["dashboard"]), 0.005, 0.04))
        return {"cards": list(CARDS), "line_running": True}

    @app.get("/insights/optimal-windows", summary="Best hours to produce")
    async def windows() -> dict[str, Any]:
        await asyncio.sleep(_pace_s(next(counts["windows"]), 0.02, 0.12))
        return {"windows": [{"from": "02:00", "to": "06:00", "eur_per_mwh": 41.3}]}

    @app.get("/analysis/siar-summary", summary="Climate summary")
    async def siar() -> dict[str, Any]:
        await asyncio.sleep(_pace_s(next(counts["siar"]), 0.002, 0.04))
        return {"station": STATION, "temperature_c": await climate.temperature_c()}

    @app.get("/batches/{batch_id}", summary="Batch")
    async def batch(batch_id: int) -> dict[str, Any]:
        await asyncio.sleep(_pace_s(next(counts["batch"]), 0.002, 0.02))
        if batch_id not in BATCHES:
            raise HTTPException(404, f"no batch {batch_id}: there are {BATCHES[0]} to {BATCHES[-1]}")
        return {"batch": batch_id, "cocoa_percent": 55 + batch_id % 40}


def _add_models(app: FastAPI) -> None:
    """Add what takes its time, and what breaks."""
    counts = {name: itertools.count(1) for name in ("forecast", "optimize")}

    @app.get("/predict/prices/weekly", summary="Prophet forecast")
    async def forecast() -> dict[str, Any]:
        count = next(counts["forecast"])
        await asyncio.sleep(_pace_s(count, SLOW_LOW_S, SLOW_HIGH_S))
        if count % FORECAST_RAISES_EACH == 0:
            raise FloatingPointError("the forecast did not converge")
        return {"eur_per_mwh": [round(40 + 12 * _pace_s(count + day, 0, 1), 2) for day in range(7)]}

    @app.post("/optimize/production/daily", summary="Daily production plan")
    async def optimize() -> dict[str, Any]:
        count = next(counts["optimize"])
        await asyncio.sleep(_pace_s(count, 0.05, 0.3))
        if count % OPTIMIZE_FAILS_EACH == 0:
            raise HTTPException(500, "no plan meets the demand: the conche is down")
        return {"plan": [{"hour": hour, "kg": 120} for hour in (2, 3, 4, 5)]}


def main(argv: Sequence[str] | None = None) -> None:
    """Write the app's OpenAPI document, and serve the app on loopback until a signal ends it."""
    parser = argparse.ArgumentParser(description="The demo's FastAPI app")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--openapi", type=Path, required=True, help="where the OpenAPI document goes")
    parser.add_argument("--weather", default="", help="where the weather service is")
    arguments = parser.parse_args(argv)
    app = make_app(arguments.weather)
    arguments.openapi.write_text(json.dumps(app.openapi()), encoding="utf-8")
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=arguments.port,
        access_log=False,
        timeout_graceful_shutdown=2,
    )


if __name__ == "__main__":
    main()
