"""A webhook receiver as a process of its own: slow, failing now and then, and noting all that arrives.

python -m tests.chaos.apps.webhook_receiver 9000 arrivals.jsonl
"""

from __future__ import annotations

import http.server
import json
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
FAILS = 0.25
SLOW_SECONDS = 0.2


def serve(port: int, arrivals: Path) -> None:
    """Serve until the process ends."""
    rng, lock = random.Random(port), threading.Lock()

    class Receiver(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(200)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            event = Webhook(SECRET).verify(body.decode(), headers)
            with lock:
                status = rng.choice((500, 503)) if rng.random() < FAILS else 204
                arrived = {"id": headers["webhook-id"], "type": event["type"], "status": status}
                with arrivals.open("a") as lines:
                    lines.write(json.dumps(arrived) + "\n")
            time.sleep(rng.random() * SLOW_SECONDS)  # being slow is what it is for
            self._answer(status)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

    http.server.ThreadingHTTPServer(("127.0.0.1", port), Receiver).serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]))
