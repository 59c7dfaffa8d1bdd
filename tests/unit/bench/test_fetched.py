"""A benchmark's peer is fetched where it is measured, and one that can't be had is left out, not tried again."""

from __future__ import annotations

import pytest

from tests.bench.measuring import Absent, Measure, fetched
from tests.bench.page import FeedItem
from tests.bench.peers import NotFetched

TOLD: FeedItem = {"rate": 1.0}


def test_a_peer_is_fetched_once_and_only_where_it_is_measured() -> None:
    fetches = 0

    def prepare() -> Measure:
        nonlocal fetches
        fetches += 1
        return lambda _clients, _outcome: TOLD

    measure = fetched(prepare)
    assert fetches == 0
    assert [measure(clients, "completed") for clients in (1, 16)] == [TOLD, TOLD]
    assert fetches == 1


def test_a_peer_that_can_not_be_had_is_left_out_with_the_reason() -> None:
    fetches = 0

    def prepare() -> Measure:
        nonlocal fetches
        fetches += 1
        raise NotFetched("No such package.")

    measure = fetched(prepare)
    for clients in (1, 16):
        with pytest.raises(Absent, match="No such package"):
            measure(clients, "completed")
    assert fetches == 1
