"""What is imported at a start, as that is most of its time: a process that ended answers again once it has come so far."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.processes import ROOT

_OPEN = """
import asyncio, sys
import app.main

async def once():
    async with app.main._opened():
        print(*sorted(sys.modules))

asyncio.run(once())
"""
_HELP = """
import sys
from app.cli import app
app(["--help"], standalone_mode=False)
print(*sorted(sys.modules))
"""


def imported_by(program: str, **env: str) -> set[str]:
    """Return the modules that a program of its own has imported when it prints them as its last line."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "CHECKOUT_LOG_LEVEL": "error", **env},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return set(done.stdout.splitlines()[-1].split())


def test_an_open_service_has_imported_nothing_that_it_may_never_need(database_url: str) -> None:
    """Not what migrates a schema that is current, speaks HTTP where all services are the sandbox, or describes the API."""
    found = imported_by(_OPEN, DATABASE_URL=database_url, SANDBOX_DATABASE=":memory:")
    assert "app.bootstrap.service" in found
    unneeded = {
        "alembic",
        "aiohttp",
        "httpx2",
        "typer",
        "rich",
        "app.cli",
        "app.api.openapi.document",
        "mako",
    }
    assert found & unneeded == set()


def test_the_list_of_commands_is_shown_without_importing_them() -> None:
    """Each is imported when it is run."""
    found = imported_by(_HELP)
    assert "app.cli.commands" in found
    unneeded = {"fastapi", "sqlalchemy", "aiohttp", "httpx2", "rich", "pydantic", "app.cli.sagas", "app.main"}
    assert found & unneeded == set()
