"""The operator dashboard: the state of each checkout, why, and what can be done. It works without JavaScript."""
