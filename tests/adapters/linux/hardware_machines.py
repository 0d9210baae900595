"""The machines for the hardware contract: the one we run on, and ones in memory."""

import os
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from kubesprint.adapters.linux import cgroup
from kubesprint.adapters.linux.hardware import Entry
from kubesprint.adapters.linux.launcher import enter
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.adapters.virtual.scripted_fs import SELF, ScriptedFs

_SLEEP = "import time; print('in', flush=True); time.sleep(600)"


class RealMachine:
    """This machine. Only what concerns our run is compared: others may use it meanwhile."""

    def __init__(self, run: str) -> None:
        self.fs = PseudoFs()
        self._run = run
        self._jobs: dict[int, subprocess.Popen[bytes]] = {}

    def state(self) -> Mapping[str, str]:
        view = cgroup.discover(self.fs)
        state = {group: "group" for group in cgroup.ours(self.fs, view) if self._run in group}
        if view.unified is not None:
            given = self.fs.optional(f"{view.unified.own}/cgroup.subtree_control")
            state["given"] = f"{view.unified.own}: {given}"
        return state | {"self": Path("/proc/self/cgroup").read_text()}

    def start(self, entry: Entry) -> int:
        job = subprocess.Popen(
            [sys.executable, "-c", _SLEEP],
            preexec_fn=partial(enter, entry.procs, entry.cpus),
            env=os.environ | dict(entry.environment),
            start_new_session=True,
            stdout=subprocess.PIPE,
        )
        self._jobs[job.pid] = job
        assert job.stdout is not None
        assert job.stdout.readline() == b"in\n"
        return job.pid

    def where(self, pid: int) -> str:
        assert self._jobs[pid].poll() is None
        return Path(f"/proc/{pid}/cgroup").read_text() + str(sorted(os.sched_getaffinity(pid)))

    def stop(self, pid: int) -> None:
        with self._jobs.pop(pid) as job:
            job.kill()


class ScriptedMachine:
    """A kernel in memory."""

    def __init__(self, kernel: ScriptedFs) -> None:
        self.kernel = kernel
        self.fs = PseudoFs(kernel)
        self._next = 5000

    def state(self) -> Mapping[str, str]:
        return self.kernel.tree()

    def start(self, entry: Entry) -> int:
        self._next += 1
        process = self.kernel.spawn(self._next, parent=SELF, **dict(entry.environment))
        for path in entry.procs:
            self.kernel.write(path, str(process.pid))
        if entry.cpus is not None:
            self.kernel.set_affinity(process.pid, entry.cpus)
        return process.pid

    def where(self, pid: int) -> str:
        process = self.kernel.processes[pid]
        return f"{sorted(process.groups.items())} {sorted(process.threads[pid])}"

    def stop(self, pid: int) -> None:
        del self.kernel.processes[pid]
