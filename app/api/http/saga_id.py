"""A saga's id in a path."""

from __future__ import annotations

import re

from app.api.problems.problem import Problem

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def known_form(saga_id: str) -> str:
    """Return the id; raise the same `not_found` for a malformed one as for one that nobody has."""
    if not _UUID.fullmatch(saga_id):
        raise Problem("not_found")
    return saga_id
