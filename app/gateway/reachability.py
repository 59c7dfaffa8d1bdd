"""Whether somebody answers at a service's base URL: for `doctor`, which sends nothing that has an effect."""

from __future__ import annotations

import aiohttp

from app.gateway.one_request import OneRequestConnector, RepeatRefused, one_attempt

REACH_SECONDS = 3.0


async def reachable(base_url: str) -> str | None:
    """Return None where something speaks HTTP there, whatever it answers; else what is wrong."""
    try:
        with one_attempt():
            async with (
                aiohttp.ClientSession(
                    connector=OneRequestConnector(), timeout=aiohttp.ClientTimeout(total=REACH_SECONDS)
                ) as session,
                session.get(base_url, allow_redirects=False),
            ):
                return None
    except (aiohttp.ClientError, OSError, TimeoutError, RepeatRefused) as error:
        return f"nobody answers ({type(error).__name__})"
