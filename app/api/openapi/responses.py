"""What a route says of its answers beside its function: their headers, and the problems that it may answer with.

The problems are only named there: the description has each with an example (`problem_responses`).
"""

from __future__ import annotations

from typing import Any

from fastapi.routing import APIRoute

Described = dict[str, Any]

PROBLEMS_MARK = "x-problems"


def header_refs(*names: str) -> Described:
    """Return the headers of an answer by reference."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def headers(*names: str) -> Described:
    """Return what is said of an answer that has these headers."""
    return {"headers": header_refs(*names)}


def problems(*names: str) -> Described:
    """Return what is said of a route that may answer with these problems, beside those that all have."""
    return {PROBLEMS_MARK: list(names)}


def operation_id(route: APIRoute) -> str:
    """Return what generated clients call an operation: its function's name."""
    return route.name
