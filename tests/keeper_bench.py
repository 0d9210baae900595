"""A keeper on a machine in memory, for the keeper's tests."""

from dataclasses import dataclass, field

from kubesprint.adapters.virtual.clock import VirtualClock
from kubesprint.adapters.virtual.hardware import Faults, MemoryJournal, VirtualHardware, quota
from kubesprint.core.allocation import Allocation
from kubesprint.core.lease import Directive, Grant
from kubesprint.core.units import Cores, Seconds
from kubesprint.engine.keeper import NodeKeeper
from kubesprint.engine.ports import Report, Write

RUN = "run-1"
BASE_TEXT = "40000"
SPRINT_TEXT = "100000"
SPRINT = Allocation(Cores(1.0))


@dataclass
class Bench:
    """Two slots of 0.4 to 2 cores."""

    faults: Faults = field(default_factory=Faults)
    clock: VirtualClock = field(default_factory=VirtualClock)
    journal: MemoryJournal = field(default_factory=MemoryJournal)

    def __post_init__(self) -> None:
        self.hardware = VirtualHardware(2, base=Cores(0.4), most=Cores(2.0), faults=self.faults)
        self.before = self.hardware.snapshot()
        self.keeper = self.another_keeper()

    def another_keeper(self) -> NodeKeeper:
        """As after a restart: nothing is remembered but the journal."""
        return NodeKeeper(self.clock, self.hardware, self.journal, RUN)

    def open(self) -> "Bench":
        self.keeper.open(self.hardware.setup())
        self.hardware.written.clear()
        return self

    def text(self, knob: str = "slot0") -> str:
        """What the quota of a slot really is."""
        return self.hardware.snapshot()[quota(knob)]

    def writes_to(self, knob: str = "slot0") -> list[str]:
        return [w.value for w in self.hardware.written if w.address.knob == knob]

    def send(self, *grants: Grant, sequence: int = 1, epoch: int = 1, run: str = RUN) -> Report:
        self.keeper.receive(Directive(run=run, epoch=epoch, sequence=sequence, grants=grants))
        return self.keeper.step()


def grant(
    name: str = "g1", knob: str = "slot0", lease: float = 5.0, allocation: Allocation = SPRINT
) -> Grant:
    return Grant(grant=name, knob=knob, allocation=allocation, lease=Seconds(lease))


def journalled_first(bench: Bench) -> list[Write]:
    """Fills up with every write whose address is not in the journal when it happens."""
    early: list[Write] = []

    def check(write: Write) -> None:
        if write.address not in bench.journal.found():
            early.append(write)

    bench.faults.before_write = check
    return early
