"""Run the hardware contract without a test framework: python3 -m adapters.linux.contract_main [GROUP].

GROUP: first move into this (new) child of the cgroup v2 root, as a container or a delegated scope would be.
Prints a line a check and ends with status 1 if one failed.
"""

import os
import sys
import traceback
from pathlib import Path

from adapters.linux.hardware_contract import CHECKS, RUN, unavailable
from adapters.linux.hardware_machines import RealMachine

ROOT = Path("/sys/fs/cgroup")


def enter_group(name: str) -> None:
    """Become the only process of a group that has cpu and cpuset."""
    (ROOT / "cgroup.subtree_control").write_text("+cpu +cpuset")
    (ROOT / name).mkdir()
    (ROOT / name / "cgroup.procs").write_text(str(os.getpid()))


def leave_group(name: str) -> None:
    """Undo `enter_group`."""
    (ROOT / "cgroup.procs").write_text(str(os.getpid()))
    (ROOT / name).rmdir()
    (ROOT / "cgroup.subtree_control").write_text("-cpu -cpuset")


def main() -> int:
    """Every check for every mechanism; how many failed, as an exit status."""
    machine, failed = RealMachine(RUN), 0
    for mechanism in ("quota", "cpuset", "affinity"):
        if why := unavailable(machine, mechanism):
            print(f"unavailable {mechanism}: {why}")
            failed += 1
            continue
        for check in CHECKS:
            try:
                check(machine, mechanism)
                print(f"ok {mechanism} {check.__name__}", flush=True)
            except Exception:
                print(f"failed {mechanism} {check.__name__}\n{traceback.format_exc()}", flush=True)
                failed += 1
    return min(failed, 1)


if __name__ == "__main__":
    group = sys.argv[1] if len(sys.argv) > 1 else None
    if group:
        enter_group(group)
    status = main()
    if group:
        leave_group(group)
    sys.exit(status)
