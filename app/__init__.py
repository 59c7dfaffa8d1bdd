"""The checkout saga service; `docs/architecture.md` is the map."""
