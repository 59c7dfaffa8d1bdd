"""Webhooks: how sagas ended, delivered to the operator's endpoints at least once, and as a feed for clients that pull."""

from app.webhooks.retry_schedule import RetrySchedule
from app.webhooks.sender import WebhookSender
from app.webhooks.service import UnknownDelivery, WebhookService

__all__ = ["RetrySchedule", "UnknownDelivery", "WebhookSender", "WebhookService"]
