"""Where the sandbox's records are stored: in memory, or in a SQLite file that a thread writes in batches."""
