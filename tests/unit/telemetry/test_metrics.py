"""The metrics: what is counted, and that no label is open."""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from prometheus_client.parser import text_string_to_metric_families

from app.saga import EventType, LogUnavailable, SagaEvent
from app.saga.ports.queries import BacklogStats
from app.settings.webhook_endpoints import Lag
from app.telemetry.backlog_metrics import BACKLOG_CACHE_SECONDS
from app.telemetry.metrics import Gauges, Metrics
from tests.builders import NOON

BACKLOG = BacklogStats(
    unfinished={"running": 3, "needs_attention": 2}, oldest_due_age_seconds=12.5, unscheduled=0
)


class Counted:
    """Reads the backlog, counts how often, and may fail."""

    def __init__(self) -> None:
        self.times = 0
        self.error: Exception | None = None

    async def __call__(self) -> BacklogStats:
        self.times += 1
        if self.error:
            raise self.error
        return BACKLOG


def some_metrics(backlog: Counted | None = None) -> Metrics:
    return Metrics(steps=["payment", "shipping"], problems=["not_found"], backlog=backlog or Counted())


async def scraped(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Return each sample by its name and its labels' values in the order of their names."""
    text, _ = await metrics.render("")
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def tell(metrics: Metrics, event: EventType, *, after: float = 0, **members: Any) -> None:
    given = {"seq": 2, "at": NOON + timedelta(seconds=after), "type": event, **members}
    metrics.observe("a", [SagaEvent(**given)])


async def test_a_saga_is_counted_with_its_outcome_and_how_long_it_took() -> None:
    """From its start here to its end here."""
    metrics = some_metrics()
    tell(metrics, EventType.SAGA_STARTED)
    tell(metrics, EventType.SAGA_COMPENSATED, after=7)
    found = await scraped(metrics)
    assert found["checkout_sagas_started_total",] == 1
    assert found["checkout_sagas_finished_total", "compensated"] == 1
    assert found["checkout_sagas_finished_total", "completed"] == 0
    assert found["checkout_saga_duration_seconds_sum", "compensated"] == 7


async def test_a_saga_that_began_elsewhere_has_no_duration() -> None:
    """Its start was seen by the replica that is gone."""
    metrics = some_metrics()
    tell(metrics, EventType.SAGA_COMPLETED)
    found = await scraped(metrics)
    assert found["checkout_sagas_finished_total", "completed"] == 1
    assert ("checkout_saga_duration_seconds_count", "completed") not in found


async def test_answers_of_steps_are_counted_by_step_action_and_outcome() -> None:
    """An attempt of unknown outcome counts as such whether it is sent again or given up."""
    metrics = some_metrics()
    tell(metrics, EventType.STEP_SUCCEEDED, step="payment", data={"duration_ms": 250.0})
    tell(metrics, EventType.STEP_RETRIED, step="payment", data={"outcome": "unknown"})
    tell(metrics, EventType.STEP_RETRIED, step="payment", data={"outcome": "unavailable"})
    tell(metrics, EventType.STEP_UNKNOWN, step="payment")
    tell(metrics, EventType.COMPENSATION_FAILED, step="payment")
    found = await scraped(metrics)
    assert found["checkout_step_answers_total", "execute", "succeeded", "payment"] == 1
    assert found["checkout_step_answers_total", "execute", "retried", "payment"] == 2
    assert found["checkout_step_answers_total", "compensate", "failed", "payment"] == 1
    assert found["checkout_step_duration_seconds_sum", "execute", "payment"] == 0.25
    assert found["checkout_unknown_outcomes_total", "payment"] == 2


async def test_no_label_is_open() -> None:
    """Whatever an outsider can choose is `other`, so that nobody can blow the metrics up."""
    metrics = some_metrics()
    for n in range(50):
        tell(metrics, EventType.STEP_SUCCEEDED, step=f"step-{n}")
        metrics.refused(f"problem-{n}")
        metrics.answered("/sagas", f"METHOD{n}", 200, 0.1)
    found = await scraped(metrics)
    assert found["checkout_step_answers_total", "execute", "succeeded", "other"] == 50
    assert found["checkout_problems_total", "other"] == 50
    assert found["checkout_http_requests_total", "other", "/sagas", "2xx"] == 50


async def test_many_scrapes_ask_the_database_once_in_a_few_seconds() -> None:
    """However many Prometheus servers there are."""
    backlog = Counted()
    metrics = some_metrics(backlog)
    for _ in range(9):
        await scraped(metrics)
    found = await scraped(metrics)
    assert backlog.times == 1
    assert found["checkout_sagas", "needs_attention"] == 2
    assert found["checkout_oldest_due_age_seconds",] == found["checkout_overdue_seconds",] == 12.5
    assert found["checkout_sagas_deferred",] == found["checkout_sagas_put_off",] == 0
    assert found["checkout_sagas_unscheduled",] == found["checkout_sagas_without_wakeup",] == 0
    assert found["checkout_backlog_up",] == found["checkout_census_up",] == 1


async def test_an_endpoint_that_lags_or_is_disabled_is_told_by_its_name() -> None:
    """The names are the configuration's: a closed set."""

    async def lags() -> list[Lag]:
        return [
            Lag(endpoint="shop", enabled=True, seconds=7.5),
            Lag(endpoint="erp", enabled=False, seconds=90.0),
        ]

    metrics = Metrics(steps=[], problems=[], backlog=Counted(), lags=lags)
    found = await scraped(metrics)
    assert found["checkout_outbox_lag_seconds", "shop"] == 7.5
    assert found["checkout_outbox_lag_seconds", "erp"] == 90
    assert (found["checkout_webhook_disabled", "shop"], found["checkout_webhook_disabled", "erp"]) == (0, 1)


async def test_without_endpoints_there_is_no_lag() -> None:
    """No alert can fire on what isn't configured."""
    found = await scraped(some_metrics())
    assert not [name for name, *_ in found if name.startswith(("checkout_outbox", "checkout_webhook"))]


async def test_a_scrape_works_while_the_database_is_away() -> None:
    """And says so; it repeats no figure that may have changed since."""
    clock, backlog = asyncio.get_running_loop(), Counted()
    metrics = some_metrics(backlog)
    assert (await scraped(metrics))["checkout_sagas", "needs_attention"] == 2
    backlog.error = LogUnavailable("away")
    metrics.batch(7, 0.001, 0.002)
    later = clock.time() + BACKLOG_CACHE_SECONDS
    with patch.object(clock, "time", lambda: later):
        found = await scraped(metrics)
    assert found["checkout_backlog_up",] == found["checkout_census_up",] == 0
    assert found["checkout_journal_batch_size_sum",] == 7
    assert ("checkout_sagas", "needs_attention") not in found
    assert math.isnan(found["checkout_oldest_due_age_seconds",])
    assert math.isnan(found["checkout_sagas_unscheduled",])


async def test_what_has_not_happened_yet_counts_zero() -> None:
    """So that the first time is a rise, and an alert on a rate sees it."""
    found = await scraped(some_metrics())
    assert found["checkout_unknown_outcomes_total", "payment"] == 0
    assert found["checkout_step_answers_total", "compensate", "failed", "shipping"] == 0


async def test_a_gauge_is_read_at_each_scrape() -> None:
    """It tells the moment, not the last change."""
    gauges, metrics = Gauges(), some_metrics()
    figures = iter([1.0, 5.0])
    gauges.add("in_flight", "Sagas.", lambda: next(figures))
    metrics.watch(gauges)
    assert (await scraped(metrics))["checkout_in_flight",] == 1
    assert (await scraped(metrics))["checkout_in_flight",] == 5


async def test_open_metrics_is_given_to_who_asks_for_it() -> None:
    """Prometheus asks for it by default."""
    text, media_type = await some_metrics().render("application/openmetrics-text; version=1.0.0")
    assert media_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")
