"""The limit on what one process streams at once."""

from __future__ import annotations


class TooManySubscribers(Exception):
    """This process has as many open streams as it may have."""
