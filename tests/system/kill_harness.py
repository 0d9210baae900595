"""Kills real runs with SIGKILL at random instants, and looks whether anything is left. Needs root and quotas.

    python -m system.kill_harness whole FOLDER RESULTS     a queue under `never` and `always`
    python -m system.kill_harness silence FOLDER RESULTS   an engine that is stopped
    python -m system.kill_harness kills FOLDER RESULTS COUNT SEED

They write whole.json, silence.json, and kills.jsonl with a line for each kill.
The same program runs on this machine and in the guest. A seed repeats all choices; the instant that a choice
meets depends on the machine.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kernel import forkserver
from system.kill_scene import QUEUE, Job, Process, Scene, started, wait_for

VICTIMS = ("engine", "engine", "keeper", "both", "both", "keeper, then engine")
RECOVERIES = ("wait", "restore", "next", "resume", "adopt")
TRIES = 20  # for one kill: an instant may turn out to lie behind the end of the run


@dataclass(frozen=True, slots=True)
class Choice:
    """What the dice say about one kill."""

    victims: str
    stop: float  # seconds between SIGSTOP and SIGKILL; 0: no SIGSTOP
    recovery: str
    lease: str
    instant: float  # as a share of a whole run
    pause: float  # seconds between two victims that are killed one after the other


@dataclass
class Kill:
    """One kill, and what came of it."""

    choice: Choice
    at: float = 0.0  # seconds after the start of the run
    sprinting: bool = False
    survivors: int = 0
    recovered_by: str = ""
    problems: list[str] = field(default_factory=list)


def choose(dice: random.Random) -> Choice:
    """Roll the dice for one kill."""
    return Choice(
        victims=dice.choice(VICTIMS),
        stop=dice.choice((0.0, 0.0, 0.0, dice.uniform(0.01, 1.5))),
        recovery=dice.choice(RECOVERIES),
        lease=dice.choice(("1s", "2s")),
        instant=dice.random(),
        pause=dice.uniform(0.0, 0.2),
    )


def strike(scene: Scene, engine: int, choice: Choice) -> bool:
    """Kill the victims. False: none of them was there."""
    us = Process(engine, started(engine))
    if not us.start:
        return False
    keepers = [] if choice.victims == "engine" else list(scene.keepers())
    victims = [p.pid for p in keepers]
    if choice.victims != "keeper" or not victims:  # a run without a keeper yet has but one victim
        victims.append(engine)
    if choice.stop:
        for pid in victims:
            send(pid, signal.SIGSTOP)
        time.sleep(choice.stop)
    for pid in victims:
        send(pid, signal.SIGKILL)
        if choice.victims == "keeper, then engine" and pid != engine:
            time.sleep(choice.pause)
    scene.witness()
    scene.entitled = engine not in victims
    wait_for(lambda: not any(keeper.alive() for keeper in keepers), "a killed keeper is gone")
    return True


def send(pid: int, number: signal.Signals) -> None:
    """A signal to a process that may have ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


