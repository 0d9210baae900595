"""What every machine must do for `SlotHardware`: run on kernels in memory and on real ones.

Plain functions and assertions, no test framework, so that a guest without one can run them too:
`for check in CHECKS: check(machine, mechanism)`.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from kubesprint.adapters.linux.hardware import Entry, SlotHardware, hardware_for_restore, open_slots
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.core.allocation import Allocation
from kubesprint.core.errors import Refused, SprintError
from kubesprint.core.units import Cores
from kubesprint.engine.ports import Address, Hardware, Write

RUN = "contract"


class Machine(Protocol):
    """A kernel, and processes on it."""

    fs: PseudoFs

    def state(self) -> Mapping[str, str]:
        """Everything that a restore must bring back."""
        ...

    def start(self, entry: Entry) -> int:
        """A process that enters a slot before it does anything; its pid."""
        ...

    def where(self, pid: int) -> str:
        """The groups and CPUs of a living process; raises if it has ended."""
        ...

    def stop(self, pid: int) -> None:
        """End a process and wait for it."""
        ...


def speeds(mechanism: str) -> tuple[Allocation, Allocation]:
    """Base and sprint that every machine with two CPUs can give."""
    base, sprint = (0.4, 1.0) if mechanism == "quota" else (1.0, 2.0)
    return Allocation(Cores(base)), Allocation(Cores(sprint))


def opened(machine: Machine, mechanism: str) -> SlotHardware:
    """Two slots, planned."""
    return open_slots(machine.fs, RUN, 2, *speeds(mechanism), mechanism)


class Journalled:
    """Writes as the keeper does: what was found first, then the value, then a look."""

    def __init__(self, hardware: Hardware) -> None:
        self.hardware = hardware
        self.found: dict[Address, str] = {}

    def put(self, write: Write) -> None:
        """One write, read back."""
        self.found.setdefault(write.address, self.hardware.read(write.address))
        if self.hardware.read(write.address) != write.value:
            self.hardware.write(write)
        seen = self.hardware.read(write.address)
        assert seen == write.value, f"{write.address.name}: wrote {write.value}, reads {seen}"

    def sprint_all(self, hardware: SlotHardware, allocation: Allocation) -> None:
        """Every slot."""
        for knob in hardware.knobs():
            for write in hardware.writes(knob, allocation):
                self.put(write)


def restore(machine: Machine, found: Mapping[Address, str]) -> None:
    """Put back what was found, newest first, by hardware that knows nothing but the journal; verify it."""
    hardware = hardware_for_restore(machine.fs, found)
    for address, value in reversed(found.items()):
        if hardware.read(address) != value:
            hardware.write(Write(address, value))
        assert hardware.read(address) == value
    for address, value in found.items():
        assert hardware.read(address) == value, f"{address.name} reads {hardware.read(address)}, not {value}"


def planning_writes_nothing(machine: Machine, mechanism: str) -> None:
    """Only `write` changes a machine."""
    before = machine.state()
    hardware = opened(machine, mechanism)
    hardware.setup_writes()
    for knob in hardware.knobs():
        hardware.writes(knob, None)
        hardware.entry(knob)
    assert machine.state() == before


def written_values_read_back(machine: Machine, mechanism: str) -> None:
    """Set-up, sprint, base: each value is there right after its write, and a restore takes all of it away."""
    before, hardware = machine.state(), opened(machine, mechanism)
    journal = Journalled(hardware)
    for write in hardware.setup_writes():
        journal.put(write)
    journal.sprint_all(hardware, speeds(mechanism)[1])
    journal.sprint_all(hardware, speeds(mechanism)[0])
    restore(machine, journal.found)
    assert machine.state() == before


def a_restore_works_from_every_point_of_the_set_up(machine: Machine, mechanism: str) -> None:
    """A keeper killed after n writes leaves nothing, whatever n; the last record may lack its write."""
    before = machine.state()
    for length in range(len(opened(machine, mechanism).setup_writes()) + 1):
        hardware = opened(machine, mechanism)
        journal, writes = Journalled(hardware), hardware.setup_writes()
        for write in writes[:length]:
            journal.put(write)
        for write in writes[length : length + 1]:  # recorded, not yet written
            journal.found.setdefault(write.address, hardware.read(write.address))
        restore(machine, journal.found)
        restore(machine, journal.found)
        assert machine.state() == before, f"after {length} writes"


def survivors_return_and_live(machine: Machine, mechanism: str) -> None:
    """Jobs whose keeper was killed go on, where they would be without us."""
    hardware = opened(machine, mechanism)
    before = machine.state()
    outside = machine.start(Entry())
    place = machine.where(outside)
    journal = Journalled(hardware)
    for write in hardware.setup_writes():
        journal.put(write)
    jobs = [machine.start(hardware.entry(knob)) for knob in hardware.knobs()]
    try:
        for job, knob in zip(jobs, hardware.knobs(), strict=True):
            assert machine.where(job) != place, f"{knob} changes nothing for its job"
        journal.sprint_all(hardware, speeds(mechanism)[1])
        restore(machine, journal.found)
        assert [machine.where(job) for job in jobs] == [place, place]
    finally:
        for job in [*jobs, outside]:
            machine.stop(job)
    assert machine.state() == before


def a_foreign_burst_does_not_block_the_return(machine: Machine, mechanism: str) -> None:
    """A burst above the new quota makes the kernel refuse the quota: the return to base zeroes it first."""
    if mechanism != "quota":
        return
    hardware = opened(machine, mechanism)
    journal = Journalled(hardware)
    for write in hardware.setup_writes():
        journal.put(write)
    journal.sprint_all(hardware, speeds(mechanism)[1])
    burst, _ = hardware.writes("slot-0", None)
    hardware.write(Write(burst.address, "90000"))
    for write in hardware.writes("slot-0", None):
        journal.put(write)
    restore(machine, journal.found)


def a_refused_write_says_so(machine: Machine, mechanism: str) -> None:
    """What the kernel does not take is an error that names the file, and changes nothing."""
    hardware = opened(machine, mechanism)
    journal = Journalled(hardware)
    for write in hardware.setup_writes():
        journal.put(write)
    address = hardware.writes("slot-0", None)[-1].address
    before = hardware.read(address)
    said = ""
    try:
        hardware.write(Write(address, "banana"))
    except Refused as error:
        said = str(error)
    after = hardware.read(address)
    restore(machine, journal.found)
    assert "banana" in said
    assert after == before


def wishes_are_clamped_to_the_machine(machine: Machine, mechanism: str) -> None:
    """Nothing beyond the machine is ever written, and the reason is given."""
    hardware = opened(machine, mechanism)
    limit = hardware.plan.limit
    given, why = hardware.clamp("slot-0", Allocation(Cores(limit + 7)))
    assert given.cores == limit
    assert why
    assert hardware.clamp("slot-0", Allocation(Cores(1.0))) == (Allocation(Cores(1.0)), "")


CHECKS: tuple[Callable[[Machine, str], None], ...] = (
    planning_writes_nothing,
    written_values_read_back,
    a_restore_works_from_every_point_of_the_set_up,
    survivors_return_and_live,
    a_foreign_burst_does_not_block_the_return,
    a_refused_write_says_so,
    wishes_are_clamped_to_the_machine,
)


def unavailable(machine: Machine, mechanism: str) -> str:
    """Why this machine cannot show a mechanism; empty: it can."""
    try:
        opened(machine, mechanism)
    except SprintError as error:
        return str(error)
    return ""
