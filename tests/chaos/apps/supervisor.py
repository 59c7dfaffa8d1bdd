"""Runs an app as a process that comes back whenever it dies: `python -m tests.chaos.apps.supervisor package.module:app 8000`.

It is what systemd or Kubernetes do, but quick: the app is imported once, and each run is forked from that.
"""

from __future__ import annotations

import os
import signal
import sys

import uvicorn
from uvicorn.importer import import_from_string

KILLED = "The app was killed; here it comes again."
"""Said on standard error at each death of SIGKILL."""


def main(name: str, port: int) -> None:
    """Run the app again whenever it ends, until SIGTERM."""
    app = import_from_string(name)
    child = 0

    def stop(*_: object) -> None:
        if child:
            os.kill(child, signal.SIGTERM)
            os.waitpid(child, 0)
        sys.exit(0)

    while True:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        child = os.fork()
        if not child:
            uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
            return
        signal.signal(signal.SIGTERM, stop)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        child = 0
        said = KILLED if code == -signal.SIGKILL else f"The app has ended with {code}; here it comes again."
        sys.stderr.write(f"{said}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
