"""Jobs of a killed run: whose leader lives is waited for, and what the others have left is ended."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from kubesprint.adapters.linux import adopted
from kubesprint.adapters.linux.adopted import AdoptedJob, adopt_survivors
from kubesprint.adapters.linux.processes import RUN_MARK, Stat, snapshot
from kubesprint.adapters.linux.pseudofs import PseudoFs

MARK = "TEST_JOB"
FS = PseudoFs()
# A daemon that leads a session of its own, and a child in the session of the job; then wait, or end.
JOB = """
import os, sys, time
for leads in (True, False):
    if os.fork() == 0:
        if leads:
            os.setsid()
        time.sleep(60)
open(sys.argv[1], "w").close()
time.sleep(float(sys.argv[2]))
"""


def until(fact: Callable[[], object]) -> None:
    patience = time.monotonic() + 30
    while not fact():
        assert time.monotonic() < patience, "waited in vain"
        time.sleep(0.01)


class Jobs:
    """Starts jobs of one run, and knows all their processes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.run = folder, f"adopted-{os.getpid()}-{time.monotonic_ns()}"
        self.leaders: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, seconds: float = 60.0, part: str = "") -> int:
        ready = self.folder / name
        leader = subprocess.Popen(
            [sys.executable, "-S", "-c", JOB, str(ready), str(seconds)],
            env={**os.environ, RUN_MARK: self.run + part, MARK: name},
            start_new_session=True,
        )
        self.leaders[name] = leader
        until(ready.exists)
        return leader.pid

    def living(self, name: str) -> list[Stat]:
        return list(adopted._processes(FS, self.run, MARK).get(name, ()))

    def adopt(
        self, pids: Mapping[str, int] | None = None, *, over: Collection[str] = (), sweep: bool = True
    ) -> Mapping[str, AdoptedJob]:
        return adopt_survivors(FS, self.run, MARK, pids=pids or {}, over=over, sweep=sweep)

    def end(self) -> None:
        for stats in adopted._processes(FS, self.run, MARK).values():
            for stat in stats:
                with suppress(ProcessLookupError):
                    os.kill(stat.pid, signal.SIGKILL)
        for leader in self.leaders.values():
            leader.wait(30)


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    started = Jobs(tmp_path)
    yield started
    started.end()


@pytest.mark.parametrize("told", [True, False])
def test_a_job_whose_leader_lives_is_adopted_with_everything_it_has(jobs: Jobs, told: bool) -> None:
    pid = jobs.start("a")
    found = jobs.adopt({"a": pid} if told else {})
    assert {name: job.pid for name, job in found.items()} == {"a": pid}
    assert found["a"].poll() is None
    assert len(jobs.living("a")) == 3


def test_its_daemons_do_not_outlive_it(jobs: Jobs) -> None:
    jobs.start("a")
    job = jobs.adopt()["a"]
    jobs.leaders["a"].kill()
    until(lambda: job.poll() is not None)
    assert job.poll() == adopted.Exit(code=None, cpu=None)
    until(lambda: jobs.living("a") == [])


def test_where_jobs_start_plainly_a_daemon_of_its_own_session_is_left_alone(jobs: Jobs) -> None:
    jobs.start("a")
    job = jobs.adopt(sweep=False)["a"]
    jobs.leaders["a"].kill()
    until(lambda: job.poll() is not None)
    until(lambda: len(jobs.living("a")) == 1)
    (daemon,) = jobs.living("a")
    assert daemon.session == daemon.pid
    assert not jobs.adopt(over={"a"}, sweep=False)
    assert jobs.living("a") == [daemon]


@pytest.mark.parametrize("sweep", [True, False])
def test_a_daemon_whose_leader_is_gone_blocks_nobody(jobs: Jobs, sweep: bool) -> None:
    pid = jobs.start("a")
    jobs.leaders["a"].kill()
    jobs.leaders["a"].wait(30)
    assert len(jobs.living("a")) == 2
    assert not jobs.adopt({"a": pid}, sweep=sweep)  # the job is to run again
    assert jobs.living("a") == []


def test_of_a_job_that_is_over_only_a_slot_is_swept(jobs: Jobs) -> None:
    jobs.start("a", seconds=0.0)
    jobs.leaders["a"].wait(30)
    assert not jobs.adopt(over={"a"}, sweep=True)
    assert jobs.living("a") == []


@pytest.mark.parametrize(("part", "ours"), [("-2", True), ("-12", True), ("-x", False), ("2", False)])
def test_jobs_of_every_part_of_a_run_are_found(jobs: Jobs, part: str, ours: bool) -> None:
    jobs.start("a", part=part)
    try:
        assert set(jobs.adopt()) == ({"a"} if ours else set())
    finally:
        jobs.run += part  # to find it in the end


def test_processes_of_other_runs_are_not_touched(jobs: Jobs, tmp_path: Path) -> None:
    jobs.start("a")
    assert not adopt_survivors(FS, "another-run", MARK, pids={}, over=(), sweep=True)
    assert len(jobs.living("a")) == 3


def test_signals_reach_the_session_of_the_job(jobs: Jobs) -> None:
    jobs.start("a")
    job = jobs.adopt()["a"]
    job.terminate()
    until(lambda: job.poll() is not None)
    assert -jobs.leaders["a"].wait(30) == signal.SIGTERM
    job.kill()  # nobody is left, and nothing happens


def test_a_leader_that_ended_before_it_was_asked_for_is_over(jobs: Jobs) -> None:
    jobs.start("a")
    job = jobs.adopt()["a"]
    jobs.leaders["a"].kill()
    jobs.leaders["a"].wait(30)
    until(lambda: job.poll() is not None)
    assert job.poll() == adopted.Exit(code=None, cpu=None)


def test_one_look_at_all_processes_is_enough(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[None] = []

    def counted(fs: PseudoFs) -> Mapping[int, Stat]:
        looks.append(None)
        return snapshot(fs)

    monkeypatch.setattr(adopted, "snapshot", counted)
    for name in "abc":
        jobs.start(name)
    found = jobs.adopt()
    assert set(found) == {"a", "b", "c"}
    assert all(job.poll() is None for job in found.values())
    assert len(looks) == 1
