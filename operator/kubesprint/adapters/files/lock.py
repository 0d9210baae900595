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
        holder = _holder(descriptor)
        os.close(descriptor)
        raise Refused(f"{holder} on this machine ({path}); wait for it or end it first") from error
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "run": run}).encode(), 0)
    except OSError:
        pass  # a full disk: the lock holds all the same, its holder is only not named
    return RunLock(descriptor)


def _holder(descriptor: int) -> str:
    """Who holds the lock, as a sentence's beginning."""
    try:
        document = json.loads(os.pread(descriptor, 4096, 0))
        pid, run = int(document["pid"]), str(document["run"])
    except (OSError, ValueError, KeyError, TypeError):
        return "another run is live"
    if Path(f"/proc/{pid}").exists():
        return f"run {run} (process {pid}) is live"
    return f"run {run} (process {pid}) has ended but its keeper still restores"
