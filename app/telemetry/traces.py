"""OpenTelemetry: a span for each run of a saga in a process, and below it one for each call of a step.

    the caller's span ─┬─ checkout ──┬─ payment.execute ─── the service's own spans
                       │             └─ inventory.execute
                       └─ checkout, taken over ─ link ─▶ the first run, of which nobody may have heard the end

All of a saga's spans are in one trace, which follows from what is stored of it (`app.telemetry.trace_context`). What a step's
span has is ids, codes and times, as everywhere in telemetry. Needs the extra `traces`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from opentelemetry import trace as api
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Sampler, SamplingResult
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, Status, StatusCode, TraceFlags

from app.saga.engine.saga_instance import SagaInstance
from app.saga.model.events import SagaEvent
from app.saga.model.status import INACTIVE, SagaStatus
from app.telemetry.metrics import ANSWERS
from app.telemetry.trace_context import TraceContext, first_span_of, given_trace, trace_id_of

CLOSE_SECONDS = 5.0
"""How long the end of the process waits for a collector that doesn't answer."""

_NOT_WELL = {"retried", "failed", "unknown"}


@dataclass
class _Run:
    """A run under way; `step` is the id of the span of the step's call that is under way or comes next."""

    saga: SagaInstance
    span: Span
    context: Context
    step: int


_current: ContextVar[_Run | None] = ContextVar("run", default=None)


