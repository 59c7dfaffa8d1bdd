"""What stands before every peer: FastAPI's own reading of the same order, under uvicorn with uvloop and httptools.

A peer's environment has FastAPI and uvicorn and nothing of this project.
"""

from __future__ import annotations

import argparse

import uvicorn
from pydantic import BaseModel


class Item(BaseModel):
    """A line of the order."""

    sku: str
    quantity: int
    unit_price: int


class Address(BaseModel):
    """Where it goes."""

    name: str
    line1: str
    city: str
    postal_code: str
    country: str


class Order(BaseModel):
    """The body that wrk sends to each side."""

    order_id: str
    customer_id: str
    currency: str
    items: list[Item]
    payment_method: str
    shipping_address: Address

    @property
    def refuses(self) -> bool:
        """Whether nothing is delivered there, so that the checkout is compensated."""
        return self.shipping_address.country == "XX"


def serve(app: str) -> None:
    """Serve `app` as uvicorn's documentation has it, on `--port`, with `--workers`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    uvicorn.run(
        app, port=given.port, workers=given.workers, loop="uvloop", http="httptools", log_level="error"
    )
