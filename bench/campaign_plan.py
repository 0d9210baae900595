"""What the campaign measures: mechanisms, settings, jobs, and the order of the runs. Arithmetic only.

The levels of each factor are spread evenly over the settings and shuffled against one another by a
seed. Held-out settings have levels of their own, between those of the training settings.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from kubesprint.apps.demo.plan import API_VERSION

LABELS = {"app": "kubesprint-campaign"}
HYSTERESIS = 0.2  # sprint seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """One mechanism: a CPU quota, and as many threads in each job."""

    name: str  # short, in the names of settings
    base_cores: float
    sprint_cores: float
    threads: int


MEANS = (
    Means(name="q1", base_cores=0.4, sprint_cores=1.0, threads=1),
    Means(name="q2", base_cores=0.6, sprint_cores=2.0, threads=2),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How much is measured."""

    train: int  # settings of each mechanism
    test: int
    test_runs: int  # of each held-out setting
    seconds: float  # over which the jobs of a run arrive
    blocks: int  # of the profile: before the runs, between them, after them
    rounds: int  # of each kind at both speeds in a block
    kinds: tuple[str, ...]
    scale: float = 1.0  # of the training in a job


class Levels(NamedTuple):
    """The levels of each factor, as many as there are settings; times in mean services at base speed."""

    timeout: Sequence[float | None]  # None: never
    capacity: Sequence[float]
    refill: Sequence[float]  # sprint seconds per second
    load: Sequence[float]  # of the server, at base speed
    start_clock: int  # every how many settings counts from the start of a job
    bursty: int  # every how many settings has its jobs come in bursts


TRAIN = Levels(
    timeout=(0.0, 0.15, 0.3, 0.5, 0.7, 0.9, 1.2, 1.6, 2.0, 2.6, 3.4, None),
    capacity=(1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0),
    refill=(0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.15, 0.18, 0.22, 0.26, 0.3),
    load=(0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.78, 0.82, 0.85, 0.88, 0.92, 0.95),
    start_clock=3,
    bursty=2,
)
TEST = Levels(
    timeout=(0.08, 0.22, 0.4, 0.6, 0.8, 1.05, 1.4, 1.8),
    capacity=(1.25, 1.75, 2.25, 3.5, 4.5, 5.5, 7.5, 9.0),
    refill=(0.01, 0.05, 0.07, 0.09, 0.13, 0.16, 0.2, 0.24),
    load=(0.53, 0.62, 0.68, 0.73, 0.77, 0.81, 0.87, 0.93),
    start_clock=4,
    bursty=2,
)
START_SHARE = 0.25
"""Time-outs that count from the start of a job are shorter by this, or few jobs would reach them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting, in seconds."""

    name: str
    means: str
    split: str
    timeout: float | None
    clock: str  # Arrival or Start
    capacity: float  # sprint seconds
    refill: float
    rule: str  # Paused or Continuous
    load: float
    arrivals: str  # poisson or bursty
    seed: int  # of arrivals, kinds and training

    @property
    def strategy(self) -> str:
        """As `kubesprint run --strategy` takes it."""
        if self.timeout is None:
            return "never"
        return f"timeout:{self.timeout:.2f}s" if self.timeout > 0 else "always"


class Step(NamedTuple):
    """One run, or one block of the profile."""

    name: str
    setting: str  # of a run; of a block: its mechanism
    is_profile: bool


class Job(NamedTuple):
    """One job of a run."""

    name: str
    kind: str
    arrival: float
    seed: int


def settings_of(means: Means, shape: Shape, service: float, seed: int) -> list[Setting]:
    """Training settings, then held-out ones; `service` is the mean wall time of a job at base, in seconds."""
    found = []
    for split, levels, count in (("train", TRAIN, shape.train), ("test", TEST, shape.test)):
        dice = random.Random(f"{seed}/{means.name}/{split}")
        columns = {
            name: _shuffled(getattr(levels, name), count, dice)
            for name in ("timeout", "capacity", "refill", "load")
        }
        flags = list(range(count))
        clocks, bursts, rules = (_shuffled(flags, count, dice) for _ in range(3))
        for number in range(count):
            start = clocks[number] % levels.start_clock == 0
            share = columns["timeout"][number]
            found.append(
                Setting(
                    name=f"{means.name}-{split}-{number + 1:02d}",
                    means=means.name,
                    split=split,
                    timeout=None if share is None else _seconds(share * service, START_SHARE if start else 1),
                    clock="Start" if start else "Arrival",
                    capacity=_seconds(columns["capacity"][number] * service),
                    refill=columns["refill"][number],
                    rule="Continuous" if rules[number] % 2 else "Paused",
                    load=columns["load"][number],
                    arrivals="bursty" if bursts[number] % levels.bursty else "poisson",
                    seed=dice.randrange(1_000_000),
                )
            )
    return found


