"""What the list shows, as its URL says: every view of it can be sent to a colleague."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, model_validator

from app.access.principal import Principal
from app.api.http.parameters import Name, one_of, saga_before, saga_cursor
from app.api.middleware.proxies.base_path import link
from app.api.problems.validation import InvalidValue
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
_SAGA_ID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")


def _among(words: Collection[str]) -> AfterValidator:
    """Take one of these words."""

    def check(value: str) -> str:
        if value not in words:
            raise InvalidValue("wrong_form", f"Give one of {', '.join(filter(None, words))}.")
        return value

    return AfterValidator(check)


def _cursor(value: str) -> str:
    return saga_cursor(saga_before(value)) if value else ""


class Search(BaseModel):
    """The list's parameters. `q` is a saga's id, an order's or a customer's, whole.

    Sagas that failed at a step are looked for in the last seven days if nothing else is said: no index
    has them, and years of checkouts would have to be read.
    """

    model_config = ConfigDict(frozen=True)

    status: Annotated[SagaStatus | None, one_of(SagaStatus)] = None
    q: Annotated[Name, BeforeValidator(lambda value: value.strip() if value else value)] = None
    step: Name = None
    age: Annotated[str, _among(AGES)] = ""
    span: Annotated[str, BeforeValidator(lambda value: value or "hour"), _among(("hour", "day"))] = "hour"
    cursor: Annotated[str, AfterValidator(_cursor)] = ""

    @model_validator(mode="before")
    @classmethod
    def _recent_failures(cls, given: dict[str, Any]) -> dict[str, Any]:
        return {**given, "age": given.get("age") or "7d"} if given.get("step") else given

    @property
    def saga_id(self) -> str | None:
        """The saga that is looked for by its id."""
        sought = (self.q or "").lower()
        return sought if _SAGA_ID.fullmatch(sought) else None

    @property
    def narrowed(self) -> bool:
        """Whether not everything is shown."""
        return bool(self.status or self.q or self.step or self.age)

    @property
    def before(self) -> str | None:
        """The id below which the page begins."""
        return saga_before(self.cursor) if self.cursor else None

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
