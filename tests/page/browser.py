"""Chromium, as this machine has it: Debian's `chromium`, or what CHROMIUM names."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator

from playwright.sync_api import Browser, Page, sync_playwright

_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium() -> str | None:
    """Return the path of this machine's Chromium, if there is one."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


@contextlib.contextmanager
def a_browser() -> Iterator[Browser]:
    """Run Chromium; raise `AssertionError` where there is none."""
    path = chromium()
    assert path, "There is no Chromium: install Debian's package chromium, or say where it is with CHROMIUM=…"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_QUIET))
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def a_page(
    browser: Browser,
    *,
    width: int = 1440,
    dark: bool = False,
    javascript: bool = True,
    refused: int | None = None,
) -> Iterator[Page]:
    """Open a page; when the block ends, raise `AssertionError` for anything that the console complained of.

    Of an answer with the status `refused` it may.
    """
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if dark else "light",
        java_script_enabled=javascript,
        reduced_motion="reduce",
    )
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        yield page
        assert [one for one in complaints if f"status of {refused} " not in one] == []
    finally:
        context.close()
