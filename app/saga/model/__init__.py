"""The saga as data: its definition, events, state and errors."""
