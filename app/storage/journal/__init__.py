"""Group commit: how everything is written."""
