"""The framework alone: FastAPI's own POST of the same order, answered with as much as a checkout's answer is.

python no_op.py --port 9000 [--workers 2]
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from front import Order, serve  # type: ignore[import-not-found]  # beside this file, as it is run

STEP = {
    "status": "succeeded",
    "attempts": 1,
    "error": None,
    "started_at": "2026-01-01T00:00:00.000000Z",
    "finished_at": "2026-01-01T00:00:00.000000Z",
    "compensation": None,
    "resolved_by": None,
}
ANSWER: dict[str, Any] = {
    "definition": "checkout",
    "version": 1,
    "status": "completed",
    "customer_id": "cus-7",
    "amount": 3998,
    "currency": "EUR",
    "created_at": "2026-01-01T00:00:00.000000Z",
    "updated_at": "2026-01-01T00:00:00.000000Z",
    "finished_at": "2026-01-01T00:00:00.000000Z",
    "next_action_at": None,
    "failure": None,
    "attention": None,
    "cancel": None,
    "steps": [
        {"name": name, **STEP, "result": {f"{name}_id": f"{name}-b4e4da6ca5f99c4ecb3ae91f", "status": "done"}}
        for name in ("payment", "inventory", "shipping")
    ],
    "trail": [
        {
            "seq": number,
            "at": "2026-01-01T00:00:00.000000Z",
            "event": "step_succeeded",
            "step": "payment",
            "attempt": 1,
            "duration_ms": 7.283,
        }
        for number in range(1, 6)
    ],
}

app = FastAPI()


@app.get("/readyz")
async def ready() -> dict[str, bool]:
    """Return that it serves."""
    return {"ready": True}


@app.post("/checkout", status_code=201)
async def checkout(order: Order) -> dict[str, Any]:
    """Validate, and do nothing."""
    return {"id": order.order_id, **ANSWER}


if __name__ == "__main__":
    serve("no_op:app")