class Trial:
    """One run that is killed, and everything after."""

    def __init__(self, scene: Scene, kill: Kill) -> None:
        self.scene, self.kill = scene, kill

    def run(self, length: float) -> bool:
        """Kill a run of `length` seconds and check what is left. False: it had ended before the instant."""
        scene, choice = self.scene, self.kill.choice
        began = time.monotonic()
        engine = scene.start("out", QUEUE, lease=choice.lease)
        time.sleep(max(0.0, began + choice.instant * length - time.monotonic()))
        self.kill.at = round(time.monotonic() - began, 3)
        struck = strike(scene, engine, choice)
        self.kill.sprinting = "100000" in scene.quotas()
        status = scene.end(engine)
        if not struck or status not in (-signal.SIGKILL, 0, 1, 2) or (status == 0 and not self._spared()):
            scene.clean()
            return False
        self.kill.survivors = len(scene.jobs())
        if status == -signal.SIGKILL:
            self._recover()
        else:
            self._carried_on(status)
        self._check()
        return True

    def _spared(self) -> bool:
        return self.kill.choice.victims == "keeper"

    def _recover(self) -> None:
        scene = self.scene
        recovery = self.kill.choice.recovery
        if recovery == "wait" and not scene.keepers():
            recovery = "restore"
        self.kill.recovered_by = recovery
        ways: Mapping[str, Callable[[], None]] = {
            "wait": self._wait,
            "restore": self._restore,
            "next": self._next,
            "resume": self._resume,
            "adopt": self._resume,
        }
        ways[recovery]()

    def _carried_on(self, status: int) -> None:
        """Only the keeper was killed: the engine does without, and puts everything back itself."""
        self.kill.recovered_by = "the engine itself"
        if status == 0:
            self._expect(sorted(self.scene.finished("out")) == self._all(), "a job is not finished once")
        else:  # the keeper died before it had opened the slots
            self._expect(not self.scene.rows("out"), f"the engine ended with {status} after jobs had run")

    def _wait(self) -> None:
        wait_for(lambda: not self.scene.keepers(), "the keeper restores and ends")

    def _restore(self) -> None:
        status, said = self.scene.call("restore")
        self._expect(status == 0, f"restore ended with {status}: {said}")

    def _next(self) -> None:
        """The next run; while the old keeper still restores it is refused, and nothing else."""
        job = [Job("next", "plain", 0.05)]
        for number in range(200):
            status = self.scene.end(self.scene.start(f"next-{number}", job))
            if status != 2:
                break
            time.sleep(0.1)
        self._expect(status == 0, f"the next run ended with {status}")

    def _resume(self) -> None:
        """Finish the queue. Survivors are ended first, or are left to be waited for."""
        scene = self.scene
        self._wait()
        self._expect(not scene.killed(), "a job was killed before the resume")
        if self.kill.recovered_by == "resume":
            for process in scene.jobs():
                scene.kill(process)
        scene.entitled = True
        done, starts = set(scene.finished("out")), self._starts()
        begun = '"run"' in self._events()
        status, said = self._resumed()
        if not begun:  # nothing was started, so there is nothing to go on with
            self._expect(status == 2 and said.count("\n") == 1, f"resume ended with {status}: {said}")
            self._restore()
            return
        rows = scene.rows("out")
        unknown = {
            row["name"] for row in rows if row["exit"] == ""
        }  # of survivors: they were not its children
        self._expect(status in ((0, 1) if unknown else (0,)), f"resume ended with {status}: {said}")
        self._expect(sorted(row["name"] for row in rows) == self._all(), "a job has not exactly one row")
        counts = {
            name: max(1, starts.count(name)) for name in done | unknown
        }  # one may not have come to say it yet
        again = [name for name, count in counts.items() if self._starts().count(name) != count]
        self._expect(not again, f"jobs were started again: {again}")
        failed = [row["name"] for row in rows if row["exit"] not in ("0", "")]
        self._expect(not failed, f"jobs failed: {failed}")
        left = [process.pid for process in scene.jobs()]
        self._expect(not left, f"jobs left processes in the slots of the resumed run: {left}")

    def _resumed(self) -> tuple[int, str]:
        """Status and words of a resume; a job on its way to exec may hold the lock for a moment."""
        for _ in range(200):
            status, said = self.scene.call(
                "run", "--resume", str(self.scene.out("out")), "--quiet", "--bucket", "full"
            )
            if "still restores" not in said:
                break
            time.sleep(0.1)
        return status, said

    def _events(self) -> str:
        with suppress(OSError):
            return (self.scene.out("out") / "events.jsonl").read_text().rpartition("\n")[0]
        return ""

    def _starts(self) -> Sequence[str]:
        return [job for event, job, _ in self.scene.diary() if event == "start"]

    def _all(self) -> Sequence[str]:
        return sorted(job.name for job in QUEUE)

    def _check(self) -> None:
        scene = self.scene
        self.kill.problems += scene.problems()
        self.kill.problems += scene.strays()
        self.kill.problems += scene.idle()
        status, said = scene.call("restore")
        self._expect(status == 0, f"the second restore ended with {status}: {said}")
        self._expect(said.startswith("nothing to restore"), f"the second restore found something: {said}")
        self.kill.problems += scene.problems()
        self.kill.problems += scene.killed()

    def _expect(self, holds: bool, problem: str) -> None:
        if not holds:
            self.kill.problems.append(problem)


