"""Run folders as a real run writes them, from a small made-up queue, for tests of what reads them."""

import math
import random
from collections.abc import Sequence
from pathlib import Path

from kubesprint.adapters.files.results import EVENTS, JOBS, SUMMARY, EventLog, JobTable
from kubesprint.adapters.files.summary import summarise, write_summary
from kubesprint.core.records import JobRecord
from kubesprint.core.units import CoreSeconds, Seconds

KINDS = ("forest", "boosting", "k-means", "svm", "mlp")
BASE, SPRINT = 0.4, 1.0

MACHINE = {
    "cpu": "Example CPU @ 2.40GHz",
    "cores": 2,
    "memory_bytes": 24 * 2**30,
    "kernel": "6.1.0-test",
    "cgroup": "v2",
    "architecture": "x86_64",
}


def a_run_event(**changes: object) -> dict[str, object]:
    """The fields of a `run` event."""
    return {
        "run": "run-1",
        "setting": "timeout-6",
        "strategy": "timeout",
        "mode": "Enforce",
        "policy": "demo",
        "clock": "Arrival",
        "slots": 1,
        "mechanism": "quota",
        "base": {"cores": BASE, "clock": 1.0},
        "sprint": {"cores": SPRINT, "clock": 1.0},
        "budget": {
            "capacity_core_seconds": 12.0,
            "refill_cores": 0.1,
            "while_sprinting": "Paused",
            "hysteresis_seconds": 0.2,
        },
        "machine": MACHINE,
        **changes,
    }


def a_record(**changes: object) -> JobRecord:
    """A job that waited 1 s, ran 4 s and sprinted 2 s of them."""
    values: dict[str, object] = {
        "run": "run-1",
        "setting": "timeout-6",
        "kind": "forest",
        "arrival": Seconds(1.0),
        "start": Seconds(2.0),
        "end": Seconds(6.0),
        "cpu": CoreSeconds(2.8),
        "sprint": Seconds(2.0),
        "sprint_start": Seconds(4.0),
        "sprint_cpu": CoreSeconds(2.0),
        "name": "forest-1",
        "exit": 0,
        "predicted_response": Seconds(4.5),
    }
    return JobRecord(**{**values, **changes})  # type: ignore[arg-type]


