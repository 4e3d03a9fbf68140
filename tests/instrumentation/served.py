"""The app of `test_servers`: imported by the server under test."""

from fastapi import FastAPI

import tailtrace

app = FastAPI(title="shop")


@app.get("/items/{item_id}")
async def item(item_id: int) -> dict[str, int]:
    return {"item": item_id}


@app.get("/raises")
async def raises() -> None:
    raise ValueError


@app.post("/upload")
async def upload(body: dict[str, str]) -> int:
    return len(body["text"])


sub = FastAPI()


@sub.get("/reports/{day}")
async def report(day: str) -> str:
    return day


app.mount("/sub", sub)
tailtrace.instrument(app)
