"""`kubesprint run` with real processes and control groups: what it refuses, survives and leaves behind."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

CPU = Path("/sys/fs/cgroup/cpu")
HEAD = "apiVersion: kubesprint.dev/v1alpha1\n"
PATIENCE = 40.0

needs_groups = pytest.mark.skipif(
    os.geteuid() != 0 or (not (CPU / "cpu.cfs_quota_us").exists() and not (CPU / "cgroup.procs").exists()),
    reason="writes control groups (v1): needs root and /sys/fs/cgroup/cpu",
)


def queue_file(folder: Path, jobs: Mapping[str, Sequence[str]], slots: int = 1) -> Path:
    """A queue whose jobs all arrive at once."""
    rows = [f"- {json.dumps({'name': n, 'kind': 'k', 'command': list(c)})}" for n, c in jobs.items()]
    path = folder / "queue.yaml"
    path.write_text(HEAD + f"kind: JobQueue\nslots: {slots}\njobs:\n" + "\n".join(rows) + "\n")
    return path


def policy_file(folder: Path, base: str = "400m", sprint: str = "1", mode: str = "Enforce") -> Path:
    """A policy that sprints as soon as it may."""
    spec = {
        "mode": mode,
        "objective": {"responseTime": {"statistic": "Mean"}},
        "base": {"cpu": base},
        "sprint": {"cpu": sprint},
        "trigger": {"after": "0s"},
        "budget": {"capacityCoreSeconds": 20, "refillCores": "50m"},
    }
    path = folder / "policy.yaml"
    path.write_text(HEAD + f"kind: SprintPolicy\nmetadata: {{name: t}}\nspec: {json.dumps(spec)}\n")
    return path


def command(folder: Path, *words: object) -> list[str]:
    """The command line of a quiet run with its own state folder."""
    start = [sys.executable, "-m", "kubesprint", "run", "--quiet", "--state-dir", str(folder / "state")]
    return [*start, *map(str, words)]


def finish(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run to the end."""
    return subprocess.run(
        command(folder, *words), capture_output=True, text=True, cwd=folder, timeout=PATIENCE, check=False
    )


def exits(out: Path) -> dict[str, str]:
    """Exit by job."""
    with (out / "jobs.csv").open(newline="") as file:
        return {row["name"]: row["exit"] for row in csv.DictReader(file)}


def summary(out: Path) -> dict[str, object]:
    """`summary.json`."""
    loaded: dict[str, object] = json.loads((out / "summary.json").read_text())
    return loaded


def until(fact: Callable[[], object]) -> None:
    """Wait for it."""
    patience = time.monotonic() + PATIENCE
    while not fact():
        assert time.monotonic() < patience
        time.sleep(0.05)


def run_id(out: Path) -> str:
    """The name of the run in a folder."""
    return str(json.loads((out / "events.jsonl").read_text().splitlines()[0])["run"])


