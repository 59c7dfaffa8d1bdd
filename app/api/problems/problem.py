"""An answer that is not what was asked for, as problem details (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import Response

from app.api.http.json_encoding import encode
from app.api.middleware.proxies.base_path import link
from app.api.problems.catalogue import PROBLEMS

MEDIA_TYPE = "application/problem+json"


@dataclass(eq=False)
class Problem(Exception):
    """An answer that is not what was asked for. Raise it anywhere below the API.

    `detail` says what is true of this occurrence, and never repeats what the caller sent; without it
    the table's text is used. `members` are added to the problem's own.
    """

    name: str
    detail: str | None = None
    code: str | None = None
    members: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self, request_id: str) -> dict[str, Any]:
        """Return the problem details."""
        row = PROBLEMS[self.name]
        return {
            "type": link(f"/problems/{self.name}"),
            "title": row.title,
            "status": row.status,
            "detail": self.detail or f"{row.happened} {row.to_do}",
            "code": self.code or self.name,
            "request_id": request_id,
            **self.members,
        }

    def response(self, request_id: str) -> Response:
        """Return the answer, with Retry-After where the table has it."""
        row = PROBLEMS[self.name]
        headers = {"Cache-Control": "no-store", **self.headers}
        if row.retry_after is not None:
            headers.setdefault("Retry-After", str(row.retry_after))
        return Response(encode(self.body(request_id)), row.status, headers, MEDIA_TYPE)
