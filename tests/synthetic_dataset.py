"""A dataset whose truth is known: the simulator, an inflation of sprinted work, drift and noise.

Jobs are drawn, served by `simulate_servers`, and written in the format of docs/dataset.md, so whatever
reads them can be held against the numbers that made them.
"""

import csv
import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubesprint.core.budget import RefillRule
from kubesprint.core.events import simulate_servers
from kubesprint.core.simulation import Present, SimJob, SprintRules, TriggerClock
from kubesprint.core.units import Seconds

HEADER = (
    "run,setting,kind,arrival_seconds,start_seconds,end_seconds,cpu_seconds,sprint_seconds,"
    "sprint_start_seconds,sprint_cpu_seconds"
)


@dataclass(frozen=True, slots=True)
class Truth:
    """One kind under one mechanism."""

    work: float  # CPU seconds at base
    speedup: float
    inflation: float = 1.0


QUOTA: dict[str, Any] = {"name": "q", "knob": "quota", "threads": 2, "base_cores": 0.5, "sprint_cores": 2.0}
CORES: dict[str, Any] = {"name": "c", "knob": "cores", "threads": 2, "base_cores": 1, "sprint_cores": 2}

KINDS: Mapping[str, Mapping[str, Truth]] = {
    "q": {"forest": Truth(1.2, 3.2, 1.05), "mlp": Truth(0.5, 2.2, 1.2), "svm": Truth(0.8, 2.8)},
    "c": {"forest": Truth(1.1, 1.7, 1.1), "mlp": Truth(0.6, 1.1, 1.3), "svm": Truth(0.9, 1.5)},
}


@dataclass(slots=True, kw_only=True)
class Synthetic:
    """What to make. Everything follows from the seed."""

    folder: Path
    seed: int = 1
    mechanisms: Sequence[dict[str, Any]] = (QUOTA, CORES)
    train: int = 6  # settings a mechanism
    test: int = 4
    repeats: int = 0  # of each test setting
    jobs: int = 40
    servers: Sequence[int] = (1, 2)
    size_noise: float = 0.0  # standard deviation of the logarithm of a job's size
    drift: float = 0.0  # the same of a run
    profile_runs: int = 2  # 0: no profile.csv
    never: bool = False  # every time-out
    settings: list[dict[str, Any]] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)

    def write(self) -> Path:
        """Make it and write it; the folder."""
        for mechanism in self.mechanisms:
            for index in range(self.train + self.test):
                split = "train" if index < self.train else "test"
                self._setting(mechanism, f"{mechanism['name']}-{split}-{index}", split)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_rows()
        lines = [json.dumps(setting) + "\n" for setting in self.settings]
        (self.folder / "settings.jsonl").write_text("".join(lines), encoding="utf-8")
        if self.profile_runs:
            self._write_profile()
        return self.folder

    def _setting(self, mechanism: dict[str, Any], name: str, split: str) -> None:
        dice = random.Random(f"{self.seed} {name}")
        kinds = KINDS[mechanism["name"]]
        servers = dice.choice(self.servers)
        wall = sum(kind.work for kind in kinds.values()) / len(kinds) / mechanism["base_cores"]
        gap = wall / servers / dice.uniform(0.5, 0.95)
        arrivals, at = [], 0.0
        for _ in range(self.jobs):
            at += dice.expovariate(1 / gap)
            arrivals.append(at)
        drawn = [dice.choice(sorted(kinds)) for _ in arrivals]
        rules = SprintRules(
            timeout=Seconds(math.inf if self.never else wall * dice.choice((0.0, 0.5, 1.0, 2.0))),
            clock=dice.choice(list(TriggerClock)),
            capacity=Seconds(wall * dice.uniform(1.0, 10.0)),
            refill=dice.uniform(0.02, 0.3),
            refill_rule=dice.choice(list(RefillRule)),
            hysteresis=Seconds(0.2),
        )
        for repeat in range(1 + (self.repeats if split == "test" else 0)):
            noise = random.Random(f"{self.seed} {name} {repeat}")
            self._run(mechanism, name, split, repeat, servers, rules, arrivals, drawn, noise)

    def _run(
        self,
        mechanism: dict[str, Any],
        name: str,
        split: str,
        repeat: int,
        servers: int,
        rules: SprintRules,
        arrivals: Sequence[float],
        drawn: Sequence[str],
        noise: random.Random,
    ) -> None:
        kinds, base = KINDS[mechanism["name"]], float(mechanism["base_cores"])
        drift = math.exp(noise.gauss(0.0, self.drift))
        sizes = [kinds[kind].work * drift * math.exp(noise.gauss(0.0, self.size_noise)) for kind in drawn]
        jobs = [
            SimJob(arrival=Seconds(arrival), work=Seconds(size / base), rate=kinds[kind].speedup)
            for arrival, size, kind in zip(arrivals, sizes, drawn, strict=True)
        ]
        outcomes = simulate_servers(jobs, rules, servers, Present())
        run = f"{name}-r{repeat}"
        for job, outcome, size, kind in zip(jobs, outcomes, sizes, drawn, strict=True):
            share = min(1.0, outcome.sprint * job.rate / job.work)
            sprint_cpu = size * share * kinds[kind].inflation
            first = "" if outcome.sprint_start is None else outcome.sprint_start
            cells = [run, name, kind, job.arrival, outcome.start, outcome.end]
            self.rows.append([*cells, size * (1 - share) + sprint_cpu, outcome.sprint, first, sprint_cpu])
        self.settings.append(
            {
                "run": run,
                "setting": name,
                "split": split,
                "mechanism": mechanism,
                "servers": servers,
                "timeout_seconds": None if math.isinf(rules.timeout) else rules.timeout,
                "clock": rules.clock.value.lower(),
                "capacity_sprint_seconds": rules.capacity,
                "refill_per_second": rules.refill,
                "refill_rule": rules.refill_rule.value.lower(),
                "hysteresis_sprint_seconds": rules.hysteresis,
                "duration_seconds": max(outcome.end for outcome in outcomes),
                "arrivals": "poisson",
                "repeat": repeat,
            }
        )

    def _write_rows(self) -> None:
        with (self.folder / "jobs.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(HEADER.split(","))
            table.writerows(self.rows)

    def _write_profile(self) -> None:
        dice = random.Random(f"{self.seed} profile")
        with (self.folder / "profile.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["mechanism", "kind", "allocation", "wall_seconds", "cpu_seconds"])
            for mechanism in self.mechanisms:
                for kind, truth in KINDS[mechanism["name"]].items():
                    for _ in range(self.profile_runs):
                        size = truth.work * math.exp(dice.gauss(0.0, self.size_noise))
                        wall = size / mechanism["base_cores"]
                        table.writerow([mechanism["name"], kind, "base", wall, size])
                        fast, used = wall / truth.speedup, size * truth.inflation
                        table.writerow([mechanism["name"], kind, "sprint", fast, used])
