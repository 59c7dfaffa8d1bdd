"""Counts kept as plain numbers, and handed to the library when somebody reads them.

The library takes a lock for each count, and for a histogram looks through its buckets: ten of them cost a checkout as
much as its answer. A tally is counted by one thread, that of the event loop.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from functools import cache
from typing import TypeVar

from prometheus_client import Counter, Histogram, Metric
from prometheus_client.registry import Collector


class CounterTally:
    """What a counter has still to be given."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._count = 0

    def inc(self, count: int = 1) -> None:
        """Count."""
        self._count += count

    def hand_over(self) -> None:
        """Give the counter what was counted since the last time."""
        if self._count:
            self._counter.inc(self._count)
            self._count = 0


class HistogramTally:
    """What a histogram with these buckets has still to be given."""

    def __init__(self, histogram: Histogram, buckets: tuple[float, ...]) -> None:
        self._histogram = histogram
        self._bounds = buckets
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def hand_over(self) -> None:
        """Give the histogram what was counted since the last time; it has no public way to take several at once."""
        for bucket, count in zip(self._histogram._buckets, self._counts, strict=True):  # noqa: SLF001 (see above)
            if count:
                bucket.inc(count)
        self._histogram._sum.inc(self._sum)  # noqa: SLF001
        self._counts = [0] * len(self._counts)
        self._sum = 0.0


Tally = TypeVar("Tally", CounterTally, HistogramTally)


class Tallies(Collector):
    """The tallies of one process, each made once for its labels' values: looking one up costs more than to count.

    They are handed over whenever the registry is read in which they are the first collector.
    """

    def __init__(self) -> None:
        self._made: list[CounterTally | HistogramTally] = []

    def counter(self, counter: Counter) -> CounterTally:
        """Return the tally of a counter without labels."""
        return self._kept(CounterTally(counter))

    def counters(self, counter: Counter) -> Callable[..., CounterTally]:
        """Return what gives a counter's tally for its labels' values."""
        return cache(lambda *labels: self._kept(CounterTally(counter.labels(*labels))))

    def histograms(self, histogram: Histogram, buckets: tuple[float, ...]) -> Callable[..., HistogramTally]:
        """Return what gives a histogram's tally for its labels' values."""
        return cache(lambda *labels: self._kept(HistogramTally(histogram.labels(*labels), buckets)))

    def collect(self) -> Iterable[Metric]:
        """Hand over; the library's own metrics follow."""
        self.hand_over()
        return ()

    def hand_over(self) -> None:
        """Give the library all that was counted since the last time."""
        for tally in self._made:
            tally.hand_over()

    def _kept(self, tally: Tally) -> Tally:
        self._made.append(tally)
        return tally
