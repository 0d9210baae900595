"""The kernel's rules of control groups, for a `ScriptedFs`.

Of v1: quotas, bursts, CPU sets that take no process while they are empty. Of v2: controllers handed
downwards, no process beside children that have them. The contract tests of the hardware run on this and
on real kernels.
"""

import errno
import re

from kubesprint.adapters.virtual.scripted_fs import SELF, File, ScriptedFs, fail

V2 = "/sys/fs/cgroup"
_LEAST, _MOST = 1000, 1_000_000  # microseconds


class _Hierarchy:
    """One mount point: which process is where, and what a folder holds."""

    def __init__(self, fs: ScriptedFs, point: str) -> None:
        self.fs, self.point = fs, point
        fs.makers[point] = self.make
        fs.removers[point] = self.check_empty
        fs.dirs.add(point)
        for process in fs.processes.values():
            process.groups[point] = point
        self.make(point)

    def make(self, group: str) -> None:
        """What every group has."""
        self.add(group, "cgroup.procs", "", lambda text: self.attach(group, text))
        self.fs.files[f"{group}/cgroup.procs"].show = lambda: "".join(
            f"{pid}\n" for pid in self.inside(group)
        )

    def add(self, group: str, name: str, text: str, store: object = None) -> None:
        self.fs.put(f"{group}/{name}", text, store)  # type: ignore[arg-type]

    def inside(self, group: str) -> list[int]:
        return [pid for pid, process in self.fs.processes.items() if process.groups.get(self.point) == group]

    def attach(self, group: str, text: str) -> None:
        process = self.fs.processes.get(int(text) or SELF)
        if process is None:
            raise ProcessLookupError(errno.ESRCH, "No such process", group)
        self.admit(group)
        process.groups[self.point] = group

    def admit(self, group: str) -> None:
        """Raises where a group takes no process."""

    def check_empty(self, group: str) -> None:
        if self.inside(group):
            raise fail(errno.EBUSY, group)

    def file(self, group: str, name: str) -> File:
        return self.fs.files[f"{group}/{name}"]


class _CpuV1(_Hierarchy):
    """cpu."""

    def make(self, group: str) -> None:
        super().make(group)
        self.add(group, "cpu.cfs_period_us", "100000\n")
        self.add(group, "cpu.cfs_quota_us", "-1\n", lambda text: self.quota(group, text))
        self.add(group, "cpu.cfs_burst_us", "0\n", lambda text: self.burst(group, text))

    def number(self, group: str, name: str) -> int:
        return int(self.file(group, name).text)

    def quota(self, group: str, text: str) -> None:
        if not re.fullmatch(r"-?\d+", text) or group == self.point:
            raise fail(errno.EINVAL, group)
        quota, above = int(text), group.rpartition("/")[0]
        limit = self.number(above, "cpu.cfs_quota_us") if above != self.point else -1
        if 0 <= quota < max(_LEAST, self.number(group, "cpu.cfs_burst_us")) or (0 <= limit < quota):
            raise fail(errno.EINVAL, group)
        self.file(group, "cpu.cfs_quota_us").text = f"{max(quota, -1)}\n"

    def burst(self, group: str, text: str) -> None:
        if int(text) > self.number(group, "cpu.cfs_quota_us") and int(text) > 0:
            raise fail(errno.EINVAL, group)
        self.file(group, "cpu.cfs_burst_us").text = f"{int(text)}\n"


class _CpusetV1(_Hierarchy):
    """cpuset."""

    def make(self, group: str) -> None:
        super().make(group)
        top = group == self.point
        everything = f"0-{max(self.fs.cpus)}\n"
        self.add(group, "cpuset.cpus", everything if top else "\n", lambda text: self.choose(group, text))
        self.add(group, "cpuset.mems", "0\n" if top else "\n", lambda text: self.nodes(group, text))
        self.add(group, "cpuset.effective_cpus", everything)

    def choose(self, group: str, text: str) -> None:
        if not text and self.inside(group):
            raise fail(errno.ENOSPC, group)
        if not re.fullmatch(r"[\d,-]*", text):
            raise fail(errno.EINVAL, group)
        self.file(group, "cpuset.cpus").text = f"{text}\n"

    def nodes(self, group: str, text: str) -> None:
        self.file(group, "cpuset.mems").text = f"{text}\n"

    def admit(self, group: str) -> None:
        if any(self.file(group, name).text == "\n" for name in ("cpuset.cpus", "cpuset.mems")):
            raise fail(errno.ENOSPC, group)


class _Accounts(_Hierarchy):
    """cpuacct."""

    def make(self, group: str) -> None:
        super().make(group)
        self.add(group, "cpuacct.usage", "0\n")


