"""Databases for every test that asks for one, and two promises of the run: nothing is skipped, and nothing leaks in."""

from __future__ import annotations

import gc
import itertools
import os
import shutil
import sqlite3
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from hypothesis import settings

from tests.database_pool import DatabasePool
from tests.pgbouncer import a_pooler, found
from tests.postgres import Databases, NoPostgres, a_server
from tests.run_table import RunTable
from tests.schedule import WAITING_PROCESSES, Schedule, cores

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

_NUMBER = itertools.count(1)
_TABLE = RunTable()
_SERVER: set[str] = set()
_OURS = ("CHECKOUT_", "SANDBOX_", "DATABASE_URL", "PAYMENT_URL", "INVENTORY_URL", "SHIPPING_URL")

# Two busy cores: time is no verdict. `make proof` takes the profile of many examples.
settings.register_profile("sample", deadline=None, max_examples=50)
settings.register_profile("exhaustive", deadline=None, max_examples=1_000)
settings.load_profile("sample")


# ── databases ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="session")
def postgres_databases() -> Iterator[Databases]:
    """Give the run's PostgreSQL server: started at the first test that wants it, stopped at the end."""
    with _or_give_up(), a_server() as server:
        databases = Databases(server=server)
        _SERVER.add(f"PostgreSQL {databases.version()} from {server.origin}")
        yield databases


@contextmanager
def _or_give_up() -> Iterator[None]:
    """Without PostgreSQL the run ends with one sentence, not with one error per test."""
    try:
        yield
    except NoPostgres as problem:
        pytest.exit(str(problem), returncode=1)


@pytest.fixture(scope="session")
def database_pool(postgres_databases: Databases) -> Iterator[DatabasePool]:
    """Give migrated PostgreSQL databases that tests use in turn."""
    from app.storage.schema.migrations import upgrade  # noqa: PLC0415 (only for tests that want a schema)

    template = postgres_databases.create("template")
    try:
        upgrade(template)
        pool = DatabasePool(postgres_databases, "template")
        yield pool
        pool.close()
    finally:
        postgres_databases.drop("template")


