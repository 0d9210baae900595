"""Putting back what was found: everything, in reverse order, verified."""

from collections.abc import Mapping
from dataclasses import dataclass

from kubesprint.core.errors import Gone, Refused, Unavailable
from kubesprint.core.units import Seconds
from kubesprint.engine.keeper_hand import Memory, place, read_back
from kubesprint.engine.ports import Address, Hardware, Journal, PatientClock, Write

_PASSES = 4  # a group that still holds a dying process is busy for some milliseconds
_PAUSE = Seconds(0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restoration:
    """What became of everything that the journal named."""

    put_back: tuple[Address, ...] = ()  # now as found, by a write of ours or not
    left: tuple[str, ...] = ()  # what was left alone on purpose, a sentence each
    failed: Mapping[Address, str]  # what stays in the journal, with the reason

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return not self.failed


def put_back(
    clock: PatientClock,
    hardware: Hardware,
    journal: Journal,
    *,
    memory: Mapping[Address, Memory] | None = None,
) -> Restoration:
    """Bring everything in the journal to what was found, newest first, and verify it.

    The journal is cleared only if all of it was verified. What somebody else changed while it was
    held (known only with `memory`) is left as it is.
    """
    done: list[Address] = []
    pending = list(journal.found().items())[::-1]
    # Judged before anything is put back: one step may move another's value (boost moves limits).
    foreign = {
        a: note for a, found in pending if (note := _foreign(hardware, a, found, (memory or {}).get(a)))
    }
    pending = [(address, found) for address, found in pending if address not in foreign]
    failed: dict[Address, str] = {}
    for attempt in range(_PASSES):
        if attempt and pending:
            clock.wait(_PAUSE)
        failed = {}
        for address, found in pending:
            try:
                if problem := _restore(clock, hardware, Write(address, found)):
                    failed[address] = problem
                else:
                    done.append(address)
            except (Refused, Unavailable) as error:
                failed[address] = str(error)
        pending = [(address, found) for address, found in pending if address in failed]
    if not failed:
        journal.clear()
    return Restoration(put_back=tuple(done), left=tuple(foreign.values()), failed=failed)


def _restore(clock: PatientClock, hardware: Hardware, write: Write) -> str:
    """Empty if the address is as found, or no longer there; else what it reads instead."""
    try:
        if hardware.read(write.address) == write.value:
            return ""
    except Gone:
        return ""
    hardware.write(write)
    seen = read_back(clock, hardware, write)
    return "" if seen == write.value else f"reads {seen} instead of {write.value}"


def _foreign(hardware: Hardware, address: Address, found: str, memory: Memory | None) -> str:
    """A sentence if somebody else holds this address now; empty if what it holds is ours, or as found."""
    if memory is None or memory.seen is None:
        return ""
    try:
        now = hardware.read(address)
    except (Refused, Unavailable):
        return ""  # the restore meets the same error, and reports it
    expected = memory.ours | {found, memory.seen}
    if now in expected:
        return ""
    return f"{place(address)} was set to {now} by somebody else and is left so (found: {found})"
