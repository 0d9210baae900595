"""What the demo runs: which jobs arrive when, and the documents that say so. Pure arithmetic.

The numbers were chosen by simulation over 200 seeds so that the policy matters within three minutes
of wall time: a budget for about a third of the work, little refill, and a load at which jobs
queue now and then. A single run of some 27 jobs still depends on its seed more than on any of these.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

API_VERSION = "kubesprint.dev/v1alpha1"
LABELS = {"app": "kubesprint-demo"}
KINDS = ("boosting", "forest", "kmeans", "logistic", "mlp", "svm")

DRIFT_SEEN = 1.15
"""Ratio of CPU seconds for the same work from which the comparison is as much about the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speeds:
    """Base and sprint allocation of a job, in cores; `threads` is what the training may use."""

    base_cores: float
    sprint_cores: float
    threads: int = 1

    @property
    def extra_cores(self) -> float:
        """What one second of sprint costs, in core-seconds."""
        return self.sprint_cores - self.base_cores


BY_QUOTA = Speeds(base_cores=0.4, sprint_cores=1.0)
BY_AFFINITY = Speeds(base_cores=1.0, sprint_cores=2.0, threads=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much the demo runs. Times are seconds."""

    seconds: float = 36.0  # over which the jobs of one run arrive; the last ones end a few seconds later
    slots: int = 2
    load: float = 0.95  # of the slots, at base speed
    capacity_seconds: float = 8.0  # the budget, in seconds of one job's sprint
    refill: float = 0.03  # sprint seconds per second


class Arrival(NamedTuple):
    """One job of the demo: what it is called, what it trains, when it comes, its dice."""

    name: str
    kind: str
    arrival_seconds: float
    train_seed: int


def demo_jobs(
    *, seed: int, jobs: int, load: float, slots: int, mean_base_wall_by_kind: Mapping[str, float]
) -> list[Arrival]:
    """Poisson arrivals, given their number and span, of evenly mixed kinds; the first job arrives at 0.

    Given how many arrive in a span, the instants of a Poisson process are uniform in it. So every seed
    has the load that was asked and a run of the same length, which exponential gaps would not give.

    Args:
        seed: of the order of the kinds, the gaps and the training seeds.
        jobs: how many.
        load: arrival rate times mean service time at base speed, by the number of slots.
        slots: jobs that run at once.
        mean_base_wall_by_kind: seconds that a job of each kind runs at base speed.

    Raises:
        ValueError: a number is not above 0, or no kind is given.
    """
    kinds = sorted(mean_base_wall_by_kind)
    if jobs < 1 or slots < 1 or not load > 0 or not kinds or min(mean_base_wall_by_kind.values()) <= 0:
        raise ValueError("jobs, slots, load and every mean wall time must be above 0, and a kind given")
    dice = random.Random(seed)
    mix = [kinds[index % len(kinds)] for index in range(jobs)]
    dice.shuffle(mix)
    span = sum(mean_base_wall_by_kind[kind] for kind in mix) / (load * slots)
    arrivals = [0.0, *sorted(dice.uniform(0.0, span) for _ in mix[1:])]
    return [
        Arrival(f"{kind}-{number:02d}", kind, round(arrival, 3), dice.randrange(10_000))
        for number, (kind, arrival) in enumerate(zip(mix, arrivals, strict=True), start=1)
    ]


def jobs_within(
    seconds: float, *, load: float, slots: int, mean_base_wall_by_kind: Mapping[str, float]
) -> int:
    """How many jobs arrive in `seconds` at this load: at least two rounds of the kinds, or nothing queues.

    So a slower machine runs fewer jobs, not a longer demo.
    """
    mean_service = sum(mean_base_wall_by_kind.values()) / len(mean_base_wall_by_kind)
    return max(2 * len(mean_base_wall_by_kind), int(seconds * load * slots / mean_service))


def queue_document(
    jobs: Sequence[Arrival], *, python: str, slots: int, speeds: Speeds, scale: float = 1.0
) -> dict[str, Any]:
    """The JobQueue document of these jobs; `python` is the interpreter that trains."""
    return {
        "apiVersion": API_VERSION,
        "kind": "JobQueue",
        "metadata": {"name": "demo"},
        "slots": slots,
        "jobs": [
            {
                "name": job.name,
                "kind": job.kind,
                "command": _command(python, job.kind, job.train_seed, speeds.threads, scale),
                "arrival": f"{job.arrival_seconds:.3f}s",
                "labels": dict(LABELS),
            }
            for job in jobs
        ],
    }


def profile_document(*, python: str, slots: int, speeds: Speeds, scale: float = 1.0) -> dict[str, Any]:
    """A JobQueue with one job of each kind, all arriving at 0: what the profiler measures."""
    jobs = [Arrival(kind, kind, 0.0, number) for number, kind in enumerate(KINDS)]
    return queue_document(jobs, python=python, slots=slots, speeds=speeds, scale=scale)


def policy_document(*, after: str, size: Size, speeds: Speeds) -> dict[str, Any]:
    """The SprintPolicy document. `after`: Never, 0s (always until empty), Auto, or a duration."""
    extra = speeds.extra_cores
    return {
        "apiVersion": API_VERSION,
        "kind": "SprintPolicy",
        "metadata": {"name": "demo"},
        "spec": {
            "mode": "Enforce",
            "selector": {"matchLabels": dict(LABELS)},
            "objective": {"responseTime": {"statistic": "Mean"}},
            "base": {"cpu": _cpu(speeds.base_cores)},
            "sprint": {"cpu": _cpu(speeds.sprint_cores)},
            "trigger": {"after": after, "clock": "Arrival"},
            "budget": {
                "capacityCoreSeconds": round(size.capacity_seconds * extra, 3),
                "refillCores": _cpu(size.refill * extra),
                "whileSprinting": "Paused",
                "hysteresis": "200ms",
            },
            "concurrency": size.slots,
        },
    }


def _command(python: str, kind: str, seed: int, threads: int, scale: float) -> list[str]:
    command = [python, "-m", "kubesprint.apps.demo.train", kind, "--seed", str(seed)]
    if threads > 1:
        command += ["--threads", str(threads)]
    if scale != 1.0:
        command += ["--scale", str(scale)]
    return command


def _cpu(cores: float) -> str:
    """A quantity: whole cores as such, else thousandths."""
    return str(int(cores)) if cores == int(cores) else f"{round(cores * 1000)}m"


def drift_note(cpu: Mapping[str, float]) -> str | None:
    """What to say where the same jobs took visibly more CPU seconds under one strategy than under another."""
    slow, fast = max(cpu, key=cpu.__getitem__), min(cpu, key=cpu.__getitem__)
    if cpu[slow] < cpu[fast] * DRIFT_SEEN:
        return None
    return (
        f"the same jobs took {cpu[fast]:.0f} CPU seconds under {fast} and {cpu[slow]:.0f} under {slow}: "
        "the machine itself was slower meanwhile, and a queue feels that more than once; "
        "compare again when it is quiet"
    )
