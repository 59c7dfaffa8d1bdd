"""A folder that the workers of one server share, for as long as that server lives.

Nobody has to prepare it: where `--workers N` has begun this process, its parent is the server, which names the folder.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import stat
import tempfile
from pathlib import Path


def workers_folder(purpose: str) -> Path | None:
    """Return the folder for `purpose`, None where this process is no worker. Raise `OSError` where it can't be made.

    Folders of servers that have ended are removed at the next such call.
    """
    server = multiprocessing.parent_process()
    if server is None or server.pid is None:
        return None
    base = Path(tempfile.gettempdir())
    prefix = f"checkout-{purpose}-{os.getuid()}-"
    _remove_those_of_ended_servers(base, prefix)
    folder = base / f"{prefix}{_life_of(server.pid)}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise FileExistsError(f"{folder} belongs to another user")
    return folder


def lives(pid: int) -> bool:
    """Whether a process has that id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _life_of(pid: int) -> str:
    """Return a process's id and when it began, where that can be told: ids are used again."""
    try:
        began = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        began = "0"
    return f"{pid}-{began}"


def _remove_those_of_ended_servers(base: Path, prefix: str) -> None:
    for folder in base.glob(f"{prefix}*"):
        pid = folder.name.removeprefix(prefix).partition("-")[0]
        if pid.isdigit() and (not lives(int(pid)) or folder.name != f"{prefix}{_life_of(int(pid))}"):
            shutil.rmtree(folder, ignore_errors=True)