class _Unified(_Hierarchy):
    """Version 2."""

    def make(self, group: str) -> None:
        super().make(group)
        top, above = group == self.point, group.rpartition("/")[0]
        here = "cpuset cpu io" if top else self.file(above, "cgroup.subtree_control").text.strip()
        self.add(group, "cgroup.controllers", f"{here}\n")
        self.add(group, "cgroup.subtree_control", "\n", lambda text: self.hand_down(group, text))
        self.add(group, "cpu.stat", "usage_usec 0\nuser_usec 0\nsystem_usec 0\n")
        if top:
            self.add(group, "cpuset.cpus.effective", f"0-{max(self.fs.cpus)}\n")
        else:
            self.add(group, "cgroup.type", "domain\n")
            self.offer(group, here.split())

    def offer(self, group: str, controllers: list[str]) -> None:
        """The files of a controller come and go with it."""
        self.file(group, "cgroup.controllers").text = " ".join(controllers) + "\n"
        files = {
            "cpu": {"cpu.max": "max 100000\n", "cpu.max.burst": "0\n"},
            "cpuset": {"cpuset.cpus": "\n", "cpuset.cpus.effective": f"0-{max(self.fs.cpus)}\n"},
        }
        for controller, names in files.items():
            for name, text in names.items():
                if controller not in controllers:
                    self.fs.files.pop(f"{group}/{name}", None)
                elif f"{group}/{name}" not in self.fs.files:
                    self.add(group, name, text, lambda value, name=name: self.set(group, name, value))

    def hand_down(self, group: str, text: str) -> None:
        given = self.file(group, "cgroup.subtree_control").text.split()
        children = [d for d in self.fs.dirs if d.rpartition("/")[0] == group]
        for word in text.split():
            sign, name = word[0], word[1:]
            if sign not in "+-" or name not in self.file(group, "cgroup.controllers").text.split():
                raise fail(errno.EINVAL if sign not in "+-" else errno.ENOENT, group)
            below = any(name in self.file(c, "cgroup.subtree_control").text.split() for c in children)
            if sign == "-" and below:
                raise fail(errno.EBUSY, group)
            given = [g for g in given if g != name] + ([name] if sign == "+" else [])
        self.file(group, "cgroup.subtree_control").text = " ".join(given) + "\n"
        for child in children:
            self.offer(child, given)

    def set(self, group: str, name: str, text: str) -> None:
        if name == "cpu.max":
            text = self.limit(group, text)
        elif name == "cpu.max.burst":
            quota = self.file(group, "cpu.max").text.split()[0]
            if quota != "max" and int(text) > int(quota):
                raise fail(errno.EINVAL, group)
        elif not re.fullmatch(r"[\d,-]*", text):
            raise fail(errno.EINVAL, group)
        elif not text and self.inside(group):
            raise fail(errno.ENOSPC, group)
        self.file(group, name).text = f"{text}\n"

    def limit(self, group: str, text: str) -> str:
        quota, *rest = text.split() or [""]
        period = rest[0] if rest else self.file(group, "cpu.max").text.split()[1]
        burst = int(self.file(group, "cpu.max.burst").text)
        if quota != "max" and not (quota.isdigit() and int(quota) >= max(_LEAST, burst)):
            raise fail(errno.EINVAL, group)
        if not (period.isdigit() and _LEAST <= int(period) <= _MOST):
            raise fail(errno.EINVAL, group)
        return f"{quota} {period}"

    def admit(self, group: str) -> None:
        above = group.rpartition("/")[0]
        if group == self.point or above == self.point:
            return
        if self.inside(above) and self.file(above, "cgroup.subtree_control").text.strip():
            raise fail(errno.EOPNOTSUPP, group)


def _mount(number: int, point: str, kind: str, options: str) -> str:
    return f"{number} 30 0:{number} / {point} rw,nosuid - {kind} {kind} {options}\n"


def mount_v1(fs: ScriptedFs) -> ScriptedFs:
    """cpu, cpuacct and cpuset, mounted apart, beside a v2 hierarchy without controllers of ours."""
    hierarchies = {"cpu": _CpuV1, "cpuacct": _Accounts, "cpuset": _CpusetV1}
    lines, groups = "", ""
    for number, (name, kind) in enumerate(hierarchies.items(), 31):
        kind(fs, f"/sys/fs/cgroup/{name}")
        lines += _mount(number, f"/sys/fs/cgroup/{name}", "cgroup", f"rw,{name}")
        groups += f"{number}:{name}:/\n"
    fs.put("/proc/self/mountinfo", lines)
    fs.put("/proc/self/cgroup", groups)
    return fs


def mount_v2(fs: ScriptedFs, own: str = "", *, systemd: bool = False) -> ScriptedFs:
    """Version 2; every process so far is in the group `own` ("/a/b"; empty: the root)."""
    unified = _Unified(fs, V2)
    group = V2
    for part in own.strip("/").split("/") if own else ():
        unified.hand_down(group, "+cpu +cpuset")
        group = f"{group}/{part}"
        fs.dirs.add(group)
        unified.make(group)
    for process in fs.processes.values():
        process.groups[V2] = group
    fs.put("/proc/self/mountinfo", _mount(31, V2, "cgroup2", "rw"))
    fs.put("/proc/self/cgroup", f"0::{own or '/'}\n")
    if systemd:
        fs.dirs.add("/run/systemd/system")
    return fs
