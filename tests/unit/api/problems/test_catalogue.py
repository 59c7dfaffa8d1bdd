"""The table of problems, and its pages."""

from __future__ import annotations

import pytest

from app.api.problems.catalogue import PROBLEMS, name_of
from app.api.problems.problem import Problem
from app.saga import FailureKind
from app.saga.model.state import Failure
from tests.unit.api.served import problem, served


@pytest.mark.parametrize("name", PROBLEMS)
async def test_each_type_is_a_page_that_says_what_happened_and_what_to_do(name: str) -> None:
    async with served() as api:
        url = Problem(name).body("r")["type"]
        page = await api.get(url)
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
        assert "What happened" in page.text
        assert "What to do" in page.text
        assert "max-age" in page.headers["cache-control"]


@pytest.mark.parametrize("name", PROBLEMS)
def test_each_row_speaks_in_sentences(name: str) -> None:
    row = PROBLEMS[name]
    assert row.happened.endswith(".")
    assert row.to_do.endswith(".")
    assert 400 <= row.status < 600
    assert (row.status == 503) <= (row.retry_after is not None)


async def test_another_name_is_404() -> None:
    async with served() as api:
        for name in ("nothing", "%3Cscript%3E"):
            problem(await api.get(f"/problems/{name}"), 404, "not_found")


def test_every_failure_is_a_problem() -> None:
    for kind in FailureKind:
        for step in ("payment", "inventory", "shipping", "loyalty", None):
            assert name_of(Failure(step=step, code="c", message="m", kind=kind)) in PROBLEMS


async def test_the_docs_are_a_page_that_reads_the_description() -> None:
    async with served() as api:
        page = await api.get("/docs")
        assert page.status_code == 200
        assert "swagger-ui" in page.text
        assert "://" not in page.text
        assert (await api.get("/openapi.json")).json()["openapi"].startswith("3.1")
