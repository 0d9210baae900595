"""The judge of the kill proof is judged: what was wrongly killed or left behind does not escape it."""

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from system.kill_scene import MARK, OWN, Process, Scene, started


class Staged(Scene):
    """A scene whose processes are the test's own."""

    def act(self, environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(["sleep", "60"], env=dict(environment), start_new_session=True)
        STARTED.append(process)
        return process

    def say(self, event: str, job: str, process: "subprocess.Popen[bytes]") -> None:
        with (self.folder / "diary").open("a") as diary:
            print(event, job, process.pid, file=diary)

    def job(self) -> "tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]":
        """A leader and its daemon."""
        leader, daemon = (self.act({MARK: str(self.folder)}) for _ in range(2))
        self.say("start", "a", leader)
        self.say("began", "a", daemon)
        return leader, daemon


STARTED: "list[subprocess.Popen[bytes]]" = []


def end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Staged]:
    yield Staged(tmp_path / "scene", lambda: None)
    while STARTED:
        end(STARTED.pop())


def over(scene: Staged, leader: "subprocess.Popen[bytes]") -> None:
    scene.say("end", "a", leader)
    end(leader)


def test_who_lives_or_has_said_its_end_was_not_killed(scene: Staged) -> None:
    leader, daemon = scene.job()
    scene.witness()
    assert scene.killed() == []
    over(scene, leader)
    scene.say("end", "a", daemon)
    end(daemon)
    assert scene.killed() == []


@pytest.mark.parametrize("entitled", [False, True])
def test_a_daemon_of_a_finished_job_may_be_ended_by_an_entitled_run_only(
    scene: Staged, entitled: bool
) -> None:
    leader, daemon = scene.job()
    over(scene, leader)
    scene.witness()
    scene.entitled = entitled
    end(daemon)
    assert len(scene.killed()) == (0 if entitled else 1)


def test_the_engine_may_have_ended_a_daemon_before_it_died(scene: Staged) -> None:
    leader, daemon = scene.job()
    over(scene, leader)
    end(daemon)
    scene.witness()
    assert scene.killed() == []


@pytest.mark.parametrize("entitled", [False, True])
def test_nobody_may_end_a_job_that_is_not_over(scene: Staged, entitled: bool) -> None:
    leader, daemon = scene.job()
    scene.witness()
    scene.entitled = entitled
    end(daemon)
    assert scene.killed() == [f"process {daemon.pid} of job a was killed"]
    end(leader)
    assert len(scene.killed()) == 2


def test_what_the_proof_itself_ended_is_not_held_against_the_run(scene: Staged) -> None:
    leader, daemon = scene.job()
    scene.witness()
    for process in (leader, daemon):
        scene.ended.add(process.pid)
        end(process)
    assert scene.killed() == []


def test_a_process_of_kubesprint_that_goes_on_is_told_and_jobs_are_not_taken_for_it(scene: Staged) -> None:
    scene.act({MARK: str(scene.folder), OWN: str(scene.folder)})
    assert scene.idle(0.1) == []
    idle = scene.act({OWN: str(scene.folder)})
    assert scene.helpers() == {Process(idle.pid, started(idle.pid))}
    (told,) = scene.idle(0.1)
    assert "sleep 60" in told
