"""The log events of the code: what each call of a logger in app/ names, at which level, with which fields.

An event is named by a literal, so that an operator finds the call by searching for the name. Outages are named by their
activity (`OutageReporter`), and a saga's own events by `EventType`.
"""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from app.saga.model.events import EventType
from app.telemetry.logs import SAGA_EVENT_LEVELS
from tests.processes import ROOT

APP = ROOT / "app"
LOGGERS = frozenset({"_logger", "logger"})
LEVELS = {
    "debug": "debug",
    "info": "info",
    "warning": "warning",
    "error": "error",
    "exception": "error",
    "critical": "critical",
}
NAMED_ELSEWHERE = frozenset({"saga/background/outage_reporter.py", "telemetry/logs.py"})
"""Their names are the activity of an outage, and the type of a saga's event."""

ACCESS_LOG = "telemetry/access_log.py"
"""Where the whole line of a request is made, as a dictionary."""

TRACEBACK = "a traceback"


@dataclass(kw_only=True)
class LogEvent:
    """An event, as all the calls that log it together describe it."""

    name: str
    levels: list[str] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)

    def add(self, levels: Sequence[str], fields: Sequence[str]) -> None:
        """Add what a call says."""
        self.levels += [one for one in levels if one not in self.levels]
        self.fields += [one for one in fields if one not in self.fields]

    @property
    def cells(self) -> str:
        """The cells of the event's row that the code decides."""
        named = [one if one == TRACEBACK else f"`{one}`" for one in self.fields]
        return f"| `{self.name}` | {' or '.join(self.levels)} | {', '.join(named)} |"


@dataclass(frozen=True, kw_only=True)
class LogCalls:
    """What was found in the code: the events by name, and the calls whose name isn't a literal."""

    events: dict[str, LogEvent]
    unnamed: list[str]


@cache
def log_calls() -> LogCalls:
    """Return the calls of all loggers in app/."""
    found = LogCalls(events={}, unnamed=[])
    for path in sorted(APP.rglob("*.py")):
        _add_module(path, found)
    return found


def _add_module(path: Path, found: LogCalls) -> None:
    tree = ast.parse(path.read_text())
    assigned = _assigned_dictionaries(tree)
    module = str(path.relative_to(APP))
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Dict)
            and module == ACCESS_LOG
            and (name := _text(_members(node).get("event")))
        ):
            fields = [key for key in _members(node) if key not in {"event", "at"}]
            found.events[name] = LogEvent(name=name)
            found.events[name].add(["info", "debug"], [*fields, "caller"])
        if not isinstance(node, ast.Call):
            continue
        for name, levels, fields in _events_of(node, assigned):
            if name is not None:
                found.events.setdefault(name, LogEvent(name=name)).add(levels, fields)
            elif module not in NAMED_ELSEWHERE:
                found.unnamed.append(f"{module}:{node.lineno}")


def _events_of(
    call: ast.Call, assigned: dict[str, list[str]]
) -> Iterator[tuple[str | None, list[str], list[str]]]:
    match call.func:
        case ast.Attribute(value=ast.Name(id=logger), attr=method) if logger in LOGGERS and method in LEVELS:
            name = _text(call.args[0]) if len(call.args) == 1 else None
            yield name, [LEVELS[method]], _fields(call, assigned)
        case ast.Attribute(value=ast.Attribute(attr=logger), attr=method) if (
            logger in LOGGERS and method in LEVELS
        ):
            yield None, [LEVELS[method]], []
        case ast.Attribute(value=ast.Name(id=logger), attr="log") if logger in LOGGERS:
            yield None, [], []
        case ast.Name(id="OutageReporter"):
            activity = _text(call.args[1])
            fields = [one.arg for one in call.keywords if one.arg]
            if activity is None:
                yield None, [], []
            else:
                yield f"{activity}_failed", ["warning", "error"], [*fields, "error", TRACEBACK]
                yield f"{activity}_recovered", ["warning"], fields
        case ast.Attribute(attr="LogRecord") if len(call.args) > 4:
            yield _text(call.args[4]), ["warning"], ["count"]


def _fields(call: ast.Call, assigned: dict[str, list[str]]) -> list[str]:
    given = {one.arg: one.value for one in call.keywords}
    match given.get("extra"):
        case ast.Dict() as extra:
            fields = list(_members(extra))
        case ast.Name(id=variable):
            fields = list(assigned[variable])
        case _:
            fields = []
    if isinstance(call.func, ast.Attribute) and (call.func.attr == "exception" or "exc_info" in given):
        fields.append(TRACEBACK)
    return fields


def _assigned_dictionaries(tree: ast.AST) -> dict[str, list[str]]:
    return {
        target.id: list(_members(node.value))
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _members(node: ast.Dict) -> dict[str, ast.expr]:
    return {
        name: value
        for key, value in zip(node.keys, node.values, strict=True)
        if (name := _text(key)) is not None
    }


def _text(node: ast.AST | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


LOG_EVENT_ROW = re.compile(r"^\| `(?P<name>\w+)` \|[^|]*\|[^|]*\|(?P<rest>.+\|)$", re.MULTILINE)
SAGA_EVENT_ROW = re.compile(r"^\| `(?P<name>\w+)` \|[^|]*\|(?P<rest>[^|]+\|)$", re.MULTILINE)


def saga_event_levels() -> dict[str, str]:
    """Return the types of a saga's events, each with its level."""
    return {
        one.value: logging.getLevelName(SAGA_EVENT_LEVELS.get(one, logging.WARNING)).lower()
        for one in EventType
    }


def with_log_events(page: str) -> str:
    """Return the page with the levels and fields of its rows updated; their order and meaning are the page's own."""
    events, levels = log_calls().events, saga_event_levels()

    def log_row(row: re.Match[str]) -> str:
        event = events.get(row["name"])
        return row[0] if event is None else f"{event.cells}{row['rest']}"

    def saga_row(row: re.Match[str]) -> str:
        level = levels.get(row["name"])
        return row[0] if level is None else f"| `{row['name']}` | {level} |{row['rest']}"

    return SAGA_EVENT_ROW.sub(saga_row, LOG_EVENT_ROW.sub(log_row, page))
