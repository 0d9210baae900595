"""Control groups: where they are mounted, where this process is, and the life of a group of ours.

Sources: `/proc/self/mountinfo`, `/proc/self/cgroup`, `cgroups(7)`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kubesprint.adapters.linux.pseudofs import PseudoFs, translate
from kubesprint.core.errors import Refused, Unavailable

PREFIX = "kubesprint-"
ABSENT = "absent; processes return to "
PRESENT = "present"
_ROUNDS = 400
_PAUSE = 0.005  # seconds; 400 rounds of it are two seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchy:
    """One mounted hierarchy. Paths are absolute, below the root of the `PseudoFs`."""

    version: int  # 1 or 2
    point: str  # where it is mounted
    own: str  # the folder of the group that this process is in
    read_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CgroupView:
    """Which controller is where."""

    kind: str  # "v1", "v2", "hybrid", "none"
    controllers: Mapping[str, Hierarchy]  # "cpu", "cpuset", "cpuacct"
    unified: Hierarchy | None  # v2, even where it holds no controller of ours
    systemd: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where groups for jobs are made, and what that takes."""

    version: int
    controller: str
    parent: str  # the groups become its children
    origin: str  # where processes return to
    leaf: str | None = None  # a child that takes what is in `parent`, which must be empty (v2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """Whether something can be done on this machine, by whom and why."""

    possible: bool
    reason: str
    place: Place | None = None


def _mounts(fs: PseudoFs) -> Sequence[tuple[int, frozenset[str], str, str, bool]]:
    """(version, controllers, root inside the hierarchy, mount point, read-only) of each cgroup mount."""
    found = []
    for line in (fs.optional("/proc/self/mountinfo") or "").splitlines():
        left, _, right = line.partition(" - ")
        fields, tail = left.split(), right.split()
        if len(fields) < 6 or len(tail) < 3 or tail[0] not in ("cgroup", "cgroup2"):
            continue
        read_only = "ro" in fields[5].split(",") or "ro" in tail[2].split(",")
        version = 2 if tail[0] == "cgroup2" else 1
        found.append((version, frozenset(tail[2].split(",")), fields[3], fields[4], read_only))
    return found


def _memberships(fs: PseudoFs) -> Sequence[tuple[frozenset[str], str]]:
    """(controllers, path) of each line of /proc/self/cgroup; no controllers: the v2 hierarchy."""
    found = []
    for line in (fs.optional("/proc/self/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        found.append((frozenset() if number == "0" else frozenset(names.split(",")), path))
    return found


def _own(point: str, root: str, path: str) -> str:
    """The folder of the group `path` in a hierarchy whose part `root` is mounted at `point`."""
    inner = path
    if root not in ("", "/"):
        inner = path[len(root) :] if path == root or path.startswith(root + "/") else ""
    if inner.strip("/") == "" or ".." in inner.split("/"):
        return point
    return point + "/" + inner.strip("/")


def discover(fs: PseudoFs) -> CgroupView:
    """Read the mounts and this process' groups. Touches nothing."""
    memberships = _memberships(fs)
    controllers: dict[str, Hierarchy] = {}
    unified: Hierarchy | None = None
    versions: set[int] = set()
    for version, names, root, point, read_only in _mounts(fs):
        path = next((p for c, p in memberships if (c & names if version == 1 else not c)), "/")
        hierarchy = Hierarchy(version=version, point=point, own=_own(point, root, path), read_only=read_only)
        if version == 2:
            unified = unified or hierarchy
            here = frozenset((fs.optional(f"{point}/cgroup.controllers") or "").split())
        else:
            here = names
        for name in sorted(here & {"cpu", "cpuset", "cpuacct"}):
            controllers.setdefault(name, hierarchy)
            versions.add(version)
    if not controllers and unified is None:
        kind = "none"
    elif 1 in versions:
        kind = "hybrid" if unified is not None else "v1"
    else:
        kind = "v2"
    systemd = fs.kernel.isdir("/run/systemd/system")
    return CgroupView(kind=kind, controllers=controllers, unified=unified, systemd=systemd)


def processes(fs: PseudoFs, group: str) -> Sequence[int]:
    """Processes in a group; empty where the group does not exist."""
    text = fs.optional(f"{group}/cgroup.procs") or ""
    return [int(word) for word in text.split()]


def _existing(fs: PseudoFs, group: str) -> str:
    """The group, or its nearest ancestor that still exists: the shell that started us may be gone."""
    while not fs.kernel.exists(f"{group}/cgroup.procs") and group.count("/") > 1:
        group = group.rpartition("/")[0]
    return group


def move_all(fs: PseudoFs, group: str, target: str) -> None:
    """Move every process, with all its threads, until none is left. Raises `Unavailable` if one always is."""
    stuck: OSError | None = None
    for attempt in range(_ROUNDS):
        left = processes(fs, group)
        if not left:
            return
        for pid in left:
            try:
                fs.kernel.write(f"{target}/cgroup.procs", str(pid))
            except ProcessLookupError:
                continue  # it has just ended
            except OSError as error:
                stuck = error
        if stuck is not None and attempt >= 3:
            raise translate(
                stuck, f"{target}/cgroup.procs", f"cannot move the processes of {group} to"
            ) from stuck
        if attempt:
            fs.kernel.sleep(_PAUSE)
    raise Unavailable(f"{group} is never empty: processes appear as fast as they are moved to {target}")


def remove(fs: PseudoFs, group: str, origin: str) -> None:
    """Move the processes of a group and its descendants to `origin`, then remove it. Ends no process."""
    if not fs.kernel.isdir(group):
        return
    for child in fs.folders(group):
        remove(fs, f"{group}/{child}", origin)
    problem: OSError | None = None
    for _ in range(_ROUNDS):
        if processes(fs, group):
            move_all(fs, group, _existing(fs, origin))
        try:
            fs.kernel.rmdir(group)
        except FileNotFoundError:
            return
        except OSError as error:  # a process forked in between, or is still on its way out
            problem = error
            fs.kernel.sleep(_PAUSE)
        else:
            return
    assert problem is not None
    raise translate(problem, group, "cannot remove") from problem


def ours(fs: PseudoFs, view: CgroupView) -> Sequence[str]:
    """Every group named like ours, where this process could have made one. systemd's scopes do not count."""
    hierarchies = {h.point: h for h in view.controllers.values()}
    if view.unified is not None:
        hierarchies.setdefault(view.unified.point, view.unified)
    found: set[str] = set()
    for hierarchy in hierarchies.values():
        group = hierarchy.own
        while group.startswith(hierarchy.point):
            found.update(f"{group}/{n}" for n in fs.folders(group) if _is_ours(n))
            group = group.rpartition("/")[0]
    return sorted(found)


def _is_ours(name: str) -> bool:
    return name.startswith(PREFIX) and not name.endswith((".scope", ".service", ".slice"))


def check_writable(fs: PseudoFs, hierarchy: Hierarchy, group: str, controller: str) -> None:
    """Raises `Refused`, with the reason, unless groups can be made below `group`."""
    if hierarchy.read_only:
        raise Refused(f"{controller}: {hierarchy.point} is mounted read-only")
    if not fs.kernel.writable(group):
        raise Refused(f"{controller}: no right to write {group}")
