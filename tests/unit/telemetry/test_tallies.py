"""Tallies: what the library is given is what was counted."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram

from app.telemetry.tallies import Tallies

BUCKETS = (0.5, 1.0, 2.5)
VALUES = st.lists(st.floats(min_value=0, max_value=4) | st.sampled_from(BUCKETS))


def _figures(registry: CollectorRegistry) -> Mapping[tuple[str, str], float]:
    return {
        (sample.name, sample.labels.get("le", "")): round(sample.value, 6)
        for family in registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


@given(first=VALUES, second=VALUES)
def test_a_histogram_has_the_values_that_were_observed_in_the_buckets_of_the_library(
    first: list[float], second: list[float]
) -> None:
    """Each once, however often they are handed over; a value on a bucket's bound is in that bucket."""
    own, tallied = CollectorRegistry(), CollectorRegistry()
    expected = Histogram("h", "h", ["a"], buckets=BUCKETS, registry=own).labels("x")
    tallies = Tallies()
    found = tallies.histograms(Histogram("h", "h", ["a"], buckets=BUCKETS, registry=tallied), BUCKETS)("x")
    for values in (first, second):
        for value in values:
            expected.observe(value)
            found.observe(value)
        tallies.hand_over()
    assert _figures(tallied) == _figures(own)


def test_a_counter_is_there_before_its_first_count_and_counts_each_once() -> None:
    registry = CollectorRegistry()
    tallies = Tallies()
    counted = tallies.counters(Counter("c", "c", ["a"], registry=registry))
    counted("x")
    assert _figures(registry) == {("c_total", ""): 0}
    counted("x").inc()
    counted("x").inc(2)
    tallies.hand_over()
    tallies.hand_over()
    assert _figures(registry) == {("c_total", ""): 3}
