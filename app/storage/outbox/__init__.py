"""The outbox: the feed of how sagas ended, and deliveries of it to webhook endpoints."""
