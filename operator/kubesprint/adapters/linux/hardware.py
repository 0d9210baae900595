"""Job slots as knobs: a slot is a control group with a CPU quota or a set of CPUs, or such a set alone.

Everything that changes, also groups and controllers, is an address with a value, so that a journal of
what was found is enough to undo all of it in reverse order.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kubesprint.adapters.linux import cgroup, cgroup_v1, cgroup_v2, cpulist
from kubesprint.adapters.linux.addresses import HOST, AddressBook, Target, settle_seconds
from kubesprint.adapters.linux.plan import SlotPlan, allocation, plan_slots
from kubesprint.adapters.linux.processes import marks
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.core.allocation import Allocation
from kubesprint.core.errors import Refused
from kubesprint.engine.ports import Address, Hardware, Write

_LEAST = 0.01  # cores: the kernel's least quota is 1 ms of 100 ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """How a new process gets into a slot: what `launcher.enter` does."""

    procs: tuple[str, ...] = ()  # files that take the process' own id
    cpus: frozenset[int] | None = None
    environment: tuple[tuple[str, str], ...] = ()  # to be part of the job's environment


class SlotHardware:
    """The Hardware port for `plan.slots` slots, "slot-0" and up."""

    def __init__(self, fs: PseudoFs, plan: SlotPlan) -> None:
        self.plan = plan
        self._book = AddressBook(fs)
        self._knobs = tuple(f"slot-{index}" for index in range(plan.slots))

    @property
    def notes(self) -> Sequence[str]:
        """What the user should know about the chosen means, one sentence each."""
        return self.plan.notes

    def knobs(self) -> Sequence[str]:
        """Every slot."""
        return self._knobs

    def clamp(self, knob: str, wish: Allocation) -> tuple[Allocation, str]:
        """The nearest allocation that a slot can have here, and why it differs."""
        self._index(knob)
        cores, why = float(wish.cores), []
        least = _LEAST if self.plan.mechanism == "quota" else 1.0
        if cores > self.plan.limit:
            cores = self.plan.limit
            why.append(self.plan.why_limit)
        if cores < least:
            cores = least
            why.append(f"{self.plan.mechanism} gives {least:g} cores or more")
        if self.plan.mechanism != "quota" and not cores.is_integer():
            cores = float(int(cores))
            why.append(f"{self.plan.mechanism} moves whole cores")
        if wish.clock != 1.0:
            why.append("a slot moves cores; clocks have grants of their own")
        return allocation(cores), "; ".join(why)

    def setup_writes(self) -> Sequence[Write]:
        """What makes the slots, at base, in order. Undone by the values found, in reverse."""
        plan, writes = self.plan, list[Write]()
        if plan.leaf is not None:
            writes.append(Write(Target("leaf", plan.leaf, plan.parent).address(HOST), cgroup.PRESENT))
        if plan.version == 2:
            writes.append(Write(Target(f"give-{plan.controller}", plan.parent).address(HOST), "yes"))
        for index, knob in enumerate(self._knobs):
            for group in plan.groups(index):
                origin = plan.origin if plan.version == 2 else group.rpartition("/")[0]
                writes.append(Write(Target("group", group, origin).address(knob), cgroup.PRESENT))
            writes += self.writes(knob, None)
        return writes

    def writes(self, knob: str, allocation: Allocation | None) -> Sequence[Write]:
        """The writes that give a slot so many cores; None: the base of the plan."""
        plan, index = self.plan, self._index(knob)
        cores = plan.base if allocation is None else float(allocation.cores)
        if plan.mechanism == "affinity":
            target = Target("affinity", f"{plan.run_id}/{knob}", plan.origin)
            return [Write(target.address(knob), cpulist.spell(self._cpus(index, cores)))]
        group = plan.groups(index)[0]
        if plan.mechanism == "cpuset":
            cpus = cpulist.spell(self._cpus(index, cores))
            return [Write(Target("own", f"{group}/cpuset.cpus").address(knob), cpus)]
        version = cgroup_v1 if plan.version == 1 else cgroup_v2
        return [
            # A burst above the new quota would make the kernel refuse it: zero it first, always.
            Write(Target("own", f"{group}/{version.BURST}").address(knob), "0"),
            Write(Target("own", f"{group}/{version.QUOTA}").address(knob), version.quota_text(cores)),
        ]

    def read(self, address: Address) -> str:
        """The value now. Raises `Refused` or `Unavailable`."""
        return self._book.read(address)

    def write(self, write: Write) -> None:
        """Ask for a value. Raises `Refused` or `Unavailable`."""
        self._book.write(write.address, write.value)

    def settle_seconds(self, address: Address) -> float:
        """How long a value may take to be read back as written."""
        return settle_seconds(address)

    def join(self, knob: str) -> Sequence[str]:
        """The `cgroup.procs` files of a slot; none where CPU affinity is all there is."""
        return [f"{group}/cgroup.procs" for group in self.plan.groups(self._index(knob))]

    def entry(self, knob: str) -> Entry:
        """How a job gets into a slot, at base, and the environment for its exec."""
        index = self._index(knob)
        affinity = self.plan.mechanism == "affinity"
        return Entry(
            procs=tuple(self.join(knob)),
            cpus=self._cpus(index, self.plan.base) if affinity else None,
            environment=tuple(marks(self.plan.run_id, knob).items()),
        )

    def tenant(self, knob: str, pid: int, start_ticks: int) -> None:
        """Name the root of the tree in a slot, for a job that may hide its environment (affinity only)."""
        if self.plan.mechanism == "affinity":
            self._index(knob)
            self._book.slot(f"{self.plan.run_id}/{knob}", self.plan.origin).tenant(pid, start_ticks)

    def changed(self) -> Sequence[Address]:
        """Addresses behind which other processes stand than at the last write (affinity only).

        Call it before each step of a keeper: what it confirmed of these is no longer true.
        """
        if self.plan.mechanism != "affinity":
            return ()
        addresses = [self.writes(knob, None)[0].address for knob in self._knobs]
        return [a for a in addresses if self._book.slot(*self._slot_of(a)).changed()]

    @staticmethod
    def _slot_of(address: Address) -> tuple[str, str]:
        target = Target.of(address)
        return target.path, target.origin

    def account(self, knob: str) -> str | None:
        """The group that counts the CPU time of a slot; None: count it from /proc."""
        groups = self.plan.groups(self._index(knob))
        if self.plan.version == 1:
            return groups[-1] if self.plan.accounts else None
        return groups[0] if groups else None

    def sprint_cpus(self, knob: str) -> frozenset[int]:
        """The CPUs that a sprinting slot may run on: their clocks are its clocks."""
        index = self._index(knob)
        if self.plan.mechanism == "quota":
            return frozenset(self.plan.cpus)
        return self._cpus(index, self.plan.sprint)

    def _cpus(self, slot: int, cores: float) -> frozenset[int]:
        """The CPUs of a slot: slots start side by side, and more CPUs always include the fewer."""
        cpus, start = self.plan.cpus, slot * int(self.plan.base)
        return frozenset(cpus[(start + step) % len(cpus)] for step in range(min(int(cores), len(cpus))))

    def _index(self, knob: str) -> int:
        try:
            return self._knobs.index(knob)
        except ValueError:
            raise Refused(f"no knob '{knob}' here; there are {', '.join(self._knobs)}") from None


def open_slots(
    fs: PseudoFs, run_id: str, slots: int, base: Allocation, sprint: Allocation, mechanism: str = "auto"
) -> SlotHardware:
    """Plan slots; writes nothing. Raises `Refused`, saying what to do."""
    return SlotHardware(fs, plan_slots(fs, run_id, slots, base, sprint, mechanism))


class RestoreHardware:
    """Enough to put back what a journal holds: its addresses carry everything."""

    def __init__(self, fs: PseudoFs, addresses: Iterable[Address]) -> None:
        self._book = AddressBook(fs)
        self._knobs = tuple(dict.fromkeys(address.knob for address in addresses))

    def knobs(self) -> Sequence[str]:
        """Every knob in the journal."""
        return self._knobs

    def clamp(self, knob: str, wish: Allocation) -> tuple[Allocation, str]:
        """Nothing is granted while restoring."""
        raise Refused(f"{knob}: restoring only")

    def writes(self, knob: str, allocation: Allocation | None) -> Sequence[Write]:
        """Only the journal says what to write."""
        if allocation is not None:
            raise Refused(f"{knob}: restoring only")
        return ()

    def read(self, address: Address) -> str:
        """The value now. Raises `Refused` or `Unavailable`."""
        return self._book.read(address)

    def write(self, write: Write) -> None:
        """Put a value back. Raises `Refused` or `Unavailable`."""
        self._book.write(write.address, write.value)

    def settle_seconds(self, address: Address) -> float:
        """How long a value may take to be read back as written."""
        return settle_seconds(address)


def hardware_for_restore(fs: PseudoFs, addresses: Iterable[Address]) -> Hardware:
    """Hardware for the addresses of a journal alone."""
    return RestoreHardware(fs, addresses)
