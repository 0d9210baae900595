"""A machine in memory, with a kernel that can be told to misbehave.

Each slot (`slot0`, `slot1`, ...) is a group with a quota of CPU time, made by the set-up and gone
after a restore, as on a real machine: while the group is absent its quota can be neither read nor written.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kubesprint.core.allocation import Allocation
from kubesprint.core.errors import Gone, Refused, Unavailable
from kubesprint.core.units import Cores
from kubesprint.engine.ports import Address, Write

ABSENT = "absent"
PRESENT = "present"
NO_QUOTA = "-1"
_PERIOD = 100_000  # microseconds, the kernel's default


def group(knob: str) -> Address:
    """The address of a slot's group."""
    return Address(knob, "group")


def quota(knob: str) -> Address:
    """The address of a slot's quota, in microseconds per 100 ms."""
    return Address(knob, "quota")


def quota_text(cores: float) -> str:
    """A quota as this machine spells it."""
    return str(round(cores * _PERIOD))


@dataclass(slots=True)
class Faults:
    """What goes wrong. All off by default."""

    refuse_writes: frozenset[int] = frozenset()  # these writes (counted from 1) fail for ever
    busy_writes: frozenset[int] = frozenset()  # these fail for now
    ignored_writes: frozenset[int] = frozenset()  # these are accepted and do nothing
    settle_seconds: float = 0.05  # what the machine says of itself
    lag_reads: int = 0  # after a write, so many reads still show the old value
    ceiling: Cores | None = None  # the kernel silently gives no more than this
    before_write: Callable[[Write], None] | None = None  # sees every write before it happens


class VirtualHardware:
    """`slots` knobs between a base and a most, in cores; values change only by writes and by `meddle`."""

    def __init__(self, slots: int, *, base: Cores, most: Cores, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.base = base
        self.most = most
        self.written: list[Write] = []
        self._knobs = tuple(f"slot{index}" for index in range(slots))
        self._values: dict[Address, str] = {group(knob): ABSENT for knob in self._knobs}
        self._stale: dict[Address, tuple[str, int]] = {}  # what reads still show, and for how many reads
        self._writes = 0

    def setup(self) -> Sequence[Write]:
        """What a run needs: a group for every slot."""
        return [Write(group(knob), PRESENT) for knob in self._knobs]

    def snapshot(self) -> dict[Address, str]:
        """Every value there is now."""
        return dict(self._values)

    def meddle(self, address: Address, value: str) -> None:
        """Somebody else writes."""
        self._values[address] = value
        self._stale.pop(address, None)

    def knobs(self) -> Sequence[str]:
        """`slot0` and so on."""
        return self._knobs

    def clamp(self, knob: str, wish: Allocation) -> tuple[Allocation, str]:
        """At most `most` cores, at the base clock."""
        given = Allocation(min(wish.cores, self.most))
        if given == wish:
            return given, ""
        return given, f"{knob} gives at most {self.most} cores at the base clock"

    def writes(self, knob: str, allocation: Allocation | None) -> Sequence[Write]:
        """One quota."""
        cores = self.base if allocation is None else allocation.cores
        return [Write(quota(knob), quota_text(cores))]

    def read(self, address: Address) -> str:
        """The value, or for a while after a write the one before it."""
        if address not in self._values:
            raise Gone(f"{address.knob} has no {address.name}")
        value, reads = self._stale.get(address, ("", 0))
        if reads == 0:
            return self._values[address]
        self._stale[address] = (value, reads - 1)
        return value

    def settle_seconds(self, address: Address) -> float:
        """As told."""
        return self.faults.settle_seconds

    def write(self, write: Write) -> None:
        """Store the value, unless told otherwise."""
        self._writes += 1
        if self.faults.before_write is not None:
            self.faults.before_write(write)
        if self._writes in self.faults.refuse_writes:
            raise Refused(f"write {self._writes} is refused")
        if self._writes in self.faults.busy_writes:
            raise Unavailable(f"write {self._writes} is not possible now")
        if write.address not in self._values:
            raise Gone(f"{write.address.knob} has no {write.address.name}")
        self.written.append(write)
        if self._writes not in self.faults.ignored_writes:
            self._store(write)

    def _store(self, write: Write) -> None:
        address, value = write.address, write.value
        if address.name == "group":
            self._make(address.knob, value)
        elif self.faults.ceiling is not None and int(value) > self.faults.ceiling * _PERIOD:
            value = quota_text(self.faults.ceiling)
        if self.faults.lag_reads:
            self._stale[address] = (self._values[address], self.faults.lag_reads)
        self._values[address] = value

    def _make(self, knob: str, value: str) -> None:
        if value == PRESENT:
            self._values.setdefault(quota(knob), NO_QUOTA)
        else:
            self._values.pop(quota(knob), None)


class MemoryJournal:
    """A journal that survives the keeper, not the process; it can be made unwritable."""

    def __init__(self) -> None:
        self.full = False
        self._found: dict[Address, str] = {}

    def record(self, found: Mapping[Address, str]) -> None:
        """Add what is not there yet."""
        self.probe()
        for address, value in found.items():
            self._found.setdefault(address, value)

    def probe(self) -> None:
        """Raises if told so."""
        if self.full:
            raise Unavailable("no space left in the journal")

    def found(self) -> dict[Address, str]:
        """A copy."""
        return dict(self._found)

    def clear(self) -> None:
        """Forget everything."""
        self._found.clear()