def kills(program: forkserver.Program, folder: Path, results: Path, count: int, seed: int) -> int:
    """So many kills; the number that left something."""
    length = whole_length(program, folder)
    failed = 0
    with (results / "kills.jsonl").open("a") as file:
        for number in range(count):
            kill = one_kill(program, folder / f"kill-{number}", f"{seed}/{number}", length)
            failed += bool(kill.problems)
            print(json.dumps({"number": number, **asdict(kill)}), file=file, flush=True)
            if kill.problems:
                print(f"seed {seed}, kill {number}: {kill}", flush=True)
    return failed


def whole_length(program: forkserver.Program, folder: Path) -> float:
    """Seconds that a run takes if nobody kills it."""
    scene = Scene(folder / "whole-run", program)
    began = time.monotonic()
    status = scene.end(scene.start("out", QUEUE))
    length = time.monotonic() - began
    assert status == 0, scene.log.read_text()
    left = [*scene.problems(), *scene.strays(), *scene.idle(), *(f"{job} is left" for job in scene.jobs())]
    assert not left, left
    scene.clean()
    return length


def one_kill(program: forkserver.Program, folder: Path, seed: str, length: float) -> Kill:
    """Try instants until one hits a run that is still there."""
    dice = random.Random(seed)
    for attempt in range(TRIES):
        kill = Kill(choose(dice))
        scene = Scene(folder / str(attempt), program)
        try:
            if Trial(scene, kill).run(length):
                return kill
        except (AssertionError, TimeoutError, OSError, ValueError):
            kill.problems.append(traceback.format_exc())
            return kill
        finally:
            scene.clean()
    raise AssertionError(f"no instant within {length:g} s met a run")


def cores(row: Mapping[str, str]) -> float:
    """CPU seconds a second that a job used while it ran."""
    return float(row["cpu_seconds"]) / (float(row["end_seconds"]) - float(row["start_seconds"]))


def whole(program: forkserver.Program, folder: Path, results: Path) -> int:
    """The same jobs at base and with sprints: cores that each used, what is left, and what doctor says."""
    answer: dict[str, object] = {}
    problems: list[str] = []
    for strategy in ("never", "always"):
        scene = Scene(folder / strategy, program)
        status = scene.end(
            scene.start("out", [Job("a", "plain", 1.5), Job("b", "plain", 1.5)], strategy=strategy)
        )
        answer[strategy] = [cores(row) for row in scene.rows("out")]
        problems += [f"{strategy} ended with {status}: {scene.log.read_text()}"] if status else []
        problems += [*scene.problems(), *scene.strays()]
        scene.clean()
    status, said = scene.call("doctor")
    answer |= {"doctor": status, "said": said, "problems": problems}
    (results / "whole.json").write_text(json.dumps(answer))
    return 0


def silence(program: forkserver.Program, folder: Path, results: Path) -> int:
    """Stop the engine in a sprint: seconds until every slot is at base."""
    scene = Scene(folder / "silence", program)
    engine = scene.start("out", [Job("a", "plain", 6.0), Job("b", "plain", 6.0)], lease="2s")
    try:
        wait_for(lambda: "100000" in scene.quotas(), "a sprint")
        began = time.monotonic()
        send(engine, signal.SIGSTOP)
        wait_for(lambda: set(scene.quotas()) == {"40000"}, "base")
        answer: dict[str, object] = {"lease": 2.0, "period": 1.0, "seconds": time.monotonic() - began}
        send(engine, signal.SIGKILL)
        scene.end(engine)
        wait_for(lambda: not scene.keepers(), "the keeper restores and ends")
        answer["problems"] = [*scene.problems(), *scene.strays()]
    finally:
        send(engine, signal.SIGKILL)
        scene.clean()
    (results / "silence.json").write_text(json.dumps(answer))
    return 0


def told(results: Path) -> Sequence[Mapping[str, Any]]:
    """What `kills` wrote, kill by kill."""
    file = results / "kills.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def main() -> int:
    """0: nothing was left behind, and everything was measured."""
    what, folder, results = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    program = forkserver.warm()
    if what == "kills":
        return 1 if kills(program, folder, results, int(sys.argv[4]), int(sys.argv[5])) else 0
    return {"whole": whole, "silence": silence}[what](program, folder, results)


if __name__ == "__main__":
    sys.exit(main())
