"""Webhooks: how sagas ended, told to the operator's endpoints at least once, and as a feed to those who pull."""

from app.webhooks.client import WebhookClient
from app.webhooks.retry_schedule import RetrySchedule
from app.webhooks.sender import Sender
from app.webhooks.service import UnknownDelivery, WebhookService

__all__ = ["RetrySchedule", "Sender", "UnknownDelivery", "WebhookClient", "WebhookService"]
