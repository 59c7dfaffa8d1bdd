"""Types the commands of a page, as written and in order."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import string
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from typer.testing import CliRunner

from app.cli import app as command_line
from tests.processes import ROOT

COMMAND_SECONDS = 150.0
_OURS = re.compile(r"(?:python -m app|checkout) (?!serve)(?P<words>[^|&>]+)")
_ASSIGNED = re.compile(r"(?:export )?(?P<name>[A-Z_]+)=")
_PLAIN_COMMENT = re.compile(r"\s+#\s.*$")


def commands(page: Path) -> list[str]:
    """Return the page's commands; a command may have several lines."""
    found: list[str] = []
    for block in re.findall(r"^ *```(?:bash|sh)\n(.*?)^ *```$", page.read_text(), re.DOTALL | re.MULTILINE):
        unfinished = ""
        for line in block.splitlines():
            unfinished = f"{unfinished}\n{line}".strip()
            if unfinished and _whole(unfinished):
                found.append(unfinished)
                unfinished = ""
        assert not unfinished, f"{page.name}: {unfinished}"
    return found


def _whole(text: str) -> bool:
    if text.rstrip().endswith(("\\", "|")):
        return False
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return False
    return text.count("$(") <= text.count(")")


@dataclass
class Walk:
    """A terminal for a page's commands; it answers every question with yes.

    An answer that is a problem is a failure, unless the page itself shows its code: `shown` is the page.
    """

    env: dict[str, str]
    replace: Mapping[str, str] = field(default_factory=dict)
    shown: str = ""
    background: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def type(self, command: str) -> str:
        """Type one command and return its output; fail if it fails."""
        for text, instead in self.replace.items():
            command = command.replace(text, instead)
        if (ours := _OURS.fullmatch(_PLAIN_COMMENT.sub("", command))) is not None:
            code, printed = self._ours(ours["words"])
        else:
            code, printed = self._shell(command)
        assert code == 0, f"{command}\nended with {code}:\n{printed}"
        refused = re.search(r'"status":\s*[45]\d\d\b.*"code":\s*"(\w+)"', printed)
        assert refused is None or refused[1] in self.shown, f"{command}\nwas answered:\n{printed}"
        return printed

    def _ours(self, words: str) -> tuple[int, str]:
        """Run the project's command line in this process, which saves a second's start."""
        typed = shlex.split(string.Template(words).safe_substitute(self.env))
        done = CliRunner().invoke(command_line, typed, env=dict(self.env), input="y\ny\n")
        return done.exit_code, done.output

    def _shell(self, command: str) -> tuple[int, str]:
        if command.endswith("&"):
            self.background.append(
                subprocess.Popen(
                    ["bash", "-c", f"exec {command[:-1]}"],  # noqa: S607 (the reader's own shell)
                    cwd=ROOT,
                    env=self._environment(),
                    start_new_session=True,
                )
            )
            return 0, ""
        name = match["name"] if (match := _ASSIGNED.match(command)) else None
        script = f"set -euo pipefail\n{command}\n" + (f'printf "\\n%s" "${name}"' if name else "")
        done = subprocess.run(
            ["bash", "-c", script],  # noqa: S607 (the reader's own shell)
            cwd=ROOT,
            env=self._environment(),
            input="y\ny\n",
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        if name and done.returncode == 0:
            self.env[name] = done.stdout.rpartition("\n")[2]
        return done.returncode, done.stdout + done.stderr

    def _environment(self) -> dict[str, str]:
        keep = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
        path = f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"
        return {**keep, "PATH": path, **self.env}

    def end(self) -> None:
        """End the processes that the page started in the background."""
        for process in self.background:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=COMMAND_SECONDS)


@contextlib.contextmanager
def walking(env: dict[str, str], replace: Mapping[str, str] | None = None, shown: str = "") -> Iterator[Walk]:
    """Give a terminal, and end its background processes."""
    walk = Walk(dict(env), replace or {}, shown)
    try:
        yield walk
    finally:
        walk.end()
