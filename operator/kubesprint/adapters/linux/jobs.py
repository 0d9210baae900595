"""Job processes: each the leader of its own session and group, born inside its slot."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kubesprint.core.errors import Unavailable
from kubesprint.core.units import CoreSeconds, Seconds

SWEEP_PATIENCE = Seconds(1.0)
"""How long the end of what a job left behind is waited for: a process inside the kernel ends later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a process ended: its code as a shell shows it, and the CPU time of it and its reaped children."""

    code: int | None  # None: not known, for it was not our child
    cpu: CoreSeconds | None


class SlotGone(Unavailable):
    """The place that a job should have been born in is not there any more."""


class JobProcess:
    """A running job. The parent must be the only one that waits for it."""

    def __init__(self, pid: int) -> None:
        """Watch a child that leads its own session."""
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self._exit: Exit | None = None

    @classmethod
    def start(
        cls,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        workdir: str,
        log: Path,
    ) -> "JobProcess":
        """Start a command where this process is, no shell, output appended to `log`.

        Args:
            command: program and arguments.
            env: the whole environment.
            workdir: absolute.
            log: gets stdout and stderr; where it cannot be written they are lost, and the job runs.

        Raises:
            Unavailable: the program could not be started.
        """
        with open_log(log) as out:
            try:
                popen = subprocess.Popen(
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    cwd=workdir,
                    env=dict(env),
                    start_new_session=True,
                )
            except OSError as error:
                raise Unavailable(f"cannot start {command[0]}: {error}") from error
        popen.returncode = 0  # Popen must not wait for it: its end is seen here
        return cls(popen.pid)

    def poll(self) -> Exit | None:
        """How it ended, once it has; reaps it. Never blocks."""
        if self._exit is None and (ended := self._wait()) is not None:
            status, cpu = ended
            code = None if status is None else os.waitstatus_to_exitcode(status)
            self._exit = Exit(code=code if code is None or code >= 0 else 128 - code, cpu=cpu)
            os.close(self.pidfd)
            self._signal_group(signal.SIGKILL)  # a job is over when its leader is
        return self._exit

    def _wait(self) -> tuple[int | None, CoreSeconds | None] | None:
        """Wait status and CPU time, as far as they are known; None: it still runs."""
        pid, status, usage = os.wait4(self.pid, os.WNOHANG)
        return (status, CoreSeconds(usage.ru_utime + usage.ru_stime)) if pid else None

    def terminate(self) -> None:
        """Ask the whole job to end."""
        self._signal_group(signal.SIGTERM)

    def kill(self) -> None:
        """End the whole job."""
        self._signal_group(signal.SIGKILL)

    def _signal_group(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return  # nobody is left


def open_log(path: Path) -> IO[bytes]:
    """The log, or nowhere: a full disk must not keep a job from running."""
    try:
        return path.open("ab")
    except OSError:
        return Path(os.devnull).open("ab")


def end_all(find: Callable[[], Sequence[int]]) -> None:
    """Kill whatever `find` finds, looking again for what was forked meanwhile; gives up after a second."""
    patience = time.monotonic() + SWEEP_PATIENCE
    while (pids := find()) and time.monotonic() < patience:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.0005)
