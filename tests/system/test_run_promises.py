"""`kubesprint run` with real processes: observing, resuming, threads, lost keepers and full journals."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from document_texts import policy_text, profile_text
from kubesprint.adapters.files.results import EventLog, JobTable, read_events, read_jobs
from kubesprint.adapters.linux import cgroup
from kubesprint.adapters.linux.plan import capability
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.apps import run_folder

FS = PseudoFs("/")
ABLE = {name: capability(FS, cgroup.discover(FS), name) for name in ("quota", "cpuset", "affinity")}
PATIENCE = 40.0
pytestmark = pytest.mark.timeout(120)

ALWAYS = "trigger: {after: 0s}"
BUDGET = "budget: {capacityCoreSeconds: 60, refillCores: 50m}"
ENFORCE = policy_text(trigger=ALWAYS, budget=BUDGET)
WHOLE = policy_text(trigger=ALWAYS, budget=BUDGET, base='base: {cpu: "1"}', sprint='sprint: {cpu: "2"}')
BUSY = "import time; t = time.process_time(); exec('while time.process_time() - t < 0.6: pass')"


def needs(mechanism: str) -> list[pytest.MarkDecorator]:
    able = ABLE[mechanism]
    marks = [pytest.mark.skipif(not able.possible, reason=f"needs {mechanism}: {able.reason}")]
    if mechanism != "quota":
        cpus = len(os.sched_getaffinity(0))
        marks.append(pytest.mark.skipif(cpus < 2, reason="needs two CPUs"))
    return [*marks, *([] if mechanism == "affinity" else [pytest.mark.cgroups])]


class Place:
    """A folder with a queue, a policy, and runs in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "out"
        self.state = folder / "state"

    def documents(
        self, jobs: Mapping[str, list[str]], policy: str | None = None, slots: int = 1, **more: Any
    ) -> None:
        rows = [{"name": name, "kind": "k", "command": command, **more} for name, command in jobs.items()]
        queue = {"apiVersion": "kubesprint.dev/v1alpha1", "kind": "JobQueue", "slots": slots, "jobs": rows}
        (self.folder / "queue.yaml").write_text(json.dumps(queue))
        if policy is not None:
            (self.folder / "policy.yaml").write_text(policy)

    def command(self, *words: object) -> list[str]:
        policy = ["--policy", "policy.yaml"] if (self.folder / "policy.yaml").exists() else []
        start = words if "--resume" in words else ["queue.yaml", *policy, "--out", self.out, *words]
        options = ["--state-dir", self.state]
        return [sys.executable, "-m", "kubesprint", "run", *map(str, [*options, *start])]

    def run(self, *words: object, env: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.command(*words),
            cwd=self.folder,
            env=dict(os.environ if env is None else env),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    @contextmanager
    def start(self, *words: object) -> "Iterator[subprocess.Popen[bytes]]":
        """A run in the background; a test that fails meanwhile leaves neither it nor its jobs behind."""
        process = subprocess.Popen(self.command(*words), cwd=self.folder)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()
            process.wait()

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        return [event for event in read_events(self.out / "events.jsonl") if kind in (None, event["type"])]

    def rows(self) -> dict[str, dict[str, str]]:
        with (self.out / "jobs.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len({row["name"] for row in rows}) == len(rows), "a job has two rows"
        return {row["name"]: row for row in rows}

    def exits(self) -> dict[str, str]:
        return {name: row["exit"] for name, row in self.rows().items()}

    def summary(self) -> dict[str, Any]:
        return dict(json.loads((self.out / "summary.json").read_text()))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def until(fact: Callable[[], object]) -> None:
    patience = time.monotonic() + PATIENCE
    while not fact():
        assert time.monotonic() < patience, "waited in vain"
        time.sleep(0.02)


def groups_of(run: str) -> list[str]:
    return [group for group in cgroup.ours(FS, cgroup.discover(FS)) if run in group]


def keeper_of(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return next(int(c) for c in children if b"keeper" in Path(f"/proc/{c}/cmdline").read_bytes())


# --- observing --------------------------------------------------------------------------------------

SHOW = """
import json, os
print(json.dumps([dict(os.environ), open('/proc/self/cgroup').read(), len(os.sched_getaffinity(0))]))
"""


@pytest.mark.parametrize("mode", [None, "Recommend"])
def test_observing_starts_jobs_plainly(place: Place, mode: str | None) -> None:
    policy = None if mode is None else policy_text(mode=f"mode: {mode}", trigger=ALWAYS)
    place.documents({"show": [sys.executable, "-c", SHOW], "busy": [sys.executable, "-c", BUSY]}, policy)
    environment = {
        name: value for name, value in os.environ.items() if "THREADS" not in name and "OMP" not in name
    }
    done = place.run("--quiet", env=environment)
    assert done.returncode == 0, done.stderr
    theirs, groups, cpus = json.loads((place.out / "jobs" / "show.log").read_text())
    assert set(theirs) - set(environment) <= {"KUBESPRINT_RUN", "KUBESPRINT_JOB", "LC_CTYPE"}
    assert groups == Path("/proc/self/cgroup").read_text()
    assert cpus == len(os.sched_getaffinity(0))
    assert not place.state.exists()
    assert place.events("run")[0]["mechanism"] is None
    assert float(place.rows()["busy"]["cpu_seconds"]) >= 0.5
    assert place.summary()["sprint_seconds"] == 0


POINTS = "{cpu: 400m, wall: 5s, cpuTime: 2s, runs: 3}, {cpu: 1, wall: 2s, cpuTime: 2s, runs: 3}"
PROFILE = profile_text(POINTS, workload="k")


@pytest.mark.parametrize(
    ("mode", "predicted"),
    [
        ("Observe", {"predicted_response_seconds": 5.0}),
        ("Recommend", {"predicted_response_seconds": 5.0, "advised_response_seconds": 2.0}),
        pytest.param("Enforce", {"predicted_response_seconds": 2.0}, marks=needs("quota")),
    ],
)
def test_a_prediction_is_for_what_the_run_does(place: Place, mode: str, predicted: dict[str, float]) -> None:
    place.documents({"a": ["true"]}, policy_text(mode=f"mode: {mode}", trigger=ALWAYS, budget=BUDGET))
    (place.folder / "profile.yaml").write_text(PROFILE)
    done = place.run("--quiet", "--profile", "profile.yaml", "--bucket", "full")
    assert done.returncode == 0, done.stderr
    (started,) = place.events("started")
    told = {name: value for name, value in started.items() if name.endswith("_response_seconds")}
    assert told == {name: pytest.approx(value, abs=0.2) for name, value in predicted.items()}
    assert float(place.rows()["a"]["predicted_response_seconds"]) == told["predicted_response_seconds"]


def test_json_prints_the_summary_and_nothing_else(place: Place) -> None:
    place.documents({"a": ["echo", "noise"]})
    done = place.run("--json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == place.summary()
    assert done.stderr == ""


def test_a_program_that_vanishes_is_a_failed_job(place: Place) -> None:
    program = place.folder / "program"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    place.documents({"first": ["rm", str(program)], "gone": [str(program)], "last": ["true"]})
    done = place.run("--quiet")
    assert done.returncode == 1
    assert place.exits() == {"first": "0", "gone": "127", "last": "0"}
    assert "cannot start" in (place.out / "jobs" / "gone.log").read_text()


# --- resuming ---------------------------------------------------------------------------------------


def counting(name: str, then: str = "") -> list[str]:
    return ["sh", "-c", f"echo {name} >>starts; {then}true"]


def test_an_interrupted_run_is_finished_by_resuming_it(place: Place) -> None:
    waits = "touch up; while [ ! -e go ]; do sleep 0.05; done; "
    place.documents({"a": counting("a"), "b": counting("b", waits), "c": counting("c")})
    with place.start("--quiet") as run:
        until((place.folder / "up").exists)
        run.send_signal(signal.SIGINT)
        assert run.wait(PATIENCE) == 130
    assert place.exits() == {"a": "0"}
    assert place.summary()["status"] == "interrupted"
    assert place.summary()["jobs"] == {"finished": 1, "failed": 0, "unknown": 0, "unfinished": 2}
    (place.folder / "go").touch()
    done = place.run("--resume", place.out, "--quiet")
    assert done.returncode == 0, done.stderr
    assert (place.folder / "starts").read_text().split() == ["a", "b", "b", "c"]
    assert place.exits() == {"a": "0", "b": "0", "c": "0"}
    assert len({row["run"] for row in place.rows().values()}) == 1
    arrived = [event["job"] for event in place.events("arrived")]
    assert sorted(arrived) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "mechanism",
    [pytest.param("quota", marks=needs("quota")), pytest.param("affinity", marks=needs("affinity"))],
)
def test_a_killed_enforcing_run_is_resumed_without_repeating(place: Place, mechanism: str) -> None:
    waits = "touch up; while [ ! -e go ]; do sleep 0.05; done; "
    jobs = {"a": counting("a"), "b": counting("b", waits), "c": counting("c")}
    place.documents(jobs, ENFORCE if mechanism == "quota" else WHOLE)
    with place.start("--quiet", "--mechanism", mechanism) as run:
        until((place.folder / "up").exists)
        until(lambda: "a" in place.exits())
        run.kill()
    with place.start("--resume", place.out, "--quiet") as run:
        until(lambda: len(place.events("run")) == 2)
        (place.folder / "go").touch()
        assert run.wait(PATIENCE) in (0, 1)
    assert (place.folder / "starts").read_text().split() == ["a", "b", "c"]
    assert place.exits() == {"a": "0", "b": "", "c": "0"}  # whose child b was has died: its exit is not known
    first, second = place.events("run")
    assert first["run"] == second["run"]
    assert groups_of(first["run"]) == []
    assert place.summary()["restored"] is True
    assert any("b " in text for text in place.summary()["warnings"])


@pytest.mark.parametrize(
    "mechanism",
    [pytest.param("quota", marks=needs("quota")), pytest.param("affinity", marks=needs("affinity"))],
)
def test_two_survivors_are_waited_for_side_by_side_with_new_jobs(place: Place, mechanism: str) -> None:
    waits = "touch up-$KUBESPRINT_JOB; while [ ! -e go-$KUBESPRINT_JOB ]; do sleep 0.05; done; "
    jobs = {"first": ["true"], "a": counting("a", waits), "b": counting("b", waits)}
    jobs["c"] = counting("c", "sleep 0.3; ")
    place.documents(jobs, ENFORCE if mechanism == "quota" else WHOLE, slots=2)
    with place.start("--quiet", "--mechanism", mechanism) as run:
        until((place.folder / "up-a").exists)
        until((place.folder / "up-b").exists)
        run.kill()
    with place.start("--resume", place.out, "--quiet") as run:
        until(lambda: len(place.events("started")) == 5)  # both are there again, with their slots exchanged
        (place.folder / "go-a").touch()
        until(lambda: "c" in place.exits())  # in the slot that b came from
        time.sleep(0.2)
        assert "b" not in place.exits(), "a survivor was ended with the slot that it came from"
        (place.folder / "go-b").touch()
        assert run.wait(PATIENCE) == 1
    assert sorted((place.folder / "starts").read_text().split()) == ["a", "b", "c"]
    assert place.exits() == {"first": "0", "a": "", "b": "", "c": "0"}
    assert place.summary()["jobs"] == {"finished": 2, "failed": 0, "unknown": 2, "unfinished": 0}
    assert place.summary()["restored"] is True


@pytest.mark.parametrize(
    "policy", [pytest.param(ENFORCE, marks=needs("quota"), id="enforce"), pytest.param(None, id="observe")]
)
def test_a_daemon_of_a_job_that_died_with_its_run_holds_up_nobody(place: Place, policy: str | None) -> None:
    daemon = "setsid sh -c 'echo $$ >daemon; exec sleep 60' >/dev/null 2>&1 & "
    first = f"[ -e up ] && exit 0; {daemon} until [ -s daemon ]; do sleep 0.02; done; echo $$ >up; sleep 60"
    place.documents({"a": ["sh", "-c", first]}, policy)
    with place.start("--quiet") as run:
        until(lambda: (place.folder / "up").exists() and (place.folder / "up").read_text())
        run.kill()
        run.wait(PATIENCE)
    leader, stray = (int((place.folder / name).read_text()) for name in ("up", "daemon"))
    os.kill(leader, signal.SIGKILL)
    began = time.monotonic()
    done = place.run("--resume", place.out, "--quiet")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 30  # the daemon sleeps for a minute
    assert place.exits() == {"a": "0"}
    until(lambda: not Path(f"/proc/{stray}").exists() or "Z" in Path(f"/proc/{stray}/stat").read_text())


def test_a_live_run_cannot_be_resumed(place: Place) -> None:
    place.documents({"a": ["sh", "-c", "touch up; while [ ! -e go ]; do sleep 0.05; done"]})
    with place.start("--quiet") as run:
        until((place.folder / "up").exists)
        second = place.run("--resume", place.out)
        (place.folder / "go").touch()
        assert run.wait(PATIENCE) == 0
    assert second.returncode == 2
    assert "is live" in second.stderr
    assert len(place.events("run")) == 1


def test_an_end_that_was_told_counts_even_without_its_row(tmp_path: Path) -> None:
    (tmp_path / "inputs").mkdir()
    (tmp_path / "inputs" / "origin.json").write_text("{}")
    with EventLog(tmp_path / "events.jsonl") as log:
        log.append(0.0, "run", run="r", setting="always")
        log.append(0.5, "arrived", job="a", kind="k")
        log.append(1.0, "started", job="a")
        log.append(1.5, "sprint_started", job="a")
        log.append(2.5, "sprint_ended", job="a", seconds=1.0)
        log.append(3.0, "finished", job="a", exit=0, cpu_seconds=1.25)
    with JobTable(tmp_path / "jobs.csv"):
        pass
    folder = run_folder.reopen(tmp_path)
    folder.close()
    (row,) = read_jobs(tmp_path / "jobs.csv")
    assert (row.name, row.kind, row.exit, row.arrival, row.start, row.end) == ("a", "k", 0, 0.5, 1.0, 3.0)
    assert (row.cpu, row.sprint, row.sprint_start) == (1.25, 1.0, 1.5)
    assert run_folder.earlier_part(tmp_path).records == (row,)


# --- the keeper and its journal ---------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize(
    "mechanism",
    [pytest.param("quota", marks=needs("quota")), pytest.param("affinity", marks=needs("affinity"))],
)
def test_without_its_keeper_a_run_goes_on_at_full_speed(place: Place, mechanism: str, how: int) -> None:
    show = "import os; print(open('/proc/self/cgroup').read(), len(os.sched_getaffinity(0)))"
    waits = f"import os, time; open('up', 'w')\nwhile not os.path.exists('go'): time.sleep(0.05)\n{show}"
    jobs = {"a": [sys.executable, "-c", waits], "b": [sys.executable, "-c", show]}
    place.documents(jobs, ENFORCE if mechanism == "quota" else WHOLE)
    with place.start("--quiet", "--mechanism", mechanism) as run:
        until((place.folder / "up").exists)
        name = place.events("run")[0]["run"]
        os.kill(keeper_of(run.pid), how)
        until(lambda: place.events("warning") and not groups_of(name))
        (place.folder / "go").touch()
        assert run.wait(PATIENCE) == 0
    plain = f"{Path('/proc/self/cgroup').read_text()} {len(os.sched_getaffinity(0))}\n"
    for job in ("a", "b"):
        assert (place.out / "jobs" / f"{job}.log").read_text() == plain
    assert any("NoKeeper" in text for text in place.summary()["warnings"])
    assert place.summary()["restored"] is True


@pytest.mark.parametrize("mechanism", [pytest.param("quota", marks=needs("quota"))])
def test_the_next_run_waits_for_a_keeper_that_still_restores(place: Place, mechanism: str) -> None:
    waits = "touch up; while [ ! -e go ]; do sleep 0.05; done"
    place.documents({"a": ["sh", "-c", waits]}, ENFORCE)
    with place.start("--quiet") as run:
        until((place.folder / "up").exists)
        live = place.run("--out", place.folder / "other")  # refused at once: the holder is live
        keeper = keeper_of(run.pid)
        os.kill(keeper, signal.SIGSTOP)
        run.kill()
        run.wait(PATIENCE)
    assert live.returncode == 2
    assert f"process {run.pid}) is live" in live.stderr
    assert len(live.stderr.splitlines()) == 1
    try:
        resumed = subprocess.Popen(
            place.command("--resume", place.out, "--quiet"),
            cwd=place.folder,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert resumed.stderr is not None
        said = resumed.stderr.readline()
    finally:
        os.kill(keeper, signal.SIGCONT)
    with resumed:
        until(lambda: len(place.events("run")) == 2)
        (place.folder / "go").touch()
        assert resumed.wait(PATIENCE) == 1  # nobody knows the outcome of a
    assert "waiting 30 s at most" in said
    assert "its keeper still restores" in said
    assert place.exits() == {"a": ""}
    assert place.summary()["jobs"] == {"finished": 0, "failed": 0, "unknown": 1, "unfinished": 0}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "state"
    disk.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("mechanism", [pytest.param("quota", marks=needs("quota"))])
def test_a_journal_that_fills_up_ends_the_sprints_not_the_jobs(
    place: Place, small_disk: Path, mechanism: str
) -> None:
    fill = f"cat /dev/zero >{small_disk}/fill 2>/dev/null; touch up; while [ ! -e go ]; do sleep 0.05; done"
    place.documents({"a": ["sh", "-c", fill], "b": [sys.executable, "-c", BUSY]}, ENFORCE)
    with place.start("--quiet") as run:
        until((place.folder / "up").exists)
        until(lambda: any("JournalUnwritable" in e["text"] for e in place.events("warning")))
        told = time.monotonic()
        until(lambda: len(place.events("sprint_started")) == len(place.events("sprint_ended")))
        assert time.monotonic() - told < 30
        sprints = len(place.events("sprint_started"))
        (place.folder / "go").touch()
        assert run.wait(PATIENCE) == 0
    assert place.exits() == {"a": "0", "b": "0"}
    assert len(place.events("sprint_started")) == sprints
    assert any("JournalUnwritable" in text for text in place.summary()["warnings"])
    assert place.summary()["restored"] is True
    assert groups_of(place.events("run")[0]["run"]) == []


# --- whole cores ------------------------------------------------------------------------------------

WATCH = """
import os, time
begun, seen = time.monotonic(), set()
while time.monotonic() - begun < 20 and len(seen) < 2:
    seen.add(len(os.sched_getaffinity(0)))
    time.sleep(0.01)
print(sorted(seen), os.environ['OMP_NUM_THREADS'], os.environ['OMP_WAIT_POLICY'])
"""


@pytest.mark.parametrize(
    "mechanism",
    [pytest.param("affinity", marks=needs("affinity")), pytest.param("cpuset", marks=needs("cpuset"))],
)
def test_whole_cores_come_and_go(place: Place, mechanism: str) -> None:
    place.documents({"a": [sys.executable, "-c", WATCH]}, WHOLE.replace("after: 0s", "after: 500ms"))
    environment = {n: v for n, v in os.environ.items() if "OMP" not in n}
    done = place.run("--quiet", "--mechanism", mechanism, "--bucket", "full", env=environment)
    assert done.returncode == 0, done.stderr
    assert (place.out / "jobs" / "a.log").read_text() == "[1, 2] 2 PASSIVE\n"
    assert place.summary()["sprint_seconds"] > 0
    assert place.summary()["restored"] is True
    assert groups_of(place.events("run")[0]["run"]) == []


@pytest.mark.parametrize(
    "mechanism",
    [pytest.param("affinity", marks=needs("affinity")), pytest.param("cpuset", marks=needs("cpuset"))],
)
def test_threads_that_would_spin_are_refused(place: Place, mechanism: str) -> None:
    place.documents({"spinner": ["true"]}, WHOLE, env={"OMP_WAIT_POLICY": "ACTIVE"})
    done = place.run("--mechanism", mechanism)
    assert done.returncode == 2
    for part in ('"spinner"', "OMP_WAIT_POLICY=ACTIVE", "PASSIVE", "quota"):
        assert part in done.stderr
    assert not place.out.exists()
    assert not place.state.exists()


@pytest.mark.parametrize(
    "mechanism",
    [pytest.param("affinity", marks=needs("affinity")), pytest.param("quota", marks=needs("quota"))],
)
def test_a_slot_is_empty_before_its_next_job(place: Place, mechanism: str) -> None:
    stray = (
        "setsid sh -c 'echo $$ >pid; exec sleep 60' >/dev/null 2>&1 & until [ -s pid ]; do sleep 0.02; done"
    )
    look = "read -r pid name state rest 2>/dev/null </proc/$(cat pid)/stat; echo ${state:-gone}"
    place.documents(
        {"a": ["sh", "-c", stray], "b": ["sh", "-c", look]}, ENFORCE if mechanism == "quota" else WHOLE
    )
    done = place.run("--quiet", "--mechanism", mechanism)
    assert done.returncode == 0, done.stderr
    assert (place.out / "jobs" / "b.log").read_text() in ("gone\n", "Z\n", "X\n")
