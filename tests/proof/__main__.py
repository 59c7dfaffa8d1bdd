"""`python -m tests.proof`: what `make test` runs a sample of, in whole; and how much of the product the tests reach.

Its parts, each told by its name, all run whatever comes of the others: everything marked `proof`, and every property
with many examples; the page in a Chromium, where there is one; and the coverage, which mustn't be below the floor in
pyproject.toml. Arguments go to pytest in the first part, which then is the only one:
`python -m tests.proof -k crash`. `python -m tests.proof --coverage` only measures.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

from tests.page.browser import chromium
from tests.processes import ROOT

MEASURED = ("tests/unit", "tests/contract", "tests/spec", "tests/migration")
"""The tests that run the product in their own process. The others run it in processes that are stopped and killed,
or run the engine a thousand times over: they are slow to measure, and reach little else."""

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
_COVERAGE = {
    "coverage, measured": ("-m", "coverage", "run", *_PYTEST, *_SPREAD, "-m", "not proof", *MEASURED),
    "coverage, combined": ("-m", "coverage", "combine", "--quiet"),
    "coverage, above its floor": ("-m", "coverage", "report"),
}


def main() -> int:
    """Return 0 where every part went well."""
    given = sys.argv[1:]
    whole = {"in whole": (*_PYTEST, *_SPREAD, *_WHOLE, *given)}
    if given == ["--coverage"]:
        return _told(_COVERAGE)
    if given:
        return _told(whole)
    page = {"the page in a Chromium": (*_PYTEST, "-n0", "tests/page")} if chromium() else {}
    code = _told({**whole, **page, **_COVERAGE})
    if not page:
        sys.stdout.write(
            "\nNOT RUN: THE PAGE'S TESTS. There is no Chromium here: install Debian's package chromium, or say "
            "where one is with CHROMIUM=…, and run `make page`.\n"
        )
    return code


def _told(parts: dict[str, tuple[str, ...]]) -> int:
    """Run the parts, then say how each ended."""
    shutil.rmtree(ROOT / ".cache" / "coverage", ignore_errors=True)
    ended = {name: _run(name, arguments) for name, arguments in parts.items()}
    sys.stdout.write("\n" + "\n".join(f"{name}: {how}" for name, how in ended.items()) + "\n")
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
