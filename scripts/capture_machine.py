#!/usr/bin/env python3
"""Copy what the Linux adapters read of this machine into a folder, for tests of code that never ran here.

    scripts/capture_machine.py tests/machines/trees/NAME

Only files that the adapters read, at most 64 KiB each; of processes, only this one's groups and mounts of
the controllers that matter. Nothing of host names, users, commands or environments is copied.
"""

import sys
from pathlib import Path

PATTERNS = (
    "/proc/loadavg",
    "/proc/pressure/cpu",
    "/proc/stat",
    "/sys/devices/system/cpu/online",
    "/sys/devices/system/cpu/cpu*/acpi_cppc/nominal_freq",
    "/sys/devices/system/cpu/cpufreq/boost",
    "/sys/devices/system/cpu/cpufreq/policy*/*",
    "/sys/devices/system/cpu/cpufreq/policy*/stats/time_in_state",
    "/sys/devices/system/cpu/intel_pstate/status",
    "/sys/devices/system/cpu/amd_pstate/status",
)
GROUP_FILES = (
    *("cgroup.type", "cgroup.controllers", "cgroup.subtree_control", "cgroup.procs"),
    *("cpu.max", "cpu.max.burst", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.cfs_burst_us"),
    *("cpu.stat", "cpu.pressure", "cpuacct.usage"),
    *("cpuset.cpus", "cpuset.mems", "cpuset.cpus.effective", "cpuset.effective_cpus"),
)
LARGEST = 65536
CONTROLLERS = {"cpu", "cpuset", "cpuacct"}


def copy(source: Path, tree: Path) -> None:
    """One file; what cannot be read is left out, as the adapters see it."""
    try:
        text = source.read_text()[:LARGEST]
    except (OSError, UnicodeDecodeError):
        return
    target = tree / str(source)[1:]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("" if source.name == "cgroup.procs" else text)


def matters(names: str) -> bool:
    """Is one of our controllers among these, or is it version 2?"""
    return not names or bool(CONTROLLERS & set(names.split(",")))


def lines_of_ours() -> tuple[str, str]:
    """The lines about our controllers in /proc/self/mountinfo and /proc/self/cgroup."""
    mounts, paths = "", ""
    for line in Path("/proc/self/mountinfo").read_text().splitlines(keepends=True):
        kind, _, options = line.partition(" - ")[2].split(maxsplit=2)
        if kind == "cgroup2" or (kind == "cgroup" and matters(options.strip())):
            mounts += line
    for line in Path("/proc/self/cgroup").read_text().splitlines(keepends=True):
        if matters(line.split(":")[1]):
            paths += line
    return mounts, paths


def groups(mounts: str, memberships: str) -> list[Path]:
    """The mount points of control groups, and the folders down to the group of this process."""
    found = []
    paths = [line.split(":", 2)[2] for line in memberships.splitlines()]
    for line in mounts.splitlines():
        point = Path(line.split()[4])
        found.append(point)
        for path in paths:
            below = [point / path.strip("/"), *(point / path.strip("/")).parents]
            found += [folder for folder in below if folder.is_dir() and folder.is_relative_to(point)]
    return sorted(set(found))


def main() -> None:
    """Capture into the folder given on the command line."""
    tree = Path(sys.argv[1])
    mounts, memberships = lines_of_ours()
    (tree / "proc/self").mkdir(parents=True, exist_ok=True)
    (tree / "proc/self/mountinfo").write_text(mounts)
    (tree / "proc/self/cgroup").write_text(memberships)
    for pattern in PATTERNS:
        for source in sorted(Path("/").glob(pattern[1:])):
            if source.is_file():
                copy(source, tree)
    for folder in groups(mounts, memberships):
        for pattern in GROUP_FILES:
            for source in sorted(folder.glob(pattern)):
                copy(source, tree)
    if Path("/run/systemd/system").is_dir():
        (tree / "run/systemd/system").mkdir(parents=True, exist_ok=True)
        (tree / "run/systemd/system/.keep").touch()


if __name__ == "__main__":
    main()
