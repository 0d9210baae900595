"""By what means jobs can be given less or more CPU on this machine. Only plans: writes nothing."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from kubesprint.adapters.linux import cgroup, cgroup_v1, cgroup_v2, cpulist
from kubesprint.adapters.linux.cgroup import Capability, CgroupView, Place
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.core.allocation import Allocation
from kubesprint.core.errors import Refused
from kubesprint.core.units import Cores

MECHANISMS = ("quota", "cpuset", "affinity")
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_HOW = (
    "run as root with /sys/fs/cgroup writable, or start inside a control group that is delegated to you "
    "(systemd: kubesprint run starts itself in one where it can; by hand: systemd-run --user --scope "
    "-p Delegate=yes, as root without --user), or ask for whole cores"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotPlan:
    """How slots are made here. Plain values, so that one process plans and another carries it out."""

    run_id: str
    slots: int
    base: float  # cores
    sprint: float  # cores
    mechanism: str  # one of MECHANISMS
    version: int  # of the control groups; 0: none
    parent: str
    origin: str
    leaf: str | None
    controller: str  # what the groups need; a v2 parent must hand it down
    accounts: tuple[str, ...]  # further parents whose groups only count CPU time (v1)
    cpus: tuple[int, ...]
    limit: float  # cores that a slot can have at most
    why_limit: str
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "SlotPlan":
        """The plan that `to_json` wrote."""
        values = json.loads(text)
        return SlotPlan(**values | {key: tuple(values[key]) for key in ("accounts", "cpus", "notes")})

    def groups(self, slot: int) -> Sequence[str]:
        """The control groups of a slot: the one that limits, then those that only count."""
        if self.version == 0:
            return ()
        return [
            f"{parent}/{cgroup.PREFIX}{self.run_id}-slot-{slot}" for parent in (self.parent, *self.accounts)
        ]


def capability(fs: PseudoFs, view: CgroupView, mechanism: str, run_id: str = "run") -> Capability:
    """Can this process use a mechanism, and why (not)?"""
    if mechanism == "affinity":
        return Capability(possible=True, reason="sched_setaffinity needs no right for one's own processes")
    controller = "cpu" if mechanism == "quota" else "cpuset"
    try:
        at = _place(fs, view, controller, run_id)
    except Refused as refusal:
        return Capability(possible=False, reason=str(refusal))
    return Capability(possible=True, reason=f"cgroup v{at.version}, groups are made in {at.parent}", place=at)


def _place(fs: PseudoFs, view: CgroupView, controller: str, run_id: str) -> Place:
    hierarchy = view.controllers.get(controller)
    if hierarchy is not None and hierarchy.version == 1:
        return cgroup_v1.place(fs, view, controller)
    return cgroup_v2.place(fs, view, controller, run_id)


def _whole(*allocations: Allocation) -> bool:
    return all(float(a.cores).is_integer() for a in allocations)


def _choose(
    fs: PseudoFs, view: CgroupView, run_id: str, whole: bool
) -> tuple[str, Capability, tuple[str, ...]]:
    """The best mechanism that works here, and what to tell the user about it."""
    quota = capability(fs, view, "quota", run_id)
    if quota.possible:
        return "quota", quota, ()
    if not whole:
        raise Refused(
            f"a share of a core needs the right to set CPU quotas: {quota.reason}. To get it: {_HOW}"
        )
    cpuset = capability(fs, view, "cpuset", run_id)
    name = "cpuset" if cpuset.possible else "affinity"
    note = f"no CPU quota here ({quota.reason}): whole cores by {name}"
    return name, cpuset if cpuset.possible else capability(fs, view, "affinity"), (note,)


def _limit(fs: PseudoFs, mechanism: str, at: Place | None, cpus: int) -> tuple[float, str]:
    """Cores that a slot can have, and what says so."""
    why = f"this process may use {cpus} CPUs"
    if at is None or mechanism != "quota":
        return float(cpus), why
    version = cgroup_v1 if at.version == 1 else cgroup_v2
    above = version.ancestor_limit(fs, at.parent)
    return (
        (float(cpus), why)
        if above is None or above >= cpus
        else (above, f"{at.parent} is limited to {above:g}")
    )


def plan_slots(
    fs: PseudoFs, run_id: str, slots: int, base: Allocation, sprint: Allocation, mechanism: str = "auto"
) -> SlotPlan:
    """Decide how to make `slots` slots. Raises `Refused`, saying what to do, where it cannot be done."""
    if not _RUN_ID.fullmatch(run_id):
        raise Refused(f"run id '{run_id}': only letters, digits, '_', '.' and '-' (64 at most)")
    if slots < 1:
        raise Refused(f"slots: {slots}; at least 1 is needed")
    view = cgroup.discover(fs)
    whole = _whole(base, sprint)
    notes: tuple[str, ...] = ()
    if mechanism == "auto":
        mechanism, able, notes = _choose(fs, view, run_id, whole)
    elif mechanism in MECHANISMS:
        able = capability(fs, view, mechanism, run_id)
        if not able.possible:
            raise Refused(f"mechanism {mechanism}: {able.reason}. To get it: {_HOW}")
        if mechanism != "quota" and not whole:
            raise Refused(f"mechanism {mechanism} moves whole cores, not {base.cores:g} and {sprint.cores:g}")
    else:
        raise Refused(f"mechanism '{mechanism}': one of auto, {', '.join(MECHANISMS)}")
    return _plan(fs, view, run_id, slots, (base, sprint), mechanism, able.place, notes)


def _plan(
    fs: PseudoFs,
    view: CgroupView,
    run_id: str,
    slots: int,
    speeds: tuple[Allocation, Allocation],
    mechanism: str,
    at: Place | None,
    notes: tuple[str, ...],
) -> SlotPlan:
    cpus = tuple(sorted(fs.kernel.affinity(0)))
    limit, why = _limit(fs, mechanism, at, len(cpus))
    base, sprint = (min(float(speed.cores), limit) for speed in speeds)
    if sprint < speeds[1].cores:
        notes += (f"sprint: {speeds[1].cores:g} cores are asked for, {sprint:g} given: {why}",)
    if base < speeds[0].cores:
        notes += (f"base: {speeds[0].cores:g} cores are asked for, {base:g} given: {why}",)
    if sprint <= base < speeds[1].cores and speeds[1].cores > speeds[0].cores:
        raise Refused(f"no room to sprint: {why}, and base is {base:g} cores. Lower base below {limit:g}")
    accounts = cgroup_v1.accounting(fs, view, at.parent) if at is not None and at.version == 1 else ()
    return SlotPlan(
        run_id=run_id,
        slots=slots,
        base=base,
        sprint=sprint,
        mechanism=mechanism,
        version=0 if at is None else at.version,
        parent="" if at is None else at.parent,
        origin=cpulist.spell(cpus) if at is None else at.origin,
        leaf=None if at is None else at.leaf,
        controller="" if at is None else at.controller,
        accounts=tuple(place.parent for place in accounts),
        cpus=cpus,
        limit=limit,
        why_limit=why,
        notes=notes,
    )


def allocation(cores: float) -> Allocation:
    """So many cores at the base clock."""
    return Allocation(Cores(cores))
