"""SQLite files: opened, watched, and their write-ahead log. For the saga log and for the sandbox."""
