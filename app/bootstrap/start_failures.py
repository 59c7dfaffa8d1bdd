"""What keeps the service from starting, in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from app.api.middleware.startup import StartFailed
from app.bootstrap.access import UnauthenticatedExposure
from app.bootstrap.telemetry import TracesMissing
from app.settings.settings import Settings
from app.storage.start_faults import database_fault


@contextmanager
def start_failures(settings: Settings) -> Iterator[None]:
    """Raise `StartFailed` with one sentence for what keeps the service from starting, where its cause is known."""
    try:
        yield
    except (UnauthenticatedExposure, TracesMissing) as error:
        raise StartFailed(str(error)) from error
    except Exception as error:
        sentence = database_fault(error, settings.database_url.get_secret_value())
        if sentence is None:
            raise
        raise StartFailed(sentence) from error
