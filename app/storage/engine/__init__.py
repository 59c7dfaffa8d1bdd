"""Connections, sessions and the schema of both databases."""
