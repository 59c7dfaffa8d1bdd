"""The runbook has a page for every alert and every code, and the commands on its pages are valid."""

from __future__ import annotations

import ast
import json
import re
import shlex
from pathlib import Path

import pytest
import typer
from sqlalchemy import text
from starlette.routing import Match, Route

from app.api.openapi.__main__ import document
from app.api.problems.catalogue import PROBLEMS
from app.cli import app as command_line
from app.settings.settings import Settings
from app.storage import open_storage
from tests.docs.exposed import scraped
from tests.processes import ROOT

RUNBOOK = ROOT / "docs" / "runbook"
INDEX = (RUNBOOK / "README.md").read_text()
PAGES = {page.name: page.read_text() for page in sorted(RUNBOOK.glob("*.md")) if page.name != "README.md"}
HEADINGS = ["What it means", "How to see it", "What to do"]
CALLERS_OWN = {"CHECKOUT_URL", "CHECKOUT_API_KEY"}
_SANDBOX = ROOT / "app" / "sandbox" / "gateway.py"


def blocks(language: str) -> list[tuple[str, str]]:
    """Return each page's blocks of a language."""
    everything = {"README.md": INDEX, **PAGES}
    return [
        (name, block.replace("\n   ", "\n").strip())
        for name, page in everything.items()
        for block in re.findall(rf"^ *```{language}\n(.*?)^ *```$", page, re.DOTALL | re.MULTILINE)
    ]


def codes_of_the_code() -> set[str]:
    """Return every error code that the core and the gateway can write."""
    found: set[str] = set()
    app = ROOT / "app"
    for path in (
        *(path for room in ("saga", "services", "gateway") for path in (app / room).rglob("*.py")),
        _SANDBOX,
    ):
        found |= _codes(ast.parse(path.read_text()))
    return found


def _codes(tree: ast.AST) -> set[str]:
    found: list[ast.expr | None] = []
    for node in ast.walk(tree):
        match node:
            case ast.keyword(arg="code", value=value):
                found.append(value)
            case ast.AnnAssign(target=ast.Name(id="code"), value=value):
                found.append(value)
            case ast.Assign(targets=[ast.Name(id="code")], value=value):
                found.append(value)
            case ast.Dict(keys=keys, values=values):
                found += [v for k, v in zip(keys, values, strict=True) if _text(k) == "code"]
            case ast.Assign(
                targets=[ast.Name(id="_OUR_FAULT" | "_REJECTED_CODES" | "_UNKNOWNS" | "_UNUSABLE")]
            ):
                found += [
                    one
                    for one in ast.walk(node.value)
                    if (word := _text(one)) and re.fullmatch(r"[a-z_]+", word) and isinstance(one, ast.expr)
                ]
    return {word for one in found if (word := _text(one)) and word != "step_error"}


