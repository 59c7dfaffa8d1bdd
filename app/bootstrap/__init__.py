"""The composition root: where everything is wired, once, from the settings."""
