"""What the machine is: the facts that belong beside every measured number."""

import os
import re
from pathlib import Path
from typing import Any


def machine_facts(root: Path = Path("/")) -> dict[str, Any]:
    """CPU model, logical CPUs, memory, kernel and control groups; None for what cannot be read.

    Reads `proc/cpuinfo`, `proc/meminfo`, `proc/sys/kernel/osrelease` and `sys/fs/cgroup` below `root`.
    """
    cpuinfo = _text(root / "proc/cpuinfo")
    memory = re.search(r"^MemTotal:\s+(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE)
    kernel = _text(root / "proc/sys/kernel/osrelease").strip()
    return {
        "cpu": _cpu_model(cpuinfo),
        "cores": len(re.findall(r"^processor\s*:", cpuinfo, re.MULTILINE)) or None,
        "memory_bytes": int(memory[1]) * 1024 if memory else None,
        "kernel": kernel or None,
        "cgroup": _cgroup_version(root),
        "architecture": os.uname().machine,
    }


def load_average(root: Path = Path("/")) -> float | None:
    """The one-minute load average of `proc/loadavg`; None if unreadable."""
    match = re.match(r"\d+\.\d+", _text(root / "proc/loadavg"))
    return float(match[0]) if match else None


def _cpu_model(cpuinfo: str) -> str | None:
    # x86 says "model name"; many arm64 kernels give only implementer and part numbers
    for key in ("model name", "Model", "Hardware", "cpu model"):
        if match := re.search(rf"^{key}\s*:\s*(.+)$", cpuinfo, re.MULTILINE):
            return match[1].strip()
    return None


def _cgroup_version(root: Path) -> str | None:
    groups = root / "sys/fs/cgroup"
    if (groups / "cgroup.controllers").exists():
        return "v2"
    if (groups / "unified/cgroup.controllers").exists():
        return "hybrid"
    return "v1" if (groups / "cpu").exists() else None


def _text(path: Path) -> str:
    """The text of a pseudo-file; empty if it cannot be read, because a missing fact is no failure."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
