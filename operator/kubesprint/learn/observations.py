"""What each finished job of a training set shows, taken apart into its time at base and in the sprint."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from kubesprint.core.dataset import AloneAt, Dataset, JobRow

Floats = NDArray[np.float64]

ALONE = ""
"""The run of the jobs that were measured alone; the names of runs are not empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One job, in a run or alone. Seconds are wall seconds."""

    mechanism: str
    kind: str
    run: str  # `ALONE`: of the profile
    cpu: float  # CPU seconds, above 0
    slow: float  # seconds at base
    fast: float  # seconds in the sprint
    slow_cpu: float  # CPU seconds at base
    fast_cpu: float  # CPU seconds in the sprint
    before: float  # seconds from its start to its first sprint; 0 if it never sprinted
    told: bool = True  # whether the CPU seconds in the sprint were measured, not inferred


def see(training: Dataset) -> list[Seen]:
    """Every job of the training runs and of the profile whose CPU time and duration are above 0."""
    mechanisms = training.mechanisms
    seen = [_alone(row.mechanism, row.kind, row.allocation, row.wall, row.cpu)
            for row in training.profile if row.mechanism in mechanisms]  # fmt: skip
    for run in training.runs:
        setting = run.setting
        rates = _slow_rates(run.jobs)
        fallback = min(setting.mechanism.base_cores, setting.mechanism.threads)
        for job in run.jobs:
            if job.cpu > 0 and job.wall > 0:
                rate = rates.get(job.kind, fallback)
                seen.append(_in_a_run(setting.mechanism.name, setting.run, job, rate))
    return seen


def _alone(mechanism: str, kind: str, allocation: AloneAt, wall: float, cpu: float) -> Seen:
    sprinted = allocation is AloneAt.SPRINT
    return Seen(
        mechanism=mechanism,
        kind=kind,
        run=ALONE,
        cpu=cpu,
        slow=0.0 if sprinted else wall,
        fast=wall if sprinted else 0.0,
        slow_cpu=0.0 if sprinted else cpu,
        fast_cpu=cpu if sprinted else 0.0,
        before=0.0,
    )


def _in_a_run(mechanism: str, run: str, job: JobRow, rate: float) -> Seen:
    fast = min(max(0.0, job.sprint), job.wall)
    slow = job.wall - fast
    told = job.sprint_cpu is not None
    fast_cpu = job.sprint_cpu if job.sprint_cpu is not None else job.cpu - min(job.cpu, rate * slow)
    fast_cpu = min(max(0.0, fast_cpu), job.cpu)
    started = job.start if job.sprint_start is None else max(job.start, job.sprint_start)
    return Seen(
        mechanism=mechanism,
        kind=job.kind,
        run=run,
        cpu=job.cpu,
        slow=slow,
        fast=fast,
        slow_cpu=job.cpu - fast_cpu,
        fast_cpu=fast_cpu,
        before=started - job.start if fast > 0 else 0.0,
        told=told,
    )


def _slow_rates(jobs: Sequence[JobRow]) -> dict[str, float]:
    """CPU seconds per second of each kind's jobs that never sprinted."""
    rates = {}
    for kind in {job.kind for job in jobs}:
        plain = [job for job in jobs if job.kind == kind and job.sprint <= 0 and job.wall > 0]
        wall = sum(job.wall for job in plain)
        if wall > 0:
            rates[kind] = sum(job.cpu for job in plain) / wall
    return rates


def dead_time(training: Dataset, mechanism: str) -> float:
    """Median seconds from the end of a job to the start of the next that waited for it; one server only.

    What a machine needs to start the next job is neither work nor sped up by a sprint.
    """
    gaps = [
        max(0.0, after.start - before.end)
        for run in training.runs
        if run.setting.mechanism.name == mechanism and run.setting.servers == 1
        for before, after in _in_order(run.jobs)
        if after.arrival < before.end
    ]
    return float(np.median(gaps)) if len(gaps) >= 5 else 0.0


def _in_order(jobs: Sequence[JobRow]) -> list[tuple[JobRow, JobRow]]:
    ordered = sorted(jobs, key=lambda job: job.start)
    return list(pairwise(ordered))
