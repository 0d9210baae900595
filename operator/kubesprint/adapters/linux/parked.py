"""The engine's side of the launcher: processes that wait in a slot for the job that they are to become."""

import marshal
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from kubesprint.adapters.linux import launcher
from kubesprint.adapters.linux.jobs import JobProcess, SlotGone, open_log
from kubesprint.core.errors import Unavailable
from kubesprint.core.units import CoreSeconds

PATIENCE = 10.0
"""Seconds in which the launcher must answer; it never takes more than some milliseconds."""


class ParkedDied(SlotGone):
    """The process that waited does not wait any more."""


class Launcher:
    """The launcher of one run: started when it is first needed, and again if somebody has killed it."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def park(self, procs: Sequence[str], cpus: Sequence[int] | None) -> "ParkedProcess":
        """Have a process wait for a command.

        Args:
            procs: `cgroup.procs` files that it joins.
            cpus: that it is confined to.

        Raises:
            Unavailable: no process can be made.
        """
        channel, theirs = socket.socketpair()
        with theirs:
            channel.settimeout(PATIENCE)
            if self._control is None:
                self._start()
            pid = self._ask(("park", tuple(procs), cpus), theirs)
        if pid is None:
            channel.close()
            raise Unavailable("the process that starts the jobs has ended")
        return ParkedProcess(pid, channel, self)

    def reap(self, pid: int) -> tuple[int, CoreSeconds] | None:
        """Wait status and CPU seconds of a process that has ended; None if nobody knows."""
        answer = self._ask(("reap", pid)) if self._control is not None else None
        return None if answer is None else (answer[0], CoreSeconds(answer[1]))

    def close(self) -> None:
        """End it; jobs that it has started live on."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _start(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(PATIENCE)
        command = [sys.executable, "-I", "-S", launcher.__file__, str(theirs.fileno())]
        try:
            with theirs:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
        except OSError as error:
            self.close()
            raise Unavailable(f"the process that starts the jobs cannot be started: {error}") from error

    def _ask(self, question: tuple[Any, ...], *files: socket.socket) -> Any:
        """What it answers; None if it is dead or deaf, and then it is ended."""
        assert self._control is not None
        try:
            socket.send_fds(self._control, [marshal.dumps(question)], [file.fileno() for file in files])
            answer = self._control.recv(launcher.LARGEST)
        except OSError:
            answer = b""
        if not answer:
            self.close()
            return None
        return marshal.loads(answer)  # noqa: S302  from the process that we started


class ParkedProcess:
    """A process in its slot that has no command yet; it leads its own session."""

    def __init__(self, pid: int, channel: socket.socket, launcher: Launcher) -> None:
        """Take over what the launcher has forked."""
        self.pid = pid
        self._channel = channel
        self._launcher = launcher

    def become(
        self, command: Sequence[str], *, env: Mapping[str, str], workdir: str, log: Path
    ) -> JobProcess:
        """Replace the process by a command; it keeps its id, session and slot.

        Args:
            command: program and arguments; no shell.
            env: the whole environment.
            workdir: absolute.
            log: gets stdout and stderr; where it cannot be written they are lost, and the job runs.

        Raises:
            SlotGone: it could not enter its slot.
            ParkedDied: it does not wait any more.
            Unavailable: the program could not be started.
        """
        self._await_ready(command[0])
        order = marshal.dumps((list(command), dict(env), workdir))
        try:
            with open_log(log) as out:
                socket.send_fds(self._channel, [order[:1]], [out.fileno()])
                self._channel.sendall(order[1:])
                self._channel.shutdown(socket.SHUT_WR)
            trouble = self._last_words()  # a successful exec closes the channel
        except OSError as error:
            self.dismiss()
            raise ParkedDied(f"{command[0]}: the process that waited for it died") from error
        if trouble:
            self.dismiss()
            raise Unavailable(f"cannot start {command[0]}: {trouble}")
        self._channel.close()
        return LaunchedJob(self.pid, self._launcher)

    def dismiss(self) -> None:
        """End it."""
        self._channel.close()
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._launcher.reap(self.pid)

    def _await_ready(self, program: str) -> None:
        """Wait until it is in its slot, which it usually has long been."""
        try:
            said = self._channel.recv(1, socket.MSG_PEEK)
            if said == launcher.READY:
                self._channel.recv(1)
                return
            words = self._last_words()
        except OSError as error:
            words, said = str(error), b""
        self.dismiss()
        if said:
            raise SlotGone(f"{program} cannot enter its slot: {words}")
        raise ParkedDied(f"{program}: the process that should wait for it died")

    def _last_words(self) -> str:
        """Why it ends, if it says so before it ends or is replaced. Raises `OSError` if it does neither."""
        words = b"".join(iter(lambda: self._channel.recv(4096), b""))
        return str(marshal.loads(words)[1]) if words else ""  # noqa: S302  from our own launcher


class LaunchedJob(JobProcess):
    """A running job whose parent is the launcher."""

    def __init__(self, pid: int, launcher: Launcher) -> None:
        """Watch a process that leads its own session."""
        super().__init__(pid)
        self._launcher = launcher

    def _wait(self) -> tuple[int | None, CoreSeconds | None] | None:
        if not select.select([self.pidfd], [], [], 0)[0]:
            return None
        return self._launcher.reap(self.pid) or (None, None)


class Berth:
    """The one place in a slot where its next job waits."""

    def __init__(self, launcher: Launcher, procs: Sequence[str], cpus: Sequence[int] | None) -> None:
        """Nobody waits until `park`. The arguments are those of `Launcher.park`."""
        self._launcher, self._procs, self._cpus = launcher, procs, cpus
        self._waiting: ParkedProcess | None = None

    @property
    def pid(self) -> int | None:
        """Of the process that waits here."""
        return None if self._waiting is None else self._waiting.pid

    def park(self) -> None:
        """Have a process wait here. Raises `Unavailable`."""
        if self._waiting is None:
            self._waiting = self._launcher.park(self._procs, self._cpus)

    def start(self, command: Sequence[str], *, env: Mapping[str, str], workdir: str, log: Path) -> JobProcess:
        """Start a job as the process that waits, or as a new one.

        Raises:
            SlotGone: nobody can enter the slot.
            Unavailable: the program could not be started.
        """
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            with suppress(ParkedDied):  # then a new one does
                return waiting.become(command, env=env, workdir=workdir, log=log)
        fresh = self._launcher.park(self._procs, self._cpus)
        return fresh.become(command, env=env, workdir=workdir, log=log)

    def dismiss(self) -> None:
        """Nobody waits here any more."""
        if self._waiting is not None:
            self._waiting.dismiss()
            self._waiting = None
