"""Who may do what: keys, sessions, read tokens and the principal of a request."""
