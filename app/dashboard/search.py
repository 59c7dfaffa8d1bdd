"""What the list shows, as its URL says: every view of it can be sent to a colleague."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from urllib.parse import urlencode

from starlette.requests import Request

from app.access.principal import Principal
from app.api.http import query
from app.api.middleware.base_path import link
from app.saga.model.status import SagaStatus
from app.saga.ports.queries import SagaFilter

AGES = {
    "": "any time",
    "5m": "in the last 5 minutes",
    "1h": "in the last hour",
    "1d": "in the last day",
    "7d": "in the last 7 days",
    "over-5m": "more than 5 minutes ago",
    "over-1h": "more than an hour ago",
    "over-1d": "more than a day ago",
}
"""When it began."""

_AGE = re.compile(r"(over-)?(\d+)([mhd])")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_PARAMETERS = ("status", "q", "step", "age", "span", "cursor")
_SAGA_ID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """The list's parameters. `q` is a saga's id, an order's or a customer's, whole.

    Those that failed at a step are looked for in the last seven days where nothing else is said: no index
    knows them, and years of checkouts would have to be read.
    """

    status: SagaStatus | None = None
    q: str = ""
    step: str = ""
    age: str = ""
    span: str = "hour"
    cursor: str = ""

    @classmethod
    def of(cls, request: Request) -> Search:
        """Return what a request asks for; raise an `invalid_request` problem that names what is wrong."""
        found = query.parameters(request, _PARAMETERS)
        status, age, span = found.get("status", ""), found.get("age", ""), found.get("span", "") or "hour"
        if status and status not in list(SagaStatus):
            raise query.wrong("status", "wrong_form", f"Give one of {', '.join(SagaStatus)}.")
        if age not in AGES:
            raise query.wrong("age", "wrong_form", f"Give one of {', '.join(filter(None, AGES))}.")
        if span not in {"hour", "day"}:
            raise query.wrong("span", "wrong_form", "Give hour or day.")
        query.before(found)
        return cls(
            status=SagaStatus(status) if status else None,
            q=query.text(found | {"q": found.get("q", "").strip()}, "q") or "",
            step=query.text(found, "step") or "",
            age=age or ("7d" if found.get("step") else ""),
            span=span,
            cursor=found.get("cursor", ""),
        )

    @property
    def saga_id(self) -> str | None:
        """The saga that is looked for by its id."""
        return self.q.lower() if _SAGA_ID.fullmatch(self.q.lower()) else None

    @property
    def narrowed(self) -> bool:
        """Whether not everything is shown."""
        return bool(self.status or self.q or self.step or self.age)

    @property
    def before(self) -> str | None:
        """The id below which the page begins."""
        return query.before({"cursor": self.cursor})

    def wanted(self, caller: Principal, now: datetime) -> list[SagaFilter]:
        """Return what to ask for: a saga is shown that fits any of these."""
        wanted = SagaFilter(
            caller=None if caller.all_tenants else caller.tenant,
            status=self.status,
            failing_step=self.step or None,
        )
        if self.age and (match := _AGE.fullmatch(self.age)):
            at = now - int(match[2]) * _UNITS[match[3]]
            wanted = replace(wanted, created_before=at) if match[1] else replace(wanted, created_after=at)
        if not self.q:
            return [wanted]
        return [replace(wanted, order_id=self.q), replace(wanted, customer_id=self.q)]

    def url(self, **changes: str | SagaStatus | None) -> str:
        """Return the URL of the same list with these parameters instead; a page on begins anew."""
        members = {
            "status": self.status,
            "q": self.q,
            "step": self.step,
            "age": self.age,
            "span": "" if self.span == "hour" else self.span,
            "cursor": "",
            **changes,
        }
        encoded = urlencode({name: str(value) for name, value in members.items() if value})
        return link(f"/?{encoded}" if encoded else "/")
