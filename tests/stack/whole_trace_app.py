"""An app with children: it asks another app by httpx, and a database by SQLAlchemy. A real uvicorn, run as a program.

python whole_trace_app.py PORT PORT-OF-THE-OTHER
"""

import sys

import httpx
import uvicorn
from fastapi import FastAPI
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from sqlalchemy import create_engine, text

import tailtrace

port, other = int(sys.argv[1]), int(sys.argv[2])
app = FastAPI()


@app.get("/health")
async def health():
    return "ok"


@app.get("/orders/{order_id}")
async def order(order_id: int):
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{other}/stock/{order_id}")
    return answer.json()


@app.get("/stock/{order_id}")
def stock(order_id: int):
    with engine.connect() as connection:
        return {"stock": connection.execute(text("SELECT 40 + 2")).scalar()}


@app.get("/fails/{order_id}")
async def fails(order_id: int):
    raise ValueError("no such order")


tailtrace.instrument(app)
HTTPXClientInstrumentor().instrument()
engine = create_engine("sqlite://")
SQLAlchemyInstrumentor().instrument(engine=engine)
uvicorn.run(app, port=port, log_level="warning")