class RunFolder:
    """Writes one run folder: first come, first served; a job sprints `timeout` after its arrival."""

    def __init__(
        self, folder: Path, *, run: str = "run-1", setting: str = "timeout-6", timeout: float = 6.0
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.run, self.setting, self.timeout = folder, run, setting, timeout
        self.events: list[tuple[float, str, dict[str, object]]] = []
        self.records: list[JobRecord] = []
        self.level, self.level_at = 12.0, 0.0

    def add(self, at: float, type_: str, **fields: object) -> None:
        self.events.append((at, type_, fields))

    def queue(
        self,
        count: int,
        *,
        seed: int = 1,
        slots: int = 1,
        failing: Sequence[int] = (),
        deadlines: bool = False,
    ) -> "RunFolder":
        """Run `count` jobs."""
        dice = random.Random(seed)
        strategy = {0.0: "always", math.inf: "never"}.get(self.timeout, "timeout")
        event = a_run_event(run=self.run, setting=self.setting, strategy=strategy, slots=slots)
        self.add(0.0, "run", **event)
        self._trigger()
        free, arrival = [0.0] * slots, 0.0
        for index in range(count):
            arrival += dice.expovariate(0.30 * slots)
            work = dice.lognormvariate(0.7, 0.35)
            slot = min(range(slots), key=free.__getitem__)
            kind = KINDS[index % len(KINDS)]
            name = f"{kind}-{index + 1}"
            deadline = {"deadline_seconds": 14.0} if deadlines and index % 2 else {}
            self.add(arrival, "arrived", job=name, kind=kind, **deadline)
            exit_code = 1 if index in failing else 0
            free[slot] = self._run(name, kind, arrival, max(arrival, free[slot]), work, slot, exit_code, dice)
        self.add(max(free), "ended", status="finished")
        return self

    def _trigger(self) -> None:
        curve = [[float(t), 9.0 + (t - 6.0) ** 2 / 12.0 + math.sin(t) / 4] for t in range(21)]
        self.add(
            0.0,
            "trigger",
            after_seconds=self.timeout,
            basis="WhiteBox",
            curve=[*curve, [math.inf, 24.0]],
            sentence=f"A timeout of {self.timeout:g} s gives the shortest predicted mean response.",
        )

    def _run(
        self,
        name: str,
        kind: str,
        arrival: float,
        start: float,
        work: float,
        slot: int,
        code: int,
        dice: random.Random,
    ) -> float:
        trigger = arrival + self.timeout
        predicted = dice.lognormvariate(math.log(max(1.0, start - arrival + work / BASE * 0.7)), 0.12)
        self.add(
            start,
            "started",
            job=name,
            slot=f"slot-{slot}",
            pid=4000 + len(self.records),
            predicted_response_seconds=predicted,
            interval=[predicted * 0.8, predicted * 1.3],
        )
        self._decide(
            start, name, "Hold", "BeforeTrigger", f"{name} waits for its trigger at {trigger:.1f} s."
        )
        end, begin, length = start + work / BASE, max(start, trigger), 0.0
        if begin < end:
            self._refill(begin)
            rate = SPRINT - BASE
            length = min((work - BASE * (begin - start)) / SPRINT, self.level / rate)
        if length > 0.2:
            end = begin + length + max(0.0, work - BASE * (begin - start) - SPRINT * length) / BASE
            self._sprint(name, begin, length, slot, emptied=end > begin + length + 1e-9)
        else:
            length = 0.0
        response = end - arrival
        self.add(end, "finished", job=name, exit=code, response_seconds=response, cpu_seconds=work)
        record = a_record(
            run=self.run,
            setting=self.setting,
            kind=kind,
            name=name,
            arrival=Seconds(arrival),
            start=Seconds(start),
            end=Seconds(end),
            cpu=CoreSeconds(work),
            sprint=Seconds(length),
            sprint_start=Seconds(begin) if length else None,
            sprint_cpu=CoreSeconds(length * SPRINT),
            exit=code,
            predicted_response=Seconds(predicted),
        )
        self.records.append(record)
        return end

    def _sprint(self, name: str, begin: float, length: float, slot: int, *, emptied: bool) -> None:
        cost, grant = (SPRINT - BASE) * length, f"g{len(self.records)}"
        self._decide(
            begin,
            name,
            "Sprint",
            "TriggerReached",
            f"{name} sprints: its trigger passed and the budget allows it.",
        )
        self.add(begin, "sprint_started", job=name, grant=grant, slot=f"slot-{slot}")
        reason = "BudgetExhausted" if emptied else "Finished"
        self.level -= cost
        self.level_at = begin + length
        self.add(
            begin + length,
            "sprint_ended",
            job=name,
            grant=grant,
            seconds=length,
            core_seconds=cost,
            reason=reason,
        )
        self.add(
            begin + length,
            "budget",
            level_core_seconds=self.level,
            reserved_core_seconds=0.0,
            debt_core_seconds=0.0,
        )
        if emptied:
            sentence = f"{name} returns to base: the budget is empty."
            self._decide(begin + length, name, "Release", "BudgetExhausted", sentence)

    def _decide(self, at: float, name: str, verb: str, reason: str, sentence: str) -> None:
        inputs = {"level_core_seconds": self.level, "trigger_seconds": self.timeout, "trust": "Trusted"}
        self.add(at, "decision", job=name, verb=verb, reason=reason, sentence=sentence, inputs=inputs)

    def _refill(self, at: float) -> None:
        self.level = min(12.0, self.level + 0.1 * max(0.0, at - self.level_at))
        self.level_at = max(at, self.level_at)
        self.add(
            at, "budget", level_core_seconds=self.level, reserved_core_seconds=0.0, debt_core_seconds=0.0
        )

    def write(self, *, summary: bool = True) -> Path:
        """Put the files there; the folder."""
        with EventLog(self.folder / EVENTS) as log:
            for at, type_, fields in sorted(self.events, key=lambda event: event[0]):
                log.append(at, type_, **fields)
        with JobTable(self.folder / JOBS) as table:
            for record in self.records:
                table.append(record)
        if summary:
            written = summarise(
                self.records,
                run=self.run,
                setting=self.setting,
                status="finished",
                granted=CoreSeconds(math.fsum(0.6 * record.sprint for record in self.records)),
                budget=a_run_event()["budget"],  # type: ignore[arg-type]
                machine=MACHINE,
                seeds={"queue": 1},
                load={"start": 0.3, "end": 1.2},
                restored=True,
            )
            write_summary(self.folder / SUMMARY, written)
        return self.folder
