"""`python -m tests.proof`: what `make test` runs a sample of, in whole; and how much of the product the tests reach.

Four parts, each told by its name, all run whatever comes of the others: the tests of `make test` with their coverage
measured; everything marked `proof`, and every property with many examples; the page in a Chromium, where there is
one; the coverage. Arguments go to pytest in the second part: `python -m tests.proof -k crash`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

from tests.page.browser import chromium
from tests.processes import ROOT

_PYTEST = ("-m", "pytest", "-q", "--no-header")
_SPREAD = ("-n", "auto", "--dist", "loadgroup")
_WHOLE = (
    "-m",
    "proof or hypothesis",
    "--hypothesis-profile",
    "exhaustive",
    "-o",
    "faulthandler_timeout=1800",
)


def main() -> int:
    """Return 0 where every part went well."""
    given = sys.argv[1:]
    parts: dict[str, tuple[str, ...]] = {}
    if not given:
        shutil.rmtree(ROOT / ".cache" / "coverage", ignore_errors=True)
        parts["what the tests reach"] = ("-m", "coverage", "run", *_PYTEST, *_SPREAD, "-m", "not proof")
    parts["in whole"] = (*_PYTEST, *_SPREAD, *_WHOLE, *given)
    if not given and chromium():
        parts["the page in a Chromium"] = (*_PYTEST, "-n0", "tests/page")
    if not given:
        parts["coverage: combined"] = ("-m", "coverage", "combine", "--quiet")
        parts["coverage"] = ("-m", "coverage", "report")
    ended = {name: _run(name, arguments) for name, arguments in parts.items()}
    sys.stdout.write("\n" + "\n".join(f"{name}: {how}" for name, how in ended.items()) + "\n")
    if not given and not chromium():
        sys.stdout.write(
            "\nNOT RUN: THE PAGE'S TESTS. There is no Chromium here: install Debian's package chromium, or say "
            "where one is with CHROMIUM=…, and run `make page`.\n"
        )
    return 0 if all(how.startswith("passed") for how in ended.values()) else 1


def _run(name: str, arguments: tuple[str, ...]) -> str:
    sys.stdout.write(f"\n══ {name} ══\n")
    sys.stdout.flush()
    began = time.monotonic()
    code = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=os.environ, check=False).returncode
    seconds = time.monotonic() - began
    return f"passed in {seconds:.0f} s" if code == 0 else f"FAILED (exit code {code}) after {seconds:.0f} s"


if __name__ == "__main__":
    sys.exit(main())
