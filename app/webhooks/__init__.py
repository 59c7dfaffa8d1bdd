"""Webhooks: how sagas ended, told to the operator's endpoints at least once, and as a feed to those who pull."""

from app.webhooks.client import Poster
from app.webhooks.retry_schedule import Pauses
from app.webhooks.sender import Sender
from app.webhooks.service import Unknown, Webhooks

__all__ = ["Pauses", "Poster", "Sender", "Unknown", "Webhooks"]
