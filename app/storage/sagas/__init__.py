"""Sagas in the database: the saga log, lists and statistics."""
