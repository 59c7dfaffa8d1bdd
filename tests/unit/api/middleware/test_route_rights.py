"""What a request needs: as its route states it."""

from __future__ import annotations

import pytest

from app.access.rights import CLOSED, PUBLIC
from app.api.middleware.route_rights import RouteRights
from app.api.routes import pages, sagas

RIGHTS = RouteRights([*sagas.router.routes, *pages.router.routes])


@pytest.mark.parametrize("path", ["/sagas/", "/sagas/none"])
def test_an_empty_segment_needs_what_a_filled_one_does(path: str) -> None:
    """A caller who may read sagas learns that there is none (404), not that an operator may be told more (403)."""
    needed = RIGHTS.find("GET", path).rights
    assert needed == RIGHTS.find("GET", "/sagas/01890000-0000-7000-8000-000000000000").rights
    assert needed != CLOSED


@pytest.mark.parametrize("path", ["/problems/", "/problems/not_found", "/problems/a/b"])
def test_everybody_may_ask_for_any_page_of_a_problem(path: str) -> None:
    assert RIGHTS.find("GET", path).rights == PUBLIC


@pytest.mark.parametrize("path", ["/nope", "/sagas/a/b/c", "/sagasx", "*", ""])
def test_a_path_of_no_route_is_closed(path: str) -> None:
    assert RIGHTS.find("GET", path).rights == CLOSED


def test_a_method_that_a_public_path_has_not_is_left_to_the_router() -> None:
    """So that everybody gets 405, and nobody is sent to sign in for it."""
    assert RIGHTS.find("DELETE", "/problems/not_found").rights == PUBLIC
    assert RIGHTS.find("DELETE", "/sagas/01890000-0000-7000-8000-000000000000").rights == CLOSED
