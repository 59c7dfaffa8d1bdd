"""The saga as data and as pure functions: definition, events, state, decisions."""
