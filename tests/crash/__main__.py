"""`python -m tests.crash` runs every plan and prints the figures; with `--record` it rewrites boundaries.txt instead."""

from __future__ import annotations

import sys

from tests.crash import full_run, record


def main() -> int:
    """Return 0 where every run ended well."""
    if sys.argv[1:] == ["--record"]:
        full_run.quiet()
        record.write()
        return 0
    if sys.argv[1:]:
        sys.stderr.write("usage: python -m tests.crash [--record]\n")
        return 2
    tally, seconds = full_run.run()
    sys.stdout.writelines(f"{line}\n" for line in [*tally.wrong[:50], *full_run.figures(tally, seconds)])
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
