"""The HTTP server around the API: what uvicorn does with a client's connection where its own way falls short."""

from app.server.connection import ConnectionLimits, HttpConnection, http_connection
from app.server.running import allow_many_files, use_connections

__all__ = ["ConnectionLimits", "HttpConnection", "allow_many_files", "http_connection", "use_connections"]