def _shuffled(levels: Sequence[Any], count: int, dice: random.Random) -> list[Any]:
    """`count` of the levels, evenly spread, in random order."""
    chosen = [levels[index * len(levels) // count] for index in range(count)]
    dice.shuffle(chosen)
    return chosen


def _seconds(value: float, share: float = 1.0) -> float:
    return round(value * share, 2)


def steps_of(settings: Sequence[Setting], shape: Shape, seed: int) -> list[Step]:
    """The runs in random order, so that no setting has a time of day, and blocks of the profile between."""
    dice = random.Random(f"{seed}/order")
    runs = [
        Step(f"{setting.name}-r{repeat}", setting.name, is_profile=False)
        for setting in settings
        for repeat in range(shape.test_runs if setting.split == "test" else 1)
    ]
    dice.shuffle(runs)
    runs = _in_order_of_repeats(runs)
    steps = block(0)
    gaps = max(1, shape.blocks - 1)
    for number in range(gaps):
        steps += runs[number * len(runs) // gaps : (number + 1) * len(runs) // gaps]
        steps += block(number + 1) if number + 1 < shape.blocks else []
    return steps


def block(number: int) -> list[Step]:
    """A block of the profile: every mechanism."""
    return [Step(f"{means.name}-{number}", means.name, is_profile=True) for means in MEANS]


def _in_order_of_repeats(runs: Sequence[Step]) -> list[Step]:
    """The same places in time for each setting; its first run comes first."""
    names: dict[str, list[str]] = {}
    for run in sorted(runs):
        names.setdefault(run.setting, []).append(run.name)
    return [Step(names[run.setting].pop(0), run.setting, is_profile=False) for run in runs]


def jobs_of(setting: Setting, walls: Mapping[str, float], seconds: float) -> list[Job]:
    """The jobs of a setting: kinds evenly mixed, as many as make its load; the first arrives at 0.

    Args:
        setting: its load, arrivals and seed.
        walls: seconds of each kind at base speed.
        seconds: over which they arrive, about.
    """
    dice = random.Random(setting.seed)
    kinds = sorted(walls)
    mean = sum(walls.values()) / len(walls)
    count = max(3, round(seconds * setting.load / mean))
    shift = dice.randrange(len(kinds))
    mix = [kinds[(index + shift) % len(kinds)] for index in range(count)]
    dice.shuffle(mix)
    span = sum(walls[kind] for kind in mix) / setting.load
    if setting.arrivals == "bursty":
        groups = max(2, count * 2 // 5)  # one in each part of the run
        bursts = [span * (number + dice.random()) / groups for number in range(groups)]
        arrivals = sorted(min(span, dice.choice(bursts) + dice.uniform(0.0, mean / 2)) for _ in mix)
    else:  # given how many arrive, those of a Poisson process are uniform
        arrivals = sorted(dice.uniform(0.0, span) for _ in mix)
    return [
        Job(f"{kind}-{number:02d}", kind, round(arrival - arrivals[0], 3), dice.randrange(10_000))
        for number, (kind, arrival) in enumerate(zip(mix, arrivals, strict=True), start=1)
    ]


def profile_jobs(shape: Shape, number: int) -> list[Job]:
    """The jobs of a block of the profile: each kind with as many seeds as it has rounds."""
    return [
        Job(f"{kind}-{round_}", kind, 0.0, 100 * number + round_)
        for round_ in range(shape.rounds)
        for kind in shape.kinds
    ]


def queue_document(
    jobs: Sequence[Job], means: Means, *, python: str, folder: Path, scale: float
) -> dict[str, Any]:
    """The JobQueue of these jobs, one slot; `folder` is where `bench` can be imported."""
    return {
        "apiVersion": API_VERSION,
        "kind": "JobQueue",
        "metadata": {"name": "campaign"},
        "slots": 1,
        "jobs": [
            {
                "name": job.name,
                "kind": job.kind,
                "command": [
                    *(python, "-m", "bench.campaign_jobs", job.kind),
                    *("--seed", str(job.seed), "--threads", str(means.threads), "--scale", f"{scale:g}"),
                ],
                "arrival": f"{job.arrival:.3f}s",
                "workdir": str(folder),
                "labels": dict(LABELS),
            }
            for job in jobs
        ],
    }


def policy_document(means: Means, setting: Setting | None) -> dict[str, Any]:
    """The SprintPolicy of a setting; None: of a profile, which only takes its allocations."""
    extra = means.sprint_cores - means.base_cores
    capacity, refill = (1.0, 0.0) if setting is None else (setting.capacity, setting.refill)
    return {
        "apiVersion": API_VERSION,
        "kind": "SprintPolicy",
        "metadata": {"name": "campaign" if setting is None else setting.name},
        "spec": {
            "mode": "Enforce",
            "selector": {"matchLabels": dict(LABELS)},
            "objective": {"responseTime": {"statistic": "Mean"}},
            "base": {"cpu": f"{round(1000 * means.base_cores)}m"},
            "sprint": {"cpu": f"{round(1000 * means.sprint_cores)}m"},
            "trigger": {"after": "Never", "clock": "Arrival" if setting is None else setting.clock},
            "budget": {
                "capacityCoreSeconds": round(capacity * extra, 3),
                "refillCores": f"{round(1000 * refill * extra)}m",
                "whileSprinting": "Paused" if setting is None else setting.rule,
                "hysteresis": f"{round(1000 * HYSTERESIS)}ms",
            },
            "concurrency": 1,
        },
    }
