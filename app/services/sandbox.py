"""The sandbox's former place: `python -m app.services.sandbox` still starts it, for one release."""

from __future__ import annotations

import sys

from app.sandbox.__main__ import main

if __name__ == "__main__":
    sys.stderr.write(
        "python -m app.services.sandbox is now python -m app.sandbox; this name goes with the next release.\n"
    )
    main()
