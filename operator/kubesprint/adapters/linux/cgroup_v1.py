"""Control groups, version 1: one hierarchy a controller.

Files: `cpu.cfs_quota_us`, `cpu.cfs_period_us` (100 ms in a new group), `cpu.cfs_burst_us`, `cpuset.cpus`,
`cpuset.mems`, `cpuacct.usage`.
"""

from collections.abc import Sequence

from kubesprint.adapters.linux.cgroup import CgroupView, Place, check_writable
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.core.errors import Refused

PERIOD = 100_000  # microseconds
QUOTA = "cpu.cfs_quota_us"
BURST = "cpu.cfs_burst_us"


def place(fs: PseudoFs, view: CgroupView, controller: str) -> Place:
    """Groups become children of the group that this process is in. Raises `Refused` with the reason."""
    hierarchy = view.controllers.get(controller)
    if hierarchy is None or hierarchy.version != 1:
        raise Refused(f"{controller}: no cgroup v1 hierarchy holds it")
    check_writable(fs, hierarchy, hierarchy.own, controller)
    return Place(version=1, controller=controller, parent=hierarchy.own, origin=hierarchy.own)


def quota_text(cores: float) -> str:
    """`cpu.cfs_quota_us` for so many cores."""
    return str(max(1000, round(cores * PERIOD)))


def quota_cores(quota: str, period: str) -> float | None:
    """Cores that a quota allows; None: no limit."""
    return None if int(quota) < 0 else int(quota) / int(period)


def ancestor_limit(fs: PseudoFs, group: str) -> float | None:
    """The least quota, in cores, of a group and its ancestors; None: none has one."""
    limits: list[float] = []
    while group.count("/") > 1:
        quota, period = fs.optional(f"{group}/{QUOTA}"), fs.optional(f"{group}/cpu.cfs_period_us")
        limit = quota_cores(quota, period) if quota and period else None
        limits += [] if limit is None else [limit]
        group = group.rpartition("/")[0]
    return min(limits, default=None)


def accounting(fs: PseudoFs, view: CgroupView, parent: str) -> Sequence[Place]:
    """The hierarchy that counts CPU time, where it is mounted apart from `parent` and writable."""
    hierarchy = view.controllers.get("cpuacct")
    if hierarchy is None or hierarchy.own == parent:
        return ()
    try:
        return (place(fs, view, "cpuacct"),)
    except Refused:
        return ()  # CPU time is then counted from /proc
