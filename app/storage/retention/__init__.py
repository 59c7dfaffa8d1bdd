"""Old sagas in the database: redacted, then deleted."""
