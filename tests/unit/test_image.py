"""What the image installs: all that the service runs on, and the extra that sends traces."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _locked(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE))


def test_the_image_has_the_runtimes_packages_and_the_extra_for_traces() -> None:
    """In the same versions; a platform that names a collector finds that traces can be sent."""
    image = _locked("requirements-image.lock")
    assert _locked("requirements.lock").items() <= image.items()
    assert {"opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"} <= set(image)
    assert "pip install --require-hashes -r /requirements-image.lock" in (ROOT / "Dockerfile").read_text()
    assert "!requirements-image.lock" in (ROOT / ".dockerignore").read_text()
