"""The server that runs this process, as it was started: `uvicorn app.main:app` knows no options of ours."""

from __future__ import annotations

import resource
import signal

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.server.connection import ConnectionLimits, http_connection
from app.server.service_server import ServiceServer

MANY_FILES = 65_536


def running_server() -> uvicorn.Server | None:
    """Return the uvicorn that handles this process's signals, or None where another server runs it."""
    if ServiceServer.running is not None:
        return ServiceServer.running
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return server if isinstance(server, uvicorn.Server) else None


def use_connections(limits: ConnectionLimits) -> bool:
    """Have uvicorn serve its clients by our kind of connection; call it before it listens, as the app starts.

    Return whether it does: not where it was started with another parser (`--http h11`), or isn't uvicorn.
    """
    server = running_server()
    if server is None or server.config.http_protocol_class is not HttpToolsProtocol:
        return False
    server.config.http_protocol_class = http_connection(limits)
    return True


def allow_many_files() -> None:
    """Let this process open as many files as it may, which are 1,024 where nobody said otherwise; each client is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MANY_FILES if hard == resource.RLIM_INFINITY else min(hard, MANY_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
