"""Who may do what: API keys, sessions, read tokens, and the principal of a request."""
