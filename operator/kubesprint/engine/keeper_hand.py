"""One address at a time: record what was found, write only differences, believe only the read-back."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kubesprint.core.errors import Refused, Unavailable
from kubesprint.core.reasons import Reason
from kubesprint.core.units import Seconds
from kubesprint.engine.ports import Address, Hardware, Journal, PatientClock, Write

_POLL = Seconds(0.005)


class Unrecorded(Unavailable):
    """The journal could not take what was found: nothing was written."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one write: APPLIED, CLAMPED, REJECTED or CONFLICT."""

    reason: Reason
    detail: str = ""


APPLIED = Outcome(Reason.APPLIED)


@dataclass(slots=True)
class Memory:
    """What this keeper did with one address. Not frozen: it follows the machine."""

    asked: str | None = None  # the value last written
    seen: str | None = None  # the value last read back after a write; equal to `asked`: confirmed
    ours: set[str] = field(default_factory=set)  # every value we wrote
    foreign: str | None = None  # the value that somebody else put there


def place(address: Address) -> str:
    """An address as people read it."""
    return f"{address.knob}/{address.name}"


def read_back(clock: PatientClock, hardware: Hardware, write: Write) -> str:
    """The value after a write: as soon as it is the one written, or when the machine has had its time."""
    deadline = clock.now() + hardware.settle_seconds(write.address)
    seen = hardware.read(write.address)
    while seen != write.value and clock.now() < deadline:
        clock.wait(_POLL)
        seen = hardware.read(write.address)
    return seen


class Hand:
    """The only writer of a keeper. It never overwrites a value that somebody else put there meanwhile."""

    def __init__(self, clock: PatientClock, hardware: Hardware, journal: Journal) -> None:
        self._clock = clock
        self._hardware = hardware
        self._journal = journal
        self._memory: dict[Address, Memory] = {}
        self._conflicts: dict[str, int] = {}

    @property
    def memory(self) -> Mapping[Address, Memory]:
        """What was done so far, by address."""
        return self._memory

    @property
    def conflicts(self) -> Mapping[str, int]:
        """How often somebody else changed something of a knob, by knob."""
        return self._conflicts

    def forget(self, addresses: Iterable[Address]) -> None:
        """Believe nothing about these any more: something else now sits behind them."""
        for address in addresses:
            self._memory.pop(address, None)

    def disputed(self, writes: Sequence[Write]) -> str:
        """Which of these addresses somebody else holds (empty: none), after a look at each."""
        found = [outcome.detail for write in writes if (outcome := self._look(write.address)) is not None]
        return "; ".join(found)

    def prepare(self, writes: Sequence[Write]) -> None:
        """Record what is there now, durably, for every address that is not recorded yet.

        Raises:
            Unrecorded: the journal cannot be written.
            Unavailable: an address cannot be read now.
            Refused: an address can never be read.
        """
        known = self._journal.found()
        found = {w.address: self._hardware.read(w.address) for w in writes if w.address not in known}
        if not found:
            return
        try:
            self._journal.record(found)
        except Unavailable as error:
            raise Unrecorded(str(error)) from error

    def put(self, write: Write, *, insist: bool) -> Outcome:
        """Bring one recorded address to one value.

        Args:
            insist: write again although the machine gave something else the last time.
        """
        if (dispute := self._look(write.address)) is not None:
            return dispute
        try:
            before = self._hardware.read(write.address)
            memory = self._memory.setdefault(write.address, Memory())
            if before == write.value:
                memory.asked = memory.seen = before
                return APPLIED
            if not insist and memory.asked == write.value and memory.seen == before:
                return _mismatch(write, before)
            return self._write(write, memory, before)
        except (Refused, Unavailable) as error:
            return Outcome(Reason.REJECTED, f"{place(write.address)}: {error}")

    def _write(self, write: Write, memory: Memory, before: str) -> Outcome:
        memory.asked, memory.seen = write.value, None
        memory.ours.add(write.value)
        self._hardware.write(write)
        memory.seen = read_back(self._clock, self._hardware, write)
        if memory.seen == write.value:
            return APPLIED
        if memory.seen == before:
            return Outcome(
                Reason.REJECTED, f"{place(write.address)} still reads {before} after {write.value}"
            )
        return _mismatch(write, memory.seen)

    def _look(self, address: Address) -> Outcome | None:
        """A dispute about this address, new or old; None: it holds what we last confirmed."""
        memory = self._memory.get(address)
        if memory is None or memory.seen is None:
            return None
        try:
            now = self._hardware.read(address)
        except (Refused, Unavailable):
            return None  # the write that follows meets the same error, and reports it
        confirmed = memory.seen == memory.asked
        if confirmed and now not in (memory.foreign or memory.seen, memory.seen):
            memory.foreign = now
            self._conflicts[address.knob] = self._conflicts.get(address.knob, 0) + 1
        if memory.foreign is None:
            return None
        return Outcome(Reason.CONFLICT, f"somebody else set {place(address)} to {memory.foreign}")


def _mismatch(write: Write, seen: str) -> Outcome:
    return Outcome(Reason.CLAMPED, f"{place(write.address)} reads {seen} instead of {write.value}")
