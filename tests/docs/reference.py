"""Writes the tables of docs/reference from the code: `python -m tests.docs.reference`.

The page decides the order and the sections of the settings and of the log events, and what an event means.
The code decides the rest of every row.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pydantic import SecretStr

from app.api.problems.catalogue import NOTICES, PROBLEMS, ProblemType
from app.settings.settings import Settings
from tests.docs.exposed import exposition
from tests.docs.log_events import with_log_events
from tests.processes import ROOT

REFERENCE = ROOT / "docs" / "reference"
PAGES = ("settings", "problems", "metrics", "log-events")
GENERATED = re.compile(r"(<!-- generated -->\n\n).*?(\n\n<!-- /generated -->)", re.DOTALL)
SETTING_ROW = re.compile(r"^\| `(\w+)` \|.*$", re.MULTILINE)


def settings() -> dict[str, str]:
    """Return each variable with its row."""
    return dict(_settings())


def _settings() -> Iterator[tuple[str, str]]:
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        variable = str(alias.choices[0]) if alias else f"CHECKOUT_{name.upper()}"  # type: ignore[union-attr]
        yield variable, f"| `{variable}` | {_default(field.default)} | {field.description} |"


def _default(default: object) -> str:
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    if default is None:
        return "none"
    if isinstance(default, bool):
        default = str(default).lower()
    text = f"{default:g}" if isinstance(default, float) else str(default)
    return f"`{text}`" if text else "empty"


def problems() -> str:
    """Return the table of problems, in the order of the code."""
    lines = ["| code | status | what happened | what to do | Retry-After |", "|---|---|---|---|---|"]
    lines += [_problem(code, problem) for code, problem in {**PROBLEMS, **NOTICES}.items()]
    return "\n".join(lines)


def _problem(code: str, problem: ProblemType) -> str:
    after = "" if problem.retry_after is None else f"{problem.retry_after} s"
    happened = f"**{problem.title}.** {problem.happened}"
    return f"| `{code}` | {problem.status} | {happened} | {problem.to_do} | {after} |"


async def metrics(directory: Path) -> str:
    """Return the table of metrics, by name, as a service that has served exposes them."""
    lines = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for family in sorted(await exposition(directory), key=lambda family: family.name):
        if not family.name.startswith("checkout_") or family.name.endswith("_created"):
            continue
        labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        name = f"{family.name}_total" if family.type == "counter" else family.name
        named = ", ".join(f"`{label}`" for label in labels)
        lines.append(f"| `{name}` | {family.type} | {named} | {family.documentation} |")
    return "\n".join(lines)


def with_settings(page: str) -> str:
    """Return the page with the rows of the settings updated."""
    rows = settings()
    return SETTING_ROW.sub(lambda row: rows.get(row[1], row[0]), page)


def with_table(page: str, table: str) -> str:
    """Return the page with its table replaced."""
    return GENERATED.sub(lambda found: found[1] + table + found[2], page)


async def written(directory: Path) -> dict[Path, str]:
    """Return the updated pages."""
    pages = {name: (REFERENCE / f"{name}.md").read_text() for name in PAGES}
    return {
        REFERENCE / "settings.md": with_settings(pages["settings"]),
        REFERENCE / "problems.md": with_table(pages["problems"], problems()),
        REFERENCE / "metrics.md": with_table(pages["metrics"], await metrics(directory)),
        REFERENCE / "log-events.md": with_log_events(pages["log-events"]),
    }


def main() -> None:
    """Write the pages."""
    with tempfile.TemporaryDirectory() as directory:
        pages = asyncio.run(written(Path(directory)))
    for page, text in pages.items():
        page.write_text(text)


if __name__ == "__main__":
    main()
