"""The engine's end of the socket: starts the keeper process and speaks to it. The `Nodes` port."""

import select
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from kubesprint.adapters.files.lock import RunLock
from kubesprint.adapters.link import (
    MAX_MESSAGE,
    Close,
    Closed,
    Message,
    NotOpened,
    Opening,
    Ready,
    Tenant,
    decode,
    encode,
)
from kubesprint.core.errors import Refused, Unavailable
from kubesprint.core.lease import Directive
from kubesprint.core.units import Seconds
from kubesprint.engine.keeper import PERIOD
from kubesprint.engine.ports import Report

OPEN_TIMEOUT = Seconds(15.0)
CLOSE_TIMEOUT = Seconds(10.0)
LOG = "keeper.log"


class KeeperLink:
    """One keeper process. It may outlive this object: it ends by itself once everything is restored."""

    def __init__(self, folder: Path, lock: RunLock, *, period: Seconds = PERIOD) -> None:
        """Start the keeper; nothing is changed before `open`.

        Args:
            folder: the state folder.
            lock: of `folder`; the keeper shares it, so that it is held until everything is restored.
            period: of the keeper.

        Raises:
            Unavailable: the process cannot be started.
        """
        self._folder = folder
        self._reports: list[Report] = []
        self._unsent: Directive | None = None
        self._closed: Closed | None = None
        self._ended = False
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        with theirs:
            self._process = self._start(theirs.fileno(), lock.fileno(), period)

    @property
    def pid(self) -> int:
        """Of the keeper."""
        return self._process.pid

    def fileno(self) -> int:
        """Readable when `reports` has something, or when the keeper is gone."""
        return self._socket.fileno()

    def alive(self) -> bool:
        """Whether the keeper still runs and listens; if not, everything is restored or in the journal.

        Takes nothing from the socket: a report that were taken here would wake nobody who waits for it.
        """
        return not self._ended and not self._hung_up() and self._process.poll() is None

    def open(self, opening: Opening, timeout: Seconds = OPEN_TIMEOUT) -> Ready:
        """Make the slots of a run, at base.

        Raises:
            Refused: the machine will not do it; nothing is left changed.
            Unavailable: not now, or the keeper did not answer.
        """
        self._say(opening)
        answer = self._await((Ready, NotOpened), timeout)
        if isinstance(answer, Ready):
            return answer
        if isinstance(answer, NotOpened):
            raise Refused(answer.message) if answer.final else Unavailable(answer.message)
        raise Unavailable(f"the keeper did not open the slots within {timeout:g} s; see {self._log}")

    def publish(self, directive: Directive) -> None:
        """Hand over a directive without waiting; if the keeper does not read, only the newest waits here."""
        self._unsent = directive
        self._flush()

    def tenant(self, knob: str, pid: int, start_ticks: int) -> None:
        """Say which process lives in a slot from now on; `start_ticks` is field 22 of /proc/PID/stat."""
        self._say(Tenant(knob=knob, pid=pid, start_ticks=start_ticks))

    def reports(self) -> Sequence[Report]:
        """What has come back since the last call, oldest first. Never waits."""
        self._flush()
        self._receive()
        reports, self._reports = self._reports, []
        return reports

    def close(self, timeout: Seconds = CLOSE_TIMEOUT) -> Closed | None:
        """Have everything put back, and wait for the end of the keeper; it runs no more on return.

        Returns:
            What was put back, with the last report; None if the keeper had died, or did not answer in
            time and was killed: then `restore_from_journal` puts back what its journal names.
        """
        deadline = time.monotonic() + timeout
        if self._closed is None:
            self._say(Close())
            self._await((Closed,), timeout)
        try:
            self._process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()  # two hands must not restore at once
            self._process.wait()
        self._socket.close()
        self._ended = True
        return self._closed

    @property
    def _log(self) -> Path:
        return self._folder / LOG

    def _start(self, link: int, lock: int, period: Seconds) -> "subprocess.Popen[bytes]":
        command = [
            sys.executable,
            "-P",
            "-m",
            "kubesprint.apps.keeper",
        ]  # -P: the user's folder holds no modules
        options = ["--socket-fd", str(link), "--lock-fd", str(lock), "--period", str(period)]
        try:
            with self._log.open("wb") as log:
                return subprocess.Popen(
                    [*command, *options, "--state-dir", str(self._folder.absolute())],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                    pass_fds=(link, lock),
                    start_new_session=True,  # Ctrl-C of the terminal is for the engine
                )
        except OSError as error:
            self._socket.close()
            raise Unavailable(f"the keeper cannot be started: {error}") from error

    def _hung_up(self) -> bool:
        """Whether the other end is closed, and nothing that it said is still to be read."""
        try:
            return not self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _say(self, message: Message) -> None:
        """Send, in order after what waits; a dead or deaf keeper shows in `alive` and `reports`."""
        self._flush()
        self._send(message)

    def _flush(self) -> None:
        if self._unsent is not None and self._send(self._unsent):
            self._unsent = None

    def _send(self, message: Message) -> bool:
        if self._ended:
            return False
        try:
            self._socket.send(encode(message), socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return False
        except OSError:
            self._receive()  # it may have said goodbye
            self._ended = True
            return False
        return True

    def _receive(self) -> list[Message]:
        """Everything that has arrived; reports are kept for `reports`, a goodbye for `close`."""
        messages: list[Message] = []
        while not self._ended:
            try:
                data = self._socket.recv(MAX_MESSAGE)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self._ended = True
                break
            messages.append(self._sort(decode(data)))
        return messages

    def _sort(self, message: Message) -> Message:
        if isinstance(message, Report):
            self._reports.append(message)
        elif isinstance(message, Closed):
            self._closed = message
            if message.report is not None:
                self._reports.append(message.report)
        return message

    def _await(self, kinds: tuple[type[Message], ...], timeout: Seconds) -> Message | None:
        """The first message of these kinds; None: the time is over, or the keeper is gone."""
        deadline = time.monotonic() + timeout
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        while not self._ended and (left := deadline - time.monotonic()) > 0:
            poll.poll(left * 1000)
            for message in self._receive():
                if isinstance(message, kinds):
                    return message
        return None