def alive(pid: int) -> bool:
    """Does the process run?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "QUEUE.yaml"),
        (["none.yaml"], "none.yaml"),
        (["queue.yaml", "--", "true"], "queue.yaml"),
        (["queue.yaml", "--bucket", "half"], "half"),
        (["queue.yaml", "--strategy", "guess"], "guess"),
        (["queue.yaml", "--mechanism", "magic"], "magic"),
        (["queue.yaml", "--out", "full"], "full"),
        (["--", "no-such-program"], "no-such-program"),
        (["--resume", "nowhere"], "nowhere"),
    ],
)
def test_what_is_refused_changes_nothing(tmp_path: Path, words: list[str], said: str) -> None:
    queue_file(tmp_path, {"a": ["touch", "started"]})
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    before = sorted(tmp_path.rglob("*"))
    result = finish(tmp_path, *words)
    assert result.returncode == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_failed_and_killed_jobs_do_not_stop_the_queue(tmp_path: Path) -> None:
    jobs = {"bad": ["sh", "-c", "exit 3"], "shot": ["sh", "-c", "kill -9 $$"], "good": ["true"]}
    result = finish(tmp_path, queue_file(tmp_path, jobs), "--out", "o")
    assert result.returncode == 1
    assert exits(tmp_path / "o") == {"bad": "3", "shot": "137", "good": "0"}
    assert not (tmp_path / "state").exists()  # observing keeps nothing


def test_resume_repeats_nothing_and_refuses_another_queue(tmp_path: Path) -> None:
    queue = queue_file(tmp_path, {"a": ["sh", "-c", "echo x"]})
    assert finish(tmp_path, queue, "--out", "o").returncode == 0
    again = finish(tmp_path, "--resume", "o")
    assert again.returncode == 0
    assert "nothing is left" in again.stderr
    assert (tmp_path / "o" / "jobs" / "a.log").read_text() == "x\n"
    queue_file(tmp_path, {"b": ["true"]})
    assert finish(tmp_path, queue, "--out", "o", "--resume").returncode == 2


def test_sigterm_ends_the_jobs_and_starts_no_more(tmp_path: Path) -> None:
    jobs = {"a": ["sh", "-c", "touch up; sleep 60"], "b": ["touch", "never"]}
    queue = queue_file(tmp_path, jobs)
    with subprocess.Popen(command(tmp_path, queue, "--out", "o"), cwd=tmp_path) as run:
        until((tmp_path / "up").exists)
        run.send_signal(signal.SIGTERM)
        assert run.wait(PATIENCE) == 143
    assert exits(tmp_path / "o") == {}  # what the signal ended is unfinished, a resumed run runs it
    assert summary(tmp_path / "o")["jobs"] == {"finished": 0, "failed": 0, "unknown": 0, "unfinished": 2}
    assert not (tmp_path / "never").exists()


def test_second_signal_does_not_wait_for_a_deaf_job(tmp_path: Path) -> None:
    queue = queue_file(
        tmp_path, {"deaf": ["sh", "-c", "trap '' TERM INT; touch up; while :; do sleep 1; done"]}
    )
    with subprocess.Popen(command(tmp_path, queue, "--out", "o"), cwd=tmp_path) as run:
        until((tmp_path / "up").exists)
        run.send_signal(signal.SIGINT)
        until(lambda: "interrupted" in (tmp_path / "o" / "events.jsonl").read_text())
        run.send_signal(signal.SIGINT)
        assert run.wait(PATIENCE) == 130
    assert exits(tmp_path / "o") == {}


def test_survivor_of_a_killed_run_is_adopted_not_started_twice(tmp_path: Path) -> None:
    queue = queue_file(tmp_path, {"long": ["sh", "-c", "echo >>starts; until [ -e go ]; do sleep 0.1; done"]})
    with subprocess.Popen(command(tmp_path, queue, "--out", "o"), cwd=tmp_path) as run:
        until((tmp_path / "starts").exists)
        run.kill()
    with subprocess.Popen(command(tmp_path, "--resume", "o"), cwd=tmp_path) as run:
        until(lambda: "still runs" in (tmp_path / "o" / "events.jsonl").read_text())
        (tmp_path / "go").touch()
        run.wait(PATIENCE)
    assert (tmp_path / "starts").read_text() == "\n"
    assert exits(tmp_path / "o") == {"long": ""}


@pytest.mark.cgroups
@needs_groups
def test_what_a_finished_job_leaves_in_its_slot_is_killed(tmp_path: Path) -> None:
    stray = "setsid sh -c 'echo $$ >pid; sleep 60' >/dev/null 2>&1 & until [ -s pid ]; do sleep 0.05; done"
    queue = queue_file(tmp_path, {"a": ["sh", "-c", stray], "b": ["sleep", "0.2"]})
    result = finish(tmp_path, queue, "--policy", policy_file(tmp_path), "--out", "o")
    assert result.returncode == 0, result.stderr
    assert not alive(int((tmp_path / "pid").read_text()))
    assert summary(tmp_path / "o")["restored"] is True


@pytest.mark.cgroups
@needs_groups
def test_killed_keeper_costs_the_sprints_not_the_jobs(tmp_path: Path) -> None:
    queue = queue_file(
        tmp_path, {"a": ["sh", "-c", "touch up; until [ -e go ]; do sleep 0.1; done"], "b": ["true"]}
    )
    with subprocess.Popen(
        command(tmp_path, queue, "--policy", policy_file(tmp_path), "--out", "o"), cwd=tmp_path
    ) as run:
        until((tmp_path / "up").exists)
        name = run_id(tmp_path / "o")
        assert list(CPU.rglob(f"kubesprint-*{name}*"))
        for child in Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split():
            if b"keeper" in Path(f"/proc/{child}/cmdline").read_bytes():
                os.kill(int(child), signal.SIGKILL)
        until(lambda: not list(CPU.rglob(f"kubesprint-*{name}*")))  # at once, while the job still runs
        assert run.poll() is None
        (tmp_path / "go").touch()
        assert run.wait(PATIENCE) == 0
    assert exits(tmp_path / "o") == {"a": "0", "b": "0"}
    assert "keeper has ended" in (tmp_path / "o" / "events.jsonl").read_text()


@pytest.mark.cgroups
@needs_groups
def test_full_disk_stops_the_writing_not_the_jobs(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "none", str(disk)], check=False).returncode:
        pytest.skip("may not mount a file system")
    try:
        fill = f"cat /dev/zero >{disk}/fill 2>/dev/null; touch {tmp_path}/done"
        queue = queue_file(tmp_path, {"a": ["sh", "-c", fill], "b": ["touch", str(tmp_path / "last")]})
        policy = policy_file(tmp_path)
        result = finish(tmp_path, queue, "--policy", policy, "--out", disk / "o")
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert (tmp_path / "done").exists()
    assert (tmp_path / "last").exists()
    assert result.returncode == 1
    assert "incomplete" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "state" / "journal").exists()


@pytest.mark.cgroups
@needs_groups
def test_second_instance_is_refused_and_leaves_no_folder(tmp_path: Path) -> None:
    queue = queue_file(tmp_path, {"a": ["sh", "-c", "touch up; until [ -e go ]; do sleep 0.1; done"]})
    policy = policy_file(tmp_path)
    with subprocess.Popen(command(tmp_path, queue, "--policy", policy, "--out", "o"), cwd=tmp_path) as run:
        until((tmp_path / "up").exists)
        second = finish(tmp_path, queue, "--policy", policy, "--out", "p")
        (tmp_path / "go").touch()
        run.wait(PATIENCE)
    assert second.returncode == 2
    assert not (tmp_path / "p").exists()
