"""One live run per machine: a lock on a file of the state folder.

The kernel drops the lock when the last process that holds the descriptor is gone. The engine takes
it and the keeper inherits the same descriptor, so no run starts before the old keeper has restored.
"""

import fcntl
import json
import os
from pathlib import Path
from types import TracebackType

from kubesprint.core.errors import Refused, Unavailable

NAME = "lock"

RESTORE = "restore"
"""The run of a lock that `kubesprint restore` holds."""


class StillRestoring(Refused):
    """Whoever holds the lock only puts things back, and lets go of it soon: worth waiting for."""


class RunLock:
    """The lock of a state folder; a context manager that lets go of it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        """The descriptor, for a child to inherit."""
        return self._descriptor

    def release(self) -> None:
        """Let go; it stays held as long as a child has the descriptor open."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> "RunLock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def take_lock(folder: Path, run: str) -> RunLock:
    """Take the lock of `folder` for `run`, without waiting.

    Raises:
        StillRestoring: the run that held it is over, but its keeper has not restored everything yet; or
            `kubesprint restore` is at work.
        Refused: another run holds it; the message names its process and run.
        Unavailable: the lock file cannot be opened or written.
    """
    path = folder / NAME
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(f"{path} cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        refusal = _refusal(descriptor, path)
        os.close(descriptor)
        raise refusal from error
    try:
        os.ftruncate(descriptor, 0)
        document = {"pid": os.getpid(), "start_ticks": _start_ticks(os.getpid()), "run": run}
        os.pwrite(descriptor, json.dumps(document).encode(), 0)
    except OSError:
        pass  # a full disk: the lock holds all the same, its holder is only not named
    return RunLock(descriptor)


def _refusal(descriptor: int, path: Path) -> Refused:
    """Who holds the lock, and whether it is worth waiting for."""
    where = f"on this machine ({path}); wait for it or end it first"
    try:
        document = json.loads(os.pread(descriptor, 4096, 0))
        pid, ticks, run = int(document["pid"]), document["start_ticks"], str(document["run"])
    except (OSError, ValueError, KeyError, TypeError):
        return Refused(f"another run is live {where}")
    if ticks is None or _start_ticks(pid) != ticks:
        return StillRestoring(f"run {run} (process {pid}) has ended but its keeper still restores {where}")
    if run == RESTORE:
        return StillRestoring(f"kubesprint restore (process {pid}) is at work {where}")
    return Refused(f"run {run} (process {pid}) is live {where}")


def _start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot: a later one with its id has another start.

    None: it has ended, whether or not its parent knows. Source: `/proc/PID/stat`, fields 3 and 22.
    """
    try:
        fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