@pytest.fixture
def postgres_url(database_pool: DatabasePool, request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the URL of a migrated PostgreSQL database that is the test's alone, and empty."""
    _note_postgresql(request)
    url = database_pool.lend()
    yield url
    # A pooler's connections to a database outlast a test: such a database isn't used again.
    database_pool.take_back(url, reuse="pooled_url" not in request.fixturenames)


@pytest.fixture(scope="session")
def pooler_url(postgres_databases: Databases) -> Iterator[str]:
    """Give the server's URL through a PgBouncer in transaction mode."""
    with a_pooler(postgres_databases.server.url) as url:
        yield url


@pytest.fixture
def pooled_url(postgres_url: str, pooler_url: str, request: pytest.FixtureRequest) -> str:
    """Give the URL of a migrated database of the test's own, through a PgBouncer in transaction mode."""
    request.node.user_properties.remove(("database", "postgresql"))
    _note(request, "pooled")
    return urlunsplit(urlsplit(pooler_url)._replace(path=urlsplit(postgres_url).path))


@pytest.fixture
def empty_postgres_url(postgres_databases: Databases, request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the URL of an empty PostgreSQL database of the test's own."""
    _note_postgresql(request)
    name = f"empty_{next(_NUMBER)}"
    yield postgres_databases.create(name)
    postgres_databases.drop(name)


def _note_postgresql(request: pytest.FixtureRequest) -> None:
    _note(request, "postgresql")
    request.node.user_properties.extend(("server", server) for server in _SERVER)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a SQLite file that was migrated once, and that every test's own is copied from."""
    from app.storage.schema.migrations import upgrade  # noqa: PLC0415 (only for tests that want a schema)

    path = tmp_path_factory.mktemp("template") / "checkout.db"
    upgrade(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """Give the URL of a migrated SQLite file of the test's own."""
    _note(request, "sqlite")
    path = tmp_path / "checkout.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def empty_sqlite_url(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """Give the URL of a SQLite file that doesn't exist yet."""
    _note(request, "sqlite")
    return f"sqlite:///{tmp_path / 'checkout.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Give the URL of a migrated database of the test's own, on SQLite and then on PostgreSQL.

    The storage's own tests have more parameters: see `tests.pgbouncer.DATABASES`.
    """
    name = {"sqlite": "sqlite_url", "postgresql": "postgres_url", "pooled": "pooled_url"}[request.param]
    return str(request.getfixturevalue(name))


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest) -> str:
    """Give the URL of a database without a schema, on SQLite and then on PostgreSQL."""
    name = {"sqlite": "empty_sqlite_url", "postgresql": "empty_postgres_url"}[request.param]
    return str(request.getfixturevalue(name))


# ── the run's promises ───────────────────────────────────────────────────────────────────────────────────────────────


def pytest_report_header() -> list[str]:
    """Say whether the storage's contract runs through a PgBouncer as well, and how to repeat today's seeds."""
    pooler = found()
    return [
        f"PgBouncer: {'' if pooler.path else 'the storage contract is NOT run through one, as '}{pooler.words}",
        f"simulation: the seeds of today are those from SIMULATE_FROM={os.environ['SIMULATE_FROM']} on",
    ]


def pytest_configure() -> None:
    """Forget the developer's own settings of the service: a test says what it wants.

    What is imported until the first test stays: to look for garbage in it is a fifth of the time that collecting takes.

    The simulation's seeds of the day are set here, for all processes of the run: a day may end in between.
    Coverage is measured in the processes that run tests, not in those that they start.
    """
    gc.disable()
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
    os.environ.setdefault("SIMULATE_FROM", str(1_000_000 + 100 * datetime.now(UTC).date().toordinal()))
    for name in [name for name in os.environ if name.startswith(_OURS)]:
        del os.environ[name]


def pytest_xdist_auto_num_workers() -> int | None:
    """Have more processes than cores, as some tests wait; or as many as pytest-xdist's own variable says."""
    return None if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else cores() + WAITING_PROCESSES


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Schedule:
    """Say which process runs which tests."""
    return Schedule(config, log)


def pytest_collection_finish() -> None:
    """Leave out of each garbage collection what is there for good: the modules and the tests."""
    gc.freeze()
    gc.enable()


def _note(request: pytest.FixtureRequest, database: str) -> None:
    mark = ("database", database)
    if mark not in request.node.user_properties:
        request.node.user_properties.append(mark)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skipped test into a failed one: what is never run proves nothing."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = (
            f"{item.nodeid} was skipped ({_reason(report)}). No test is skipped here: make it run."
        )
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn a skipped module into a failed one."""
    report = yield
    if report.skipped:
        report.outcome = "failed"
        report.longrepr = (
            f"{report.nodeid} was skipped ({_reason(report)}). No test is skipped here: make it run."
        )
    return report


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    return str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Put each test into the table, also those that another process ran."""
    _TABLE.note(report)
    _SERVER.update(str(value) for name, value in report.user_properties if name == "server")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests whose parameter says that they run on the log in memory, and start with the long ones."""
    items.sort(key=lambda item: item.get_closest_marker("proof") is None)
    for item in items:
        if isinstance(item, pytest.Function) and "memory" in getattr(
            item, "callspec", _NO_PARAMETERS
        ).id.split("-"):
            item.user_properties.append(("database", "memory"))


class _NO_PARAMETERS:  # noqa: N801 (a value)
    id = ""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests of each kind ran on what, and how long they took."""
    terminalreporter.section("tests by kind and database")
    for line in (*_TABLE.lines(), *sorted(_SERVER)):
        terminalreporter.write_line(line)
    if not found().path:
        terminalreporter.write_line(f"not run through a PgBouncer: {found().words}")
