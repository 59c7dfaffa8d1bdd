"""`python -m app …`: the command line."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """Run the command line; `serve` without it, as its options are uvicorn's own."""
    gc.disable()  # to look for garbage among what is imported, and stays, would take a fifth of the start
    if sys.argv[1:2] == ["serve"]:
        from app.bootstrap.serving import serve  # noqa: PLC0415 - each takes a while to import

        sys.exit(serve(sys.argv[2:]))  # which turns the collector on once the service is open
    from app.cli import main as command_line  # noqa: PLC0415

    gc.enable()
    command_line()


if __name__ == "__main__":
    main()
