"""The settings, read from the environment and checked. Each owner has a group in `groups`."""

from app.settings.settings import Settings

__all__ = ["Settings"]
