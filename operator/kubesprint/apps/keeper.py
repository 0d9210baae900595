"""The keeper process of one run: `python -m kubesprint.apps.keeper --socket-fd N --state-dir D`.

It holds the machine's knobs for the engine at the other end of the socket. The engine's death, its
silence, a signal or a request end with the same thing: everything is as it was found.
"""

import argparse
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from kubesprint.adapters.files.journal import open_journal
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
from kubesprint.adapters.linux.combined import CombinedHardware
from kubesprint.adapters.linux.cpufreq import ClockHardware, open_clocks
from kubesprint.adapters.linux.hardware import SlotHardware, open_slots
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.adapters.system import SystemClock
from kubesprint.apps.recovery import recover
from kubesprint.core.errors import Refused, SprintError
from kubesprint.core.lease import Directive
from kubesprint.core.units import Seconds
from kubesprint.engine.keeper import PERIOD, NodeKeeper
from kubesprint.engine.keeper_hand import place
from kubesprint.engine.ports import Address, Report

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_OOM_SCORE = "-500"  # the kernel should end almost anything before the one that puts things back
_OURS = ("group:", "leaf:", "own:")  # groups that we made, and what is in them


def owned(address: Address) -> bool:
    """Whether an address is of our own making, and goes whatever somebody else has put there."""
    return address.name.startswith(_OURS)


class KeeperProcess:
    """One socket, one keeper, one poll loop."""

    def __init__(self, link: socket.socket, folder: Path, period: Seconds, wakeup: int) -> None:
        self._link = link
        self._folder = folder
        self._period = period
        self._clock = SystemClock()
        self._keeper: NodeKeeper | None = None
        self._hardware: SlotHardware | None = None
        self._sent: Report | None = None
        self._poll = select.poll()
        self._poll.register(link, select.POLLIN)
        self._poll.register(wakeup, select.POLLIN)

    def run(self) -> int:
        """Serve until told to end, or until nobody is left to serve. Returns the exit code."""
        try:
            while self._turn():
                pass
        finally:
            closed = self._close()
        return 1 if closed.failed else 0

    def _turn(self) -> bool:
        """Sleep until something is due, then do it. False: it is time to end."""
        ready = dict(self._poll.poll(self._patience()))
        if any(descriptor != self._link.fileno() for descriptor in ready):
            return False  # a signal
        while ready:
            message = self._receive()
            if message is None:
                break
            if isinstance(message, Close):
                return False
            self._handle(message)
        if self._keeper is not None:
            self._report(self._keeper.step())
        return True

    def _patience(self) -> int | None:
        """Milliseconds until the keeper is due, rounded up; None: it is not open yet."""
        if self._keeper is None:
            return None
        wait = self._keeper.next_deadline() - self._clock.now()
        return max(0, int(wait * 1000) + 1)

    def _receive(self) -> Message | None:
        """The next message that has arrived, if any; `Close` stands for an engine that is gone."""
        try:
            data = self._link.recv(MAX_MESSAGE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except ConnectionError:
            return Close()
        return decode(data) if data else Close()

    def _handle(self, message: Message) -> None:
        if isinstance(message, Opening) and self._keeper is None:
            self._open(message)
        elif isinstance(message, Directive) and self._keeper is not None:
            self._keeper.receive(message)
        elif isinstance(message, Tenant) and self._keeper is not None:
            self._admit(message)
        else:
            raise Refused(f"a keeper does not expect {type(message).__name__} now")

    def _open(self, opening: Opening) -> None:
        root = Path(opening.root)
        try:
            earlier = recover(self._folder, root=root)  # what was killed restores first
            if earlier.failed:
                raise Refused(f"run {earlier.run} left {'; '.join(earlier.failed)}")
            journal = open_journal(self._folder, run=opening.run, root=root)
            hardware = _slots(opening)
            clocks = _clocks(opening, hardware)
            # Clocks come first: they are back at base before the slots that paid for them.
            first = [] if clocks is None else clocks.setup_writes()
            whole = CombinedHardware([hardware] if clocks is None else [clocks, hardware])
            keeper = NodeKeeper(self._clock, whole, journal, opening.run, period=self._period, owned=owned)
            keeper.open([*first, *hardware.setup_writes()], moved=[write.address for write in first])
        except SprintError as error:
            self._send(NotOpened(message=str(error), final=isinstance(error, Refused)))
            return
        self._keeper, self._hardware = keeper, hardware
        notes = [note for note in (*hardware.notes, earlier.note) if note]
        if earlier.put_back:
            notes.append(f"put back what run {earlier.run} had left: {len(earlier.put_back)} settings")
        self._send(Ready(notes=notes, plan=hardware.plan.to_json()))

    def _admit(self, tenant: Tenant) -> None:
        assert self._keeper is not None
        assert self._hardware is not None
        self._hardware.tenant(tenant.knob, tenant.pid, tenant.start_ticks)
        writes = self._hardware.writes(tenant.knob, None)
        self._keeper.replaced([w.address for w in writes if w.address.name.startswith("affinity:")])

    def _report(self, report: Report) -> None:
        """Send a report that says something new; one that does not fit now is said by the next."""
        if report != self._sent and self._send(report):
            self._sent = report

    def _send(self, message: Message) -> bool:
        """Whether the other end can still read it. A stopped engine must not stop the keeper."""
        try:
            self._link.send(encode(message), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            return False
        return True

    def _close(self) -> Closed:
        if self._keeper is None:
            closed = Closed()
        else:
            report = self._keeper.release()
            result = self._keeper.restore()
            failed = [f"{place(address)}: {why}" for address, why in result.failed.items()]
            closed = Closed(report=report, put_back=len(result.put_back), left=result.left, failed=failed)
        self._send(closed)
        return closed


def _slots(opening: Opening) -> SlotHardware:
    return open_slots(
        PseudoFs(opening.root), opening.run, opening.slots, opening.base, opening.sprint, opening.mechanism
    )


def _clocks(opening: Opening, slots: SlotHardware) -> ClockHardware | None:
    """The clocks of the CPUs that sprints run on; None: no policy asks for them."""
    if opening.clocks is None:
        return None
    cpus = frozenset[int]().union(*(slots.sprint_cpus(knob) for knob in slots.knobs()))
    return open_clocks(PseudoFs(opening.root), *opening.clocks, cpus)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a keeper on an inherited socket. Returns 0 if everything was put back, 1 if not."""
    parser = argparse.ArgumentParser(prog="kubesprint-keeper", description="Started by kubesprint run.")
    parser.add_argument("--socket-fd", type=int, required=True)
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--lock-fd", type=int, help="kept open, so that the lock of the run is held")
    parser.add_argument("--period", type=float, default=PERIOD)
    options = parser.parse_args(arguments)
    wakeup = _wake_on_signals()
    _protect()
    with socket.socket(fileno=options.socket_fd) as link:
        process = KeeperProcess(link, options.state_dir, Seconds(options.period), wakeup)
        return process.run()


def _wake_on_signals() -> int:
    """A descriptor that becomes readable when one of `_SIGNALS` arrives."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in _SIGNALS:
        signal.signal(number, lambda *_: None)
    return reader


def _protect() -> None:
    """Make the kernel's out-of-memory killer look elsewhere first, where that is allowed."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE, encoding="ascii")


if __name__ == "__main__":
    sys.exit(main())
