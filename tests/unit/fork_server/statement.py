"""Runs the Python that it is given: `python -m tests.unit.fork_server.statement "print(1)"`."""

import sys

exec(sys.argv[1])  # noqa: S102 (a test's own)