def _text(node: ast.AST | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def table_of_codes() -> dict[str, str]:
    """Return the codes of the index, each with its page."""
    rows = re.findall(r"^\| (`.*?) \| .*?\| \[[^]]+\]\(([\w-]+\.md)\) \|$", INDEX, re.MULTILINE)
    return {code: page for cell, page in rows for code in re.findall(r"`([a-z0-9_…]+)`", cell)}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_what_it_means_how_to_see_it_and_what_to_do(name: str) -> None:
    """In this order. It begins with a title, and ends with when to wake somebody."""
    page = PAGES[name]
    assert page.startswith("# ")
    assert re.findall(r"^## (.+)$", page, re.MULTILINE) == HEADINGS
    assert re.search(r"\b(Wake|woken)\b", page.rpartition("\n\n")[2]) or "nobody" in page.lower()


def test_the_index_links_to_every_page() -> None:
    """And no link is broken."""
    assert set(re.findall(r"\]\(([\w-]+\.md)\)", INDEX)) == set(PAGES)
    for name, page in PAGES.items():
        for target in re.findall(r"\]\(([^)#]+)(?:#[\w-]+)?\)", page):
            assert (RUNBOOK / target).exists(), f"{name}: {target}"


def test_every_code_has_a_page_that_names_it() -> None:
    """Every code of a trail can be looked up. A new code needs a page."""
    table = table_of_codes()
    assert codes_of_the_code() <= set(table)
    assert {"key_expired", "poisoned", "timeout", "not_reversible", "unforeseen"} <= codes_of_the_code()
    why_it_went_back = {"deadline_exceeded", "cancelled"}
    for code, page in table.items():
        assert code in why_it_went_back or f"`{code}`" in PAGES[page], f"{page} doesn't name {code}"


def test_every_code_in_the_table_exists() -> None:
    """The service can write each of them."""
    assert set(table_of_codes()) - codes_of_the_code() == {"http_404", "http_…"}


def test_every_command_is_valid() -> None:
    """With its arguments and options."""
    root = typer.main.get_command(command_line)
    commands = [
        line.partition("python -m app ")[2].replace("$SAGA", "0193b3c8-5c5f-7a1e-8c31-8b0d9e7b0c55")
        for _, block in [*blocks("bash"), *inline()]
        for line in block.splitlines()
        if "python -m app " in line
    ]
    assert len(commands) > 30
    for command in commands:
        named, words = root, shlex.split(re.split(r" \||; | #", command)[0])
        while commands_below := getattr(named, "commands", None):
            assert words[0] in commands_below, command
            named, words = commands_below[words[0]], words[1:]
        with named.make_context(command, words):
            pass


def inline() -> list[tuple[str, str]]:
    """Return the commands in sentences."""
    return [
        (name, command)
        for name, page in {"README.md": INDEX, **PAGES}.items()
        for command in re.findall(r"`(python -m app [^`]+)`", page)
    ]


def test_the_api_has_every_request() -> None:
    """Its method and its path."""
    described = json.loads(document())["paths"]
    routes = [(path, Route(path, endpoint=lambda _: None, methods=None)) for path in described]
    requests = [
        ("POST" if "-X POST" in line else "GET", path)
        for _, block in blocks("bash")
        for line in block.splitlines()
        for path in re.findall(r"\$CHECKOUT_URL(/[^\"?]*)", line)
    ]
    assert len(requests) > 15
    for method, path in requests:
        scope = {"type": "http", "path": path.replace("$SAGA", "x"), "method": method, "root_path": ""}
        methods = {
            word
            for name, route in routes
            if route.matches(scope)[0] is not Match.NONE
            for word in described[name]
        }
        assert method.lower() in methods, (method, path)


async def test_every_sql_statement_runs(database_url: str) -> None:
    """On both databases; queries of PostgreSQL's own tables only there."""
    postgres = database_url.startswith("postgresql")
    statements = [one for _, block in blocks("sql") for one in block.split(";") if one.strip()]
    assert len(statements) > 12
    async with open_storage(database_url) as storage, storage.log.writing() as connection:
        for statement in statements:
            if postgres or "pg_stat_activity" not in statement:
                await connection.execute(text(statement))


async def test_every_promql_query_uses_metrics_that_exist(tmp_path: Path) -> None:
    """The metrics in sentences too."""
    exposed = await scraped(tmp_path)
    queries = [line for _, block in blocks("promql") for line in block.splitlines()]
    queries += [one for page in PAGES.values() for one in re.findall(r"`(checkout_[^`]+)`", page)]
    assert len(queries) > 15
    for query in queries:
        if query not in PROBLEMS and query not in exposed.families:
            assert exposed.missing_from(query) == [], query


def test_every_setting_and_problem_on_a_page_exists() -> None:
    """A renamed setting shows here."""
    known = {f"CHECKOUT_{name.upper()}" for name in Settings.model_fields} | CALLERS_OWN
    for name, page in PAGES.items():
        assert set(re.findall(r"\bCHECKOUT_[A-Z_]+\b", page)) <= known, name
    problems = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", PAGES["server-errors.md"]))
    assert problems - set(PROBLEMS) == {"request_id"}
