"""`python -m app …`: the command line."""

from __future__ import annotations

from app.cli import app

if __name__ == "__main__":
    app(prog_name="checkout")
