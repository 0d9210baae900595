"""Whole runs under a real systemd, as root and as an ordinary user, run in the guest whose init it is.

Prints `ok NAME` or `failed NAME` and the traceback, a check each; ends with status 1 if one failed.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import mkdtemp

from kernel import forkserver
from kernel.guest_checks import run_checks
from system.kill_scene import Process, text_of, wait_for

WORKER = 1000
SCOPES = {0: "/system.slice/", WORKER: f"/user.slice/user-{WORKER}.slice/user@{WORKER}.service/app.slice/"}
PATIENCE = 240.0  # seconds: a run starts itself again, and its imports are slow under emulation
MAIN = forkserver.warm()
POLICY = """\
apiVersion: kubesprint.dev/v1alpha1
kind: SprintPolicy
metadata: {name: scoped}
spec:
  mode: Enforce
  objective: {responseTime: {statistic: Mean}}
  base: {cpu: 400m}
  sprint: {cpu: "1"}
  trigger: {after: 0s}
  budget: {capacityCoreSeconds: 1000}
"""
JOB = """\
import os, sys, time
print(os.environ.get("KUBESPRINT_SCOPE"), open("/proc/self/cgroup").read(), flush=True)
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    pass
"""


class Run:
    """One queue of one job, by one user, in a folder of its own."""

    def __init__(self, user: int, seconds: float) -> None:
        self.user = user
        self.folder = Path(mkdtemp())
        document = {"apiVersion": "kubesprint.dev/v1alpha1", "kind": "JobQueue", "slots": 2}
        command = [sys.executable, "-I", "-S", "-c", JOB, str(seconds)]
        job = {"name": "a", "kind": "k", "command": command}
        (self.folder / "queue.json").write_text(json.dumps(document | {"jobs": [job]}))
        (self.folder / "policy.yaml").write_text(POLICY)
        os.chown(self.folder, user, user)

    def launch(self, *arguments: str) -> int:
        """Start a command as the user; its pid, which it keeps when it starts itself again."""
        options = ["--state-dir", str(self.folder / "state")]
        return forkserver.launch(self._as_user, [*arguments, *options], output=self.folder / "log")

    def start(self) -> int:
        """Start the run."""
        policy, out = str(self.folder / "policy.yaml"), str(self.folder / "out")
        return self.launch(
            "run", str(self.folder / "queue.json"), "--policy", policy, "--out", out, "--quiet"
        )

    def call(self, *arguments: str) -> tuple[int, str]:
        """Run a command to its end; its status and everything said in this folder so far."""
        status = forkserver.ended(self.launch(*arguments), timeout=PATIENCE)
        return status, self.said()

    def said(self) -> str:
        return text_of(self.folder / "log") or ""

    def events(self) -> Sequence[str]:
        """Types of the events so far."""
        text = text_of(self.folder / "out/events.jsonl") or ""
        return [json.loads(line)["type"] for line in text.splitlines() if line.endswith("}")]

    def job(self) -> Process:
        """The job, once it runs."""
        for line in (text_of(self.folder / "out/events.jsonl") or "").splitlines():
            event = json.loads(line)
            if event["type"] == "started":
                return Process(event["pid"], (text_of(Path(f"/proc/{event['pid']}/stat")) or " ").split()[21])
        raise AssertionError(f"no job has started: {self.said()}")

    def keeper(self) -> int:
        for folder in Path("/proc").glob("[0-9]*"):
            words = (text_of(folder / "cmdline") or "").split("\0")
            if "kubesprint.apps.keeper" in words and str(self.folder / "state") in words:
                return int(folder.name)
        raise AssertionError("no keeper")

    def _as_user(self) -> object:
        if self.user:
            os.setgroups([])
            os.setgid(self.user)
            os.setuid(self.user)
        os.environ |= {"HOME": str(self.folder), "XDG_RUNTIME_DIR": f"/run/user/{self.user}"}
        return MAIN()


def group_of(pid: int) -> str:
    """The control group of a process."""
    return (text_of(Path(f"/proc/{pid}/cgroup")) or "").removeprefix("0::")


def ours() -> Sequence[str]:
    """Every group and unit that a run has made and that is still there."""
    groups = [str(path) for path in Path("/sys/fs/cgroup").rglob("kubesprint-*") if path.is_dir()]
    listing = ["systemctl", "list-units", "--all", "--plain", "--no-legend", "kubesprint-*"]
    return groups + subprocess.run(listing, capture_output=True, text=True, check=True).stdout.splitlines()


def whole(user: int) -> None:
    """A run starts itself in a delegated scope, holds and sprints its job by quota there, leaves nothing."""
    run = Run(user, 3.0)
    status = forkserver.ended(run.start(), timeout=PATIENCE)
    assert status == 0, run.said()
    said = (run.folder / "out/jobs/a.log").read_text()
    assert said.startswith("None 0::"), said  # what marks a program that was started again is not passed on
    assert SCOPES[user] + "kubesprint-run-" in said, said
    assert ".scope/kubesprint-" in said, said
    assert "-slot-0" in said, said
    assert {"sprint_started", "sprint_ended", "finished", "ended"} <= set(run.events()), run.events()
    head = json.loads((run.folder / "out/events.jsonl").read_text().splitlines()[0])
    assert head["mechanism"] == "quota", head
    wait_for(lambda: not ours(), f"nothing of ours is left: {ours()}")


def killed(user: int) -> None:
    """Engine and keeper die together; `restore`, from outside of the scope, puts back and ends no job."""
    run = Run(user, 600.0)
    engine = run.start()
    wait_for(lambda: "sprint_started" in run.events(), "a sprint", PATIENCE)
    job = run.job()
    assert job.alive()
    assert "-slot-0" in group_of(job.pid), group_of(job.pid)
    for pid in (run.keeper(), engine):
        os.kill(pid, signal.SIGKILL)
    forkserver.ended(engine, timeout=PATIENCE)
    time.sleep(0.5)
    status, said = run.call("restore")
    assert status == 0, said
    assert job.alive()
    assert group_of(job.pid).endswith(".scope"), group_of(job.pid)
    assert not (run.folder / "state/journal.json").exists()
    assert [line for line in ours() if "-slot-" in line or "-rest" in line] == []
    job.kill()
    wait_for(lambda: not ours(), f"nothing of ours is left: {ours()}")


def root_runs_in_a_delegated_scope() -> None:
    whole(0)


def a_killed_run_of_root_is_restored_from_outside_its_scope() -> None:
    killed(0)


def a_user_without_a_manager_is_refused_with_what_to_do() -> None:
    run = Run(WORKER, 1.0)
    status = forkserver.ended(run.start(), timeout=PATIENCE)
    assert status == 2, (status, run.said())
    assert "systemctl edit user@.service" in run.said(), run.said()
    assert not (run.folder / "out").exists()


def a_user_runs_in_a_delegated_scope() -> None:
    subprocess.run(["systemctl", "start", f"user@{WORKER}.service"], check=True)
    whole(WORKER)


def a_killed_run_of_a_user_is_restored_from_outside_its_scope() -> None:
    killed(WORKER)


def doctor_tells_the_way() -> None:
    for user, flag in ((0, "systemd-run --scope"), (WORKER, "systemd-run --user --scope")):
        said = Run(user, 1.0).call("doctor")[1]
        assert f"a run starts itself behind: {flag}" in said, said
        assert "yes  quota              in a delegated scope" in said, said


CHECKS: tuple[Callable[[], None], ...] = (
    root_runs_in_a_delegated_scope,
    a_killed_run_of_root_is_restored_from_outside_its_scope,
    a_user_without_a_manager_is_refused_with_what_to_do,
    a_user_runs_in_a_delegated_scope,
    a_killed_run_of_a_user_is_restored_from_outside_its_scope,
    doctor_tells_the_way,
)


if __name__ == "__main__":
    sys.exit(run_checks(CHECKS))
