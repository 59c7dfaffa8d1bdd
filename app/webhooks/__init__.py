"""Webhooks: how sagas ended, told to the operator's endpoints at least once, and as a feed to those who pull."""

from app.webhooks.backoff import Pauses
from app.webhooks.desk import Unknown, Webhooks
from app.webhooks.poster import Poster
from app.webhooks.sender import Sender

__all__ = ["Pauses", "Poster", "Sender", "Unknown", "Webhooks"]
