"""Lints the API's description with Spectral, makes a TypeScript client of it, type-checks and runs that: `make clients`.

It needs node and npm, and the network at its first run; what it installs stays in .venv/clients. The tests
hold the description to the same rules without either.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from app.api.openapi.__main__ import document
from tests.processes import ROOT, a_checkout

HERE = Path(__file__).parent
PLACE = ROOT / ".venv" / "clients"
STEPS = (
    ("npm", "install", "--silent", "--no-fund", "--no-audit", "--no-package-lock"),
    ("npx", "spectral", "lint", "--fail-severity", "warn", "--ruleset", "spectral.yaml", "openapi.json"),
    ("npx", "openapi-typescript", "openapi.json", "--output", "checkout.ts"),
    ("npx", "tsc", "--strict", "--target", "es2022", "--module", "nodenext", "--skipLibCheck", "usage.ts"),
)


def main() -> int:
    """Return the exit status: 0 where the description and its client are well."""
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            sys.stderr.write("make clients needs node and npm (on Debian: apt-get install nodejs npm).\n")
            return 1
    PLACE.mkdir(exist_ok=True)
    for name in ("package.json", "usage.ts"):
        shutil.copyfile(HERE / name, PLACE / name)
    (PLACE / "spectral.yaml").write_text('extends: ["spectral:oas"]\n')
    (PLACE / "openapi.json").write_text(document())
    (PLACE / "readme.ts").write_text(_readme())
    for step in STEPS:
        if subprocess.run(step, cwd=PLACE, check=False).returncode != 0:
            return 1
    with tempfile.TemporaryDirectory() as folder:
        env = {"DATABASE_URL": f"sqlite:///{folder}/checkout.db", "SANDBOX_DATABASE": ":memory:"}
        with a_checkout(env, Path(folder) / "log") as server:
            use = ("node", "usage.js", server.url)
            return subprocess.run(use, cwd=PLACE, check=False).returncode


def _readme() -> str:
    """Return the README's order as TypeScript, which has to be of the generated type as it stands."""
    found = re.search(r"-d '(\{.*?\})'", (ROOT / "README.md").read_text(), re.DOTALL)
    assert found is not None, "The README has no order."
    order = json.dumps(json.loads(found[1]), indent=2)
    head = 'import type { components } from "./checkout.js";\n\n'
    return f'{head}export const order: components["schemas"]["Order"] = {order};\n'


if __name__ == "__main__":
    sys.exit(main())
