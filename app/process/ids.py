"""Identifiers that a process makes."""

from __future__ import annotations

import os
import socket
from datetime import datetime

from uuid_utils import uuid7


def new_saga_id(now: datetime) -> str:
    """Return an id that sorts behind all made earlier, at any replica: `now` is the time that they share."""
    return str(uuid7(nanoseconds=int(now.timestamp() * 1_000_000) * 1_000))


def new_owner() -> str:
    """Return a name for this process as an owner of sagas: readable, and never used again."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid7()}"
