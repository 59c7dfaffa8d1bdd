"""`checkout --version`: which release this is, and of what it is made."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

from app.api.openapi.description import VERSION
from app.storage.schema.schema_version import head

_TREE = Path(__file__).resolve().parents[2]


def version_line() -> str:
    """Return the release, the API's and the schema's version, and Python's."""
    return f"checkout {release()} (API {VERSION}, schema {head()}, Python {platform.python_version()})"


def release() -> str:
    """Return the release: CHECKOUT_VERSION, which an image has from its build, or else what git calls this tree."""
    if named := os.environ.get("CHECKOUT_VERSION"):
        return named
    if not (_TREE / ".git").exists():
        return "unreleased"
    command = ["git", "-C", str(_TREE), "describe", "--tags", "--always", "--dirty"]
    try:
        described = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603 - no input in it
    except (OSError, subprocess.SubprocessError):
        return "unreleased"
    return described.stdout.strip() or "unreleased"