class Traces:
    """The traces of one process, ended spans given to `processor`. It never harms a saga."""

    def __init__(self, processor: SpanProcessor, *, now: Callable[[], datetime]) -> None:
        """`now` is the sagas' own clock, so that a saga's spans fit together."""
        self._now = now
        self._ids = _Ids()
        self._provider = TracerProvider(id_generator=self._ids, resource=_resource(), shutdown_on_exit=False)
        self._provider.sampler = _Even(self._provider.sampler)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("checkout")

    @classmethod
    def exporting(cls, *, now: Callable[[], datetime]) -> Traces:
        """Return traces that go to the collector that OTEL_EXPORTER_OTLP_ENDPOINT names. Raise `ImportError`."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 (for this alone)
            OTLPSpanExporter,
        )

        return cls(BatchSpanProcessor(OTLPSpanExporter()), now=now)

    @contextmanager
    def around(self, run: SagaInstance) -> Iterator[None]:
        """Be entered around a saga's run, in the task that it runs in."""
        under_way = None
        with suppress(Exception):
            under_way = self._begun(run)
            _current.set(under_way)
        try:
            yield
        finally:
            with suppress(Exception):
                _current.set(None)
                if under_way and run.events:  # one that was never durable is none
                    self._end(under_way)

    def observe(self, _saga_id: str, events: Sequence[SagaEvent]) -> None:
        """Make the span of a step's call once its answer is durable: an `Observer` of the core."""
        for event in events:
            self._add_span(event)

    def _add_span(self, event: SagaEvent) -> None:
        run, took = _current.get(), event.data.get("duration_ms")
        if run is None or event.type not in ANSWERS or not isinstance(took, int | float):
            return
        action, outcome = ANSWERS[event.type]
        attributes: dict[str, Any] = {
            "checkout.saga": run.saga.saga.id,
            "checkout.step": event.step or "",
            "checkout.action": action,
            "checkout.attempt": event.attempt or 0,
            "checkout.outcome": outcome,
        }
        if event.data.get("looked_up"):
            attributes["checkout.looked_up"] = True
        code = (event.data.get("error") or {}).get("code")
        if code:
            attributes["error.type"] = code
        end = _nanoseconds(event.at)
        with self._ids.next(span=run.step):
            span = self._tracer.start_span(
                f"{event.step}.{action}",
                context=run.context,
                attributes=attributes,
                start_time=end - int(took * 1_000_000),
            )
        run.step = self._ids.generate_span_id()
        if outcome in _NOT_WELL:
            span.set_status(Status(StatusCode.ERROR))
        span.end(end)

    def header(self) -> str | None:
        """Return the `traceparent` of a call that the saga makes whose task this is; None outside of one."""
        run = _current.get()
        if run is None:
            return None
        given = run.span.get_span_context()
        return TraceContext(
            trace_id=f"{given.trace_id:032x}",
            span_id=f"{run.step:016x}",
            flags=f"{given.trace_flags & 1:02x}",
        ).header

    async def close(self) -> None:
        """Send what is left, as long as that takes no longer than a few seconds."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        await asyncio.to_thread(closing.join, CLOSE_SECONDS)

    def _begun(self, run: SagaInstance) -> _Run:
        saga, resumed = run.saga, bool(run.events)
        header = saga.input.get("traceparent")
        trace_id = int(trace_id_of(header, saga.id), 16)
        first = int(first_span_of(saga.id), 16)
        parent, given = Context(), given_trace(header)
        if given is not None:
            flags = TraceFlags(int(given.flags, 16))
            caller = SpanContext(trace_id, int(given.span_id, 16), is_remote=True, trace_flags=flags)
            parent = api.set_span_in_context(NonRecordingSpan(caller), parent)
        links = []
        if resumed:
            before = SpanContext(trace_id, first, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
            links = [Link(before, {"checkout.link": "first_run"})]
        with self._ids.next(trace=trace_id, span=None if resumed else first):
            span = self._tracer.start_span(
                saga.definition,
                context=parent,
                attributes={"checkout.saga": saga.id, "checkout.resumed": resumed},
                links=links,
                start_time=_nanoseconds(self._now()),
            )
        step = self._ids.generate_span_id()
        return _Run(saga=run, span=span, context=api.set_span_in_context(span, parent), step=step)

    def _end(self, run: _Run) -> None:
        state = run.saga.state
        outcome = state.status.value if state.status in INACTIVE else "parked" if run.saga.parked else "left"
        run.span.set_attribute("checkout.outcome", outcome)
        if state.failure is not None:
            run.span.set_attribute("error.type", state.failure.code)
        if state.status is SagaStatus.NEEDS_ATTENTION:
            run.span.set_status(Status(StatusCode.ERROR))
        run.span.end(max(_nanoseconds(self._now()), _nanoseconds(run.saga.events[-1].at)))


class _Ids(RandomIdGenerator):
    """Random ids, but where the next ones are known already."""

    def __init__(self) -> None:
        self._trace: int | None = None
        self._span: int | None = None

    @contextmanager
    def next(self, *, trace: int | None = None, span: int | None = None) -> Iterator[None]:
        """Have the span that is made inside get these ids."""
        self._trace, self._span = trace, span
        try:
            yield
        finally:
            self._trace = self._span = None

    def generate_trace_id(self) -> int:
        return self._trace or super().generate_trace_id()

    def generate_span_id(self) -> int:
        return self._span or super().generate_span_id()

    def is_trace_id_random(self) -> bool:
        return False


class _Even(Sampler):
    """The sampler that OTEL_TRACES_SAMPLER names, shown ids that are spread evenly: a saga's id begins with the time."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def should_sample(
        self, parent_context: Context | None, trace_id: int, *args: Any, **kwargs: Any
    ) -> SamplingResult:
        return self._sampler.should_sample(parent_context, _spread(trace_id), *args, **kwargs)

    def get_description(self) -> str:
        return self._sampler.get_description()


def _spread(trace_id: int) -> int:
    return int(first_span_of(f"{trace_id:032x}"), 16)


def _resource() -> Resource:
    """Return what OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say, with a name where they give none."""
    found = Resource.create()
    unnamed = str(found.attributes.get(SERVICE_NAME, "")).startswith("unknown_service")
    return found.merge(Resource({SERVICE_NAME: "checkout"})) if unnamed else found


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1_000
