"""How fast jobs run at each allocation: measured where they ran, from first principles where not.

A kind's speed at base and in a sprint is CPU time per second, and what a sprint makes of the CPU time
turns the latter into progress. Both come from runs of jobs alone and from jobs in queues. A kind that
was not seen under a mechanism gets what the roofline, Amdahl and the inflation fitted to it elsewhere
say (`core.speedup`), times the mechanism's efficiency on the kinds that were seen.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kubesprint.core.allocation import Allocation
from kubesprint.core.dataset import Mechanism
from kubesprint.core.speedup import Measured, SpeedFit, fit
from kubesprint.core.units import Cores, CoreSeconds, Seconds
from kubesprint.learn.observations import ALONE, Seen
from kubesprint.learn.work import KindWork

EARLY = 0.1
"""A sprint that started when this share of the work was done, or before, shows the whole job's speed."""

MOSTLY = 0.8
"""Share of a job's CPU time that must have been used in the sprint for that."""

ENOUGH = 0.2
"""Seconds at an allocation below which a speed is not read there."""

USUAL_NOISE = 0.03
"""Relative error of one job's speed where it cannot be estimated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KindSpeed:
    """One kind under one mechanism. Errors are standard errors of the logarithm."""

    base_rate: float  # CPU seconds per second at base
    base_error: float
    sprint_rate: float  # CPU seconds per second in a sprint of the whole job
    sprint_error: float
    guessed: str = ""  # what is not from this kind under this mechanism; empty: nothing

    def speedup(self, inflation: float) -> float:
        """How many times faster work is done in a sprint."""
        return self.sprint_rate / inflation / self.base_rate


def usable(mechanism: Mechanism, cores: float) -> float:
    """The cores that a job's threads can use."""
    return min(cores, float(mechanism.threads))


def read_speed(mechanism: Mechanism, jobs: Sequence[Seen], work: KindWork) -> KindSpeed:
    """The speeds of one kind from its jobs under one mechanism; at least one."""
    ratio = usable(mechanism, mechanism.sprint_cores) / usable(mechanism, mechanism.base_cores)
    base = _rate([(job.slow_cpu, job.slow) for job in jobs if job.told or job.fast == 0])
    whole = [job for job in jobs if job.fast > 0 and _from_the_start(job, work)]
    sprint = _rate([(job.fast_cpu, job.fast) for job in whole])
    missing = []
    if sprint is None:  # late sprints are better than none
        sprint = _rate([(job.fast_cpu, job.fast) for job in jobs if job.fast > 0])
    if base is None:
        missing.append("base")
        guess = usable(mechanism, mechanism.base_cores) if sprint is None else sprint[0] / ratio
        base = guess, 0.1
    if sprint is None:
        missing.append("sprint")
        sprint = base[0] * ratio * work.inflation, 0.1
    return KindSpeed(
        base_rate=base[0],
        base_error=base[1],
        sprint_rate=max(sprint[0], base[0] * work.inflation),
        sprint_error=sprint[1],
        guessed=f"no speed at {' or '.join(missing)} was measured: nominal ratio" if missing else "",
    )


def _from_the_start(job: Seen, work: KindWork) -> bool:
    if job.run == ALONE:
        return True
    done = job.slow_cpu / (job.slow_cpu + job.fast_cpu / work.inflation)
    return done <= EARLY and job.fast_cpu >= MOSTLY * job.cpu


def _rate(pairs: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """CPU seconds per second over all pairs, and the standard error of its logarithm."""
    used = [(cpu, wall) for cpu, wall in pairs if wall > 0 and cpu > 0]
    cpu, wall = math.fsum(c for c, _ in used), math.fsum(w for _, w in used)
    if wall < ENOUGH or cpu <= 0:
        return None
    rate = cpu / wall
    if len(used) < 3:
        return rate, USUAL_NOISE
    squares = math.fsum((c - rate * w) ** 2 for c, w in used) * len(used) / (len(used) - 1)
    return rate, max(1e-4, math.sqrt(squares) / cpu)


def fit_everywhere(jobs: Sequence[Seen], mechanisms: Mapping[str, Mechanism]) -> SpeedFit | None:
    """What all mechanisms together say of one kind's parallelism; None if it never ran at one speed."""
    points = []
    for job in jobs:
        mechanism = mechanisms[job.mechanism]
        if job.slow > 0 and job.fast > 0:
            continue
        cores = mechanism.sprint_cores if job.fast > 0 else mechanism.base_cores
        points.append(
            Measured(
                allocation=Allocation(Cores(usable(mechanism, cores))),
                wall=Seconds(job.slow + job.fast),
                cpu=CoreSeconds(job.cpu),
            )
        )
    return fit(points) if points else None


def speed_from_principles(mechanism: Mechanism, fitted: SpeedFit, efficiency: float, why: str) -> KindSpeed:
    """A kind that was not seen under a mechanism, from what it showed elsewhere.

    Args:
        mechanism: where it is to run.
        fitted: from elsewhere.
        efficiency: CPU time per second over what the quota allows, on other kinds.
        why: what is told the user.
    """
    base, sprint = (
        Allocation(Cores(usable(mechanism, cores)))
        for cores in (mechanism.base_cores, mechanism.sprint_cores)
    )
    base_rate = efficiency * base.cores if base.cores <= 1.0 else efficiency * fitted.model.speed(base)
    return KindSpeed(
        base_rate=base_rate,
        base_error=0.05,
        sprint_rate=base_rate * max(1.0, fitted.model.speedup(base, sprint)),
        sprint_error=0.1,
        guessed=why,
    )
