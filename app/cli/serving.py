"""`checkout serve`."""

from __future__ import annotations

import typer

from app.bootstrap import serving


def serve(context: typer.Context) -> None:
    """Serve the API on 127.0.0.1:8000. Takes uvicorn's options, such as --host, --port and --workers; the environment has the settings."""
    raise typer.Exit(serving.serve(context.args))
