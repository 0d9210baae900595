"""Control groups, version 2: one hierarchy, controllers enabled downwards by each parent.

Files: `cgroup.controllers`, `cgroup.subtree_control`, `cpu.max`, `cpu.max.burst`, `cpuset.cpus`.
A group that hands controllers to its children must hold no process itself, except the true root: with a
process inside, cpu and cpuset are still accepted, but the children then refuse processes (EOPNOTSUPP).
"""

from kubesprint.adapters.linux.cgroup import PREFIX, CgroupView, Hierarchy, Place, check_writable
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.core.errors import Refused

PERIOD = 100_000  # microseconds
QUOTA = "cpu.max"
BURST = "cpu.max.burst"


def place(fs: PseudoFs, view: CgroupView, controller: str, run_id: str) -> Place:
    """Where slots can be made for this process. Raises `Refused` with the reason and the remedy."""
    hierarchy = view.unified
    if hierarchy is None:
        raise Refused(f"{controller}: no cgroup v2 is mounted")
    own = hierarchy.own
    if view.systemd and not _is_delegated(fs, own) and (why := _undelegated(fs, hierarchy, controller)):
        raise Refused(f"{controller}: {why}")
    check_writable(fs, hierarchy, own, controller)
    if view.systemd and not _handed_over(fs, own):
        raise Refused(f"{controller}: systemd manages {own}; start inside a delegated scope")
    if not _has(fs, own, controller):
        raise Refused(
            f"{controller}: the parent of {own} does not hand this controller down (subtree_control)"
        )
    if true_root(fs, own):
        return Place(version=2, controller=controller, parent=own, origin=own)
    leaf = f"{own}/{PREFIX}{run_id}-rest"
    return Place(version=2, controller=controller, parent=own, origin=leaf, leaf=leaf)


def true_root(fs: PseudoFs, group: str) -> bool:
    """Only the root of the whole hierarchy has no `cgroup.type`."""
    return not fs.kernel.exists(f"{group}/cgroup.type")


def _has(fs: PseudoFs, group: str, controller: str) -> bool:
    return controller in (fs.optional(f"{group}/cgroup.controllers") or "").split()


def _undelegated(fs: PseudoFs, hierarchy: Hierarchy, controller: str) -> str:
    """Why an ordinary user cannot have a controller under systemd, and who can change that; empty: can."""
    if fs.kernel.uid() == 0 or controller in user_controllers(fs, hierarchy):
        return ""
    return (
        "systemd does not delegate it to your user manager (or that does not run); as root: systemctl edit "
        "user@.service, with [Service] Delegate=cpu cpuset memory pids, then log in again"
    )


def _is_delegated(fs: PseudoFs, group: str) -> bool:
    """Has systemd handed a group over? A scope of our name, or systemd's mark."""
    name = group.rpartition("/")[2]
    return (name.startswith(PREFIX) and name.endswith(".scope")) or fs.kernel.delegated(group)


def _handed_over(fs: PseudoFs, group: str) -> bool:
    """Is a group under systemd ours to divide? Handed over, or an ordinary user's right."""
    if _is_delegated(fs, group):
        return True
    return fs.kernel.uid() != 0 and fs.kernel.writable(f"{group}/cgroup.subtree_control")


def delegation_prefix(fs: PseudoFs, view: CgroupView, unit: str) -> tuple[str, ...] | None:
    """What to put before the command line so that it starts in a scope of its own; None: nothing helps.

    `unit` is a name of the caller, unique on the machine, without suffix.
    """
    hierarchy = view.unified
    if not view.systemd or hierarchy is None or "cpu" not in view.controllers:
        return None
    if view.controllers["cpu"].version != 2:
        return None
    if _is_delegated(fs, hierarchy.own) and _has(fs, hierarchy.own, "cpu"):
        return None
    common = ("--scope", "--quiet", "--collect", "--property=Delegate=yes", f"--unit={PREFIX}{unit}", "--")
    if fs.kernel.uid() == 0:
        return ("systemd-run", *common)
    return ("systemd-run", "--user", *common) if "cpu" in user_controllers(fs, hierarchy) else None


def user_controllers(fs: PseudoFs, hierarchy: Hierarchy) -> tuple[str, ...]:
    """The controllers that systemd has delegated to this user's own manager."""
    uid = fs.kernel.uid()
    group = f"{hierarchy.point}/user.slice/user-{uid}.slice/user@{uid}.service"
    return tuple((fs.optional(f"{group}/cgroup.controllers") or "").split())


def quota_text(cores: float) -> str:
    """`cpu.max` for so many cores."""
    return f"{max(1000, round(cores * PERIOD))} {PERIOD}"


def quota_cores(text: str) -> float | None:
    """Cores that a `cpu.max` allows; None: no limit."""
    quota, _, period = text.partition(" ")
    return None if quota == "max" else int(quota) / int(period)


def ancestor_limit(fs: PseudoFs, group: str) -> float | None:
    """The least quota, in cores, of a group and its ancestors; None: none has one."""
    limits: list[float] = []
    while group.count("/") > 1:
        text = fs.optional(f"{group}/{QUOTA}")
        limit = quota_cores(text) if text else None
        limits += [] if limit is None else [limit]
        group = group.rpartition("/")[0]
    return min(limits, default=None)


def given(fs: PseudoFs, group: str, controller: str) -> str:
    """Does a group hand a controller to its children? "yes" or "no"."""
    return "yes" if controller in fs.read(f"{group}/cgroup.subtree_control").split() else "no"


def give(fs: PseudoFs, group: str, controller: str, answer: str) -> None:
    """Make `given` read `answer`; other controllers are left alone."""
    if answer not in ("yes", "no"):
        raise Refused(f"{group} hands {controller} down: 'yes' or 'no', not '{answer}'")
    if given(fs, group, controller) != answer:
        fs.write(f"{group}/cgroup.subtree_control", ("+" if answer == "yes" else "-") + controller)
