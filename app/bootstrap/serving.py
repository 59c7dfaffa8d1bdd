"""`checkout serve`: with as many workers as the database and the machine can use."""

from __future__ import annotations

from collections.abc import Sequence

from app.server.cores import usable_cores
from app.server.service_server import run
from app.settings.database_url import PostgresUrl
from app.settings.database_url_parser import parse_database_url
from app.settings.environment import settings_or_exit

MOST_WORKERS = 8
"""Nobody has to raise PostgreSQL's `max_connections` (100) for what starts by itself: 8 workers open 88 at most."""


def serve(arguments: Sequence[str]) -> int:
    """Serve until stopped; return the exit code. `arguments` are those of `checkout serve`."""
    return run(arguments, workers=default_workers)


def default_workers() -> int:
    """Return a worker for each core on PostgreSQL, at most 8; on SQLite one, as a file takes one writer at a time."""
    url = settings_or_exit().database_url.get_secret_value()
    if not isinstance(parse_database_url(url), PostgresUrl):
        return 1
    return min(usable_cores(), MOST_WORKERS)
