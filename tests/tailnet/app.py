"""The traced app behind the tailnet's nginx: it says which headers reached it."""

from fastapi import FastAPI, Request

import tailtrace

app = FastAPI()
tailtrace.instrument(app)


@app.get("/items/{item_id}")
async def item(item_id: int, request: Request) -> dict[str, object]:
    return {"item": item_id, "headers": dict(request.headers)}
