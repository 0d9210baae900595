"""What can be read and written on a Linux machine, by a name that needs nothing else to be put back.

    group:PATH from ORIGIN      a control group: "present" or "absent; processes return to ORIGIN"
    leaf:PATH from ORIGIN       the same, and making it moves everything in ORIGIN itself into it
    give-cpu:PATH               "yes" or "no": does a v2 group hand this controller to its children?
    give-cpuset:PATH            the same
    own:PATH                    a file of a group of ours; while the group is absent: a new group's value
    file:PATH                   one kernel file
    limit:PATH                  scaling_min_freq or scaling_max_freq
    affinity:RUN/SLOT from CPUS the CPUs of every thread of the processes that run in a slot

Reading gives exactly the text that writing takes.
"""

from dataclasses import dataclass

from kubesprint.adapters.linux import cgroup, cgroup_v1, cgroup_v2, cpulist
from kubesprint.adapters.linux.processes import SlotProcesses
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.core.errors import Refused
from kubesprint.engine.ports import Address

HOST = "host"  # the knob of addresses that belong to no slot and no clock
_GIVE = {"give-cpu": "cpu", "give-cpuset": "cpuset"}
_DEFAULTS = {
    cgroup_v1.QUOTA: "-1",
    cgroup_v1.BURST: "0",
    cgroup_v2.QUOTA: f"max {cgroup_v2.PERIOD}",
    cgroup_v2.BURST: "0",
}
_SETTLE = {"limit": 0.5, "file": 0.5}  # seconds: cpufreq limits are applied later by a worker of the kernel
_NO_LIMIT = {
    "scaling_max_freq": ("cpuinfo_max_freq", "2147483647"),
    "scaling_min_freq": ("cpuinfo_min_freq", "0"),
}


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed address name."""

    kind: str
    path: str
    origin: str = ""

    def address(self, knob: str) -> Address:
        """The address by which engine, keeper and journal know it."""
        return Address(knob, f"{self.kind}:{self.path}" + (f" from {self.origin}" if self.origin else ""))

    @staticmethod
    def of(address: Address) -> "Target":
        """Raises `Refused` for a name that this version does not know."""
        kind, _, rest = address.name.partition(":")
        path, _, origin = rest.partition(" from ")
        needs_origin = kind in ("group", "leaf", "affinity")
        known = needs_origin or kind in (*_GIVE, "own", "file", "limit")
        if not (known and path and bool(origin) == needs_origin):
            raise Refused(f"'{address.name}' is not an address of this machine")
        if kind in ("group", "leaf") and not path.rpartition("/")[2].startswith(cgroup.PREFIX):
            raise Refused(f"'{address.name}' names a control group that is not ours")
        return Target(kind, path, origin)


class AddressBook:
    """Reads and writes addresses. Keeps only what cannot be read from the machine: masks of empty slots."""

    def __init__(self, fs: PseudoFs) -> None:
        self._fs = fs
        self._slots: dict[str, SlotProcesses] = {}

    def slot(self, path: str, origin: str) -> SlotProcesses:
        """The processes of an affinity slot `RUN/SLOT`."""
        if path not in self._slots:
            run, _, name = path.rpartition("/")
            self._slots[path] = SlotProcesses(self._fs, run, name, cpulist.parse(origin))
        return self._slots[path]

    def read(self, address: Address) -> str:
        """The value now. Raises `Refused` or `Unavailable`."""
        target = Target.of(address)
        match target.kind:
            case "group" | "leaf":
                return self._read_group(target)
            case "give-cpu" | "give-cpuset":
                return cgroup_v2.given(self._fs, target.path, _GIVE[target.kind])
            case "own":
                return self._read_own(target.path)
            case "affinity":
                return self.slot(target.path, target.origin).mask()
        return self._fs.read(target.path)

    def write(self, address: Address, value: str) -> None:
        """Ask for a value. Raises `Refused` or `Unavailable`."""
        target = Target.of(address)
        match target.kind:
            case "group" | "leaf":
                self._write_group(target, value)
            case "give-cpu" | "give-cpuset":
                cgroup_v2.give(self._fs, target.path, _GIVE[target.kind], value)
            case "own":
                self._write_own(target.path, value)
            case "affinity":
                self.slot(target.path, target.origin).confine(cpulist.parse(value))
            case "limit":
                self._fs.write(target.path, self._request(target.path, value))
            case _:
                self._fs.write(target.path, value or "\n")

    def _read_group(self, target: Target) -> str:
        if not self._fs.kernel.isdir(target.path):
            return cgroup.ABSENT + target.origin
        return cgroup.PRESENT

    def _write_group(self, target: Target, value: str) -> None:
        if value == cgroup.PRESENT:
            self._fs.mkdir(target.path)
            if target.kind == "leaf":
                cgroup.move_all(self._fs, target.origin, target.path)
            else:
                self._fill(target.path)
        elif value.startswith(cgroup.ABSENT):
            cgroup.remove(self._fs, target.path, value.removeprefix(cgroup.ABSENT))
        else:
            raise Refused(f"a control group is '{cgroup.PRESENT}' or '{cgroup.ABSENT}...', not '{value}'")

    def _fill(self, group: str) -> None:
        """Give a new group its parent's CPUs and, on v1, memory nodes.

        A v1 cpuset takes no process without both; on v2, no process may be inside when CPUs are cleared.
        """
        for name in ("cpuset.cpus", "cpuset.mems"):
            inherited = self._inherited(group, name)
            if inherited and self._fs.optional(f"{group}/{name}") == "":
                self._fs.write(f"{group}/{name}", inherited)

    def _inherited(self, group: str, name: str) -> str:
        """What a parent has to give of a cpuset: its own list (v1), or its effective CPUs (v2)."""
        parent = group.rpartition("/")[0]
        if self._fs.kernel.exists(f"{parent}/cpuset.effective_cpus"):  # v1
            return self._fs.optional(f"{parent}/{name}") or ""
        return self._fs.optional(f"{parent}/cpuset.cpus.effective") or "" if name == "cpuset.cpus" else ""

    def _new(self, path: str) -> str:
        """What a file holds in a group that was just made."""
        group, _, name = path.rpartition("/")
        return self._inherited(group, name) if name == "cpuset.cpus" else _DEFAULTS[name]

    def _read_own(self, path: str) -> str:
        text = self._fs.optional(path)
        return self._new(path) if text is None else text

    def _write_own(self, path: str, value: str) -> None:
        # A group that is gone, or a kernel without bursts, already holds what a new group holds.
        if not self._fs.kernel.exists(path) and value == self._new(path):
            return
        self._fs.write(path, value or "\n")

    def _request(self, path: str, value: str) -> str:
        """The number to write for a frequency limit.

        A limit found at the hardware's own bound was most likely no request: releasing it keeps us from
        capping what a later change of boost or of the firmware allows.
        """
        folder, _, name = path.rpartition("/")
        if not value.isdigit() or not 0 < int(value) < 2**31:
            raise Refused(f"{path}: '{value}' is not a frequency in kHz (1 to 2147483647)")
        bound, release = _NO_LIMIT[name]
        return release if self._fs.optional(f"{folder}/{bound}") == value else value


def settle_seconds(address: Address) -> float:
    """How long a value may take to be read back as written: control groups at once, clocks later."""
    return _SETTLE.get(address.name.partition(":")[0], 0.0)
