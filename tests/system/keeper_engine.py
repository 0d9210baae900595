"""A minimal engine for the keeper's process tests: opens two slots, sprints the first, then says no more.

Usage: python keeper_engine.py STATE_DIR RUN MECHANISM LEASE
Prints one JSON line, {"keeper": pid, "job": pid}, when it sprints.
"""

import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from kubesprint.adapters.files.lock import take_lock
from kubesprint.adapters.link import Opening
from kubesprint.adapters.linux.hardware import SlotHardware
from kubesprint.adapters.linux.launcher import enter
from kubesprint.adapters.linux.plan import SlotPlan
from kubesprint.adapters.linux.processes import parse_stat
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.apps.keeper_link import KeeperLink
from kubesprint.core.allocation import Allocation
from kubesprint.core.lease import Directive, Grant
from kubesprint.core.units import Cores, Seconds


def main() -> None:
    folder, run, mechanism, lease = Path(sys.argv[1]), sys.argv[2], sys.argv[3], Seconds(float(sys.argv[4]))
    lock = take_lock(folder, run)
    link = KeeperLink(folder, lock)
    base, sprint = (0.4, 1.0) if mechanism == "quota" else (1.0, 2.0)
    opening = Opening(
        run=run, slots=2, base=Allocation(Cores(base)), sprint=Allocation(Cores(sprint)), mechanism=mechanism
    )
    hardware = SlotHardware(PseudoFs("/"), SlotPlan.from_json(link.open(opening).plan))
    entry = hardware.entry("slot-0")
    job = subprocess.Popen(
        ["sleep", "120"],
        preexec_fn=partial(enter, entry.procs, entry.cpus),
        start_new_session=True,
        env={"PATH": "/usr/bin:/bin", **dict(entry.environment)},
        stdout=subprocess.DEVNULL,
    )
    link.tenant("slot-0", job.pid, parse_stat(Path(f"/proc/{job.pid}/stat").read_text()).start)
    grant = Grant(grant="g1", knob="slot-0", allocation=Allocation(Cores(sprint)), lease=lease)
    link.publish(Directive(run=run, epoch=1, sequence=1, grants=(grant,)))
    deadline = time.monotonic() + 20
    while not any(report.knobs["slot-0"].grant == "g1" for report in link.reports()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    print(json.dumps({"keeper": link.pid, "job": job.pid}), flush=True)
    sys.stdin.read()  # until the test closes it
    closed = link.close()
    print(json.dumps({"failed": None if closed is None else list(closed.failed)}), flush=True)


if __name__ == "__main__":
    main()
