"""Whole runs whose sprints raise clocks, in the guest: watched from outside, killed, compared with before.

Prints `ok NAME` or `failed NAME` and the traceback, a check each; ends with status 1 if one failed. The
limits are not at the hardware's bounds before each run, so that "as found" is more than "released".
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import mkdtemp

from kernel import forkserver
from kernel.guest_checks import run_checks
from system.kill_scene import CPUFREQ, Job, Scene, text_of, wait_for

FOUND = {"policy0": ("1800000", "3000000"), "policy1": ("1400000", "2000000")}
BASE = {"policy0": "1800000", "policy1": "1400000"}  # 60 % of the highest, down to the next of the table
TOP = {"policy0": "3500000", "policy1": "2600000"}
PROGRAM = forkserver.warm()


def set_limits(limits: Mapping[str, tuple[str, str]]) -> None:
    """Lower and upper limit of each clock."""
    for name, (least, most) in limits.items():
        for file, text in (("scaling_max_freq", most), ("scaling_min_freq", least)):
            (CPUFREQ / name / file).write_text(text)
            wait_for(lambda f=file, n=name, t=text: text_of(CPUFREQ / n / f) == t, f"{name} takes {text}")


class Clocked:
    """One run of one long job."""

    def __init__(self, strategy: str = "always", seconds: float = 20.0) -> None:
        self.scene = Scene(Path(mkdtemp()) / "scene", PROGRAM)
        self.engine = self.scene.start("out", [Job("a", "plain", seconds)], strategy=strategy, lease="2s")

    def wait_for(self, clocks: Mapping[str, str], what: str) -> None:
        wait_for(lambda: self.scene.clocks() == clocks, f"{what}: {self.scene.clocks()}")

    def kill(self, *pids: int) -> None:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    def keeper(self) -> int:
        (keeper,) = self.scene.keepers()
        return keeper.pid

    def nothing_is_left(self) -> None:
        problems = [*self.scene.problems(), *self.scene.strays()]
        assert not problems, problems


def clocks_are_held_at_base_raised_in_sprints_and_put_back_at_the_end() -> None:
    """The files of the run tell of the clocks, and of a cost that counts every CPU that was raised."""
    run = Clocked(seconds=4.0)
    run.wait_for(TOP, "a sprint")
    assert run.scene.end(run.engine) == 0, run.scene.log.read_text()
    run.nothing_is_left()
    out = run.scene.out("out")
    head = json.loads((out / "events.jsonl").read_text().splitlines()[0])
    assert {name: str(clock["sprint_khz"]) for name, clock in head["clocks"].items()} == TOP
    summary = json.loads((out / "summary.json").read_text())
    rate = summary["granted_core_seconds"] / summary["sprint_seconds"]
    raised = sum(int(TOP[name]) / int(BASE[name]) - 1 for name in TOP)
    assert abs(rate - (1.0 - 0.4 + raised)) < 0.01, (rate, raised)
    assert summary["restored"] is True, summary


def without_a_sprint_the_clocks_stay_at_base() -> None:
    """`never`: base during the run, as found after it."""
    run = Clocked("never", seconds=3.0)
    run.wait_for(BASE, "base")
    assert run.scene.end(run.engine) == 0, run.scene.log.read_text()
    run.nothing_is_left()


def a_killed_engine_leaves_clocks_as_found() -> None:
    """The keeper restores and ends."""
    run = Clocked()
    run.wait_for(TOP, "a sprint")
    run.kill(run.engine)
    run.scene.end(run.engine)
    wait_for(lambda: not run.scene.keepers(), "the keeper restores and ends")
    run.nothing_is_left()
    run.scene.clean()


def a_killed_keeper_leaves_clocks_as_found_and_the_run_ends_well() -> None:
    """The engine restores at once and goes on without sprints."""
    run = Clocked(seconds=5.0)
    run.wait_for(TOP, "a sprint")
    run.kill(run.keeper())
    wait_for(lambda: not run.scene.problems(), "the engine restores")
    assert run.scene.end(run.engine) == 0, run.scene.log.read_text()
    run.nothing_is_left()


def both_killed_and_restored() -> None:
    """Clocks stay raised with nobody to lower them, until `kubesprint restore`."""
    run = Clocked()
    run.wait_for(TOP, "a sprint")
    run.kill(run.keeper(), run.engine)
    run.scene.end(run.engine)
    assert run.scene.clocks() == TOP
    status, said = run.scene.call("restore")
    assert status == 0, said
    run.nothing_is_left()
    assert run.scene.call("restore")[1].startswith("nothing to restore")
    run.scene.clean()


def a_stopped_engine_loses_its_clock_with_the_lease() -> None:
    """Nobody renews: base within the lease and a period, on the keeper's clock."""
    run = Clocked()
    run.wait_for(TOP, "a sprint")
    os.kill(run.engine, signal.SIGSTOP)
    run.wait_for(BASE, "base after the lease")
    run.kill(run.engine)
    run.scene.end(run.engine)
    wait_for(lambda: not run.scene.keepers(), "the keeper restores and ends")
    run.nothing_is_left()
    run.scene.clean()


CHECKS: tuple[Callable[[], None], ...] = (
    clocks_are_held_at_base_raised_in_sprints_and_put_back_at_the_end,
    without_a_sprint_the_clocks_stay_at_base,
    a_killed_engine_leaves_clocks_as_found,
    a_killed_keeper_leaves_clocks_as_found_and_the_run_ends_well,
    both_killed_and_restored,
    a_stopped_engine_loses_its_clock_with_the_lease,
)


def main() -> int:
    """Every check; 1 if one failed."""
    free = {
        p.name: tuple(text_of(p / f"cpuinfo_{end}_freq") or "" for end in ("min", "max"))
        for p in CPUFREQ.glob("policy*")
    }
    set_limits(FOUND)
    failed = run_checks(CHECKS)
    set_limits(free)  # type: ignore[arg-type]
    return failed


if __name__ == "__main__":
    sys.exit(main())
