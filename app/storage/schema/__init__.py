"""The database's schema as a whole: its version, its migrations, and the indexes that they build."""
