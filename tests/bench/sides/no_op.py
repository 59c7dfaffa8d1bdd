"""The framework alone: FastAPI's own POST of the same order, validated, answered with its id."""

from __future__ import annotations

from fastapi import FastAPI

from app.api.schemas.order import Order

app = FastAPI()


@app.get("/readyz")
async def ready() -> dict[str, bool]:
    """Return that it serves."""
    return {"ready": True}


@app.post("/checkout", status_code=201)
async def checkout(order: Order) -> dict[str, str]:
    """Validate, and do nothing."""
    return {"id": order.order_id, "status": "completed"}
