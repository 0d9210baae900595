"""How long jobs will take: the white box, and how far it may be trusted.

A kind of job is described by its work (seconds at base allocation, with dispersion) and by how much
faster it runs on the sprint allocation. Both come from a measured profile; finished jobs correct the
work, and stand in for the profile where there is none.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from kubesprint.core.allocation import Allocation
from kubesprint.core.units import CoreSeconds, Seconds
from kubesprint.core.view import View
from kubesprint.core.workload import JobState, JobView

TRUSTED_AFTER = 3  # finished jobs of a kind that has no profile
PROFILE_WEIGHT = 3.0  # a profile counts as this many finished jobs
MINIMUM_SAMPLE = Seconds(0.2)  # shorter spans say nothing about a rate
OVERTIME_SHARE = 0.1  # of the mean: what a job that exceeded its expectation still has to do
STALE_AFTER = Seconds(10.0)


class Basis(StrEnum):
    """Where an estimate comes from."""

    PROFILE = "Profile"
    HISTORY = "History"
    PRIOR = "Prior"


@dataclass(frozen=True, slots=True, kw_only=True)
class KindModel:
    """One kind of job: its work and its speed-up on the sprint allocation."""

    kind: str
    work: Seconds  # mean, wall seconds at base
    deviation: Seconds
    cpu: CoreSeconds  # mean CPU seconds at base
    rate: float  # speed-up while sprinting, at least 1
    basis: Basis
    samples: int  # finished jobs that shaped it
    sprint_cpu: float = 1.0  # work that a CPU second of a sprint does; a CPU second at base does 1

    @property
    def trusted(self) -> bool:
        """A profile is trusted; history only when there is enough of it; a prior never."""
        return self.basis is Basis.PROFILE or (self.basis is Basis.HISTORY and self.samples >= TRUSTED_AFTER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What is left of one job."""

    job: str
    remaining: Seconds  # at base allocation
    deviation: Seconds
    rate: float
    trusted: bool
    stale: bool
    basis: Basis


def prior(kind: str, sprint_ratio: float, sprint_cpu: float = 1.0) -> KindModel:
    """What is believed of a kind that nobody measured: one second, nominal speed-up. Never trusted."""
    return KindModel(
        kind=kind,
        work=Seconds(1.0),
        deviation=Seconds(1.0),
        cpu=CoreSeconds(0.0),
        rate=max(1.0, sprint_ratio),
        basis=Basis.PRIOR,
        samples=0,
        sprint_cpu=sprint_cpu,
    )


def estimate_job(job: JobView, model: KindModel) -> Estimate:
    """Remaining work of a job: the kind's mean less what its CPU seconds say is done.

    A job that outlived its kind's mean is taken to have a little more to do, never nothing.
    """
    done, stale = _done_share(job, model)
    remaining = model.work * (1.0 - done)
    if job.state is JobState.RUNNING:
        remaining = max(remaining, model.work * OVERTIME_SHARE, 0.5 * model.deviation * (done > 1.0))
    return Estimate(
        job=job.name,
        remaining=Seconds(remaining),
        deviation=model.deviation,
        rate=model.rate,
        trusted=model.trusted and not stale,
        stale=stale,
        basis=model.basis,
    )


def _done_share(job: JobView, model: KindModel) -> tuple[float, bool]:
    """Share of the kind's mean CPU seconds that the job has used, and whether the signal is stale."""
    if job.state is not JobState.RUNNING:
        return 0.0, False
    if job.cpu is None or model.cpu <= 0:
        return 0.0, job.cpu is None
    return _work_done(job, model.sprint_cpu) / model.cpu, job.cpu.age > STALE_AFTER


def _work_done(job: JobView, sprint_cpu: float) -> float:
    """CPU seconds as they would be at the base clock: at a higher clock each does more."""
    assert job.cpu is not None
    return job.cpu.value + (sprint_cpu - 1.0) * job.sprint_cpu


class Forecaster:
    """Keeps a model per kind: the profile's, corrected by every finished job."""

    def __init__(self, profiles: Mapping[str, KindModel], base: Allocation, sprint: Allocation) -> None:
        self._profiles = dict(profiles)
        self._nominal = sprint.cores * sprint.clock / (base.cores * base.clock)
        self._clock = sprint.clock / base.clock
        self._finished: dict[str, dict[str, JobView]] = {}
        self._models: dict[str, KindModel] = {}

    def forecast(self, view: View) -> Mapping[str, Estimate]:
        """Estimates for every job that is not over, by name."""
        self._learn(view.finished())
        return {
            job.name: estimate_job(job, self.model(job.kind))
            for job in view.jobs
            if job.state is not JobState.FINISHED
        }

    def model(self, kind: str) -> KindModel:
        """The model of a kind as it stands."""
        if kind not in self._models:
            history = list(self._finished.get(kind, {}).values())
            self._models[kind] = fit_kind(kind, self._profiles.get(kind), history, self._nominal, self._clock)
        return self._models[kind]

    def _learn(self, finished: Sequence[JobView]) -> None:
        for job in finished:
            known = self._finished.setdefault(job.kind, {})
            if job.name not in known and job.succeeded and job.cpu is not None and job.cpu.value > 0:
                known[job.name] = job
                self._models.pop(job.kind, None)


def fit_kind(
    kind: str, profile: KindModel | None, history: Sequence[JobView], nominal: float, clock: float = 1.0
) -> KindModel:
    """The profile corrected by history, history alone, or the prior.

    Args:
        kind: its name.
        profile: of the kind, where one was measured.
        history: finished jobs of the kind.
        nominal: speed-up of a job that uses all it is given.
        clock: sprint clock / base clock. Without a profile all work is taken to scale with it.
    """
    clock = clock if profile is None else profile.sprint_cpu
    cpus = [_work_done(job, clock) for job in history if job.cpu is not None]
    if profile is not None:
        weight = PROFILE_WEIGHT + len(cpus)
        cpu = (PROFILE_WEIGHT * profile.cpu + sum(cpus)) / weight
        scale = cpu / profile.cpu if profile.cpu > 0 else 1.0
        return KindModel(
            kind=kind,
            work=Seconds(profile.work * scale),
            deviation=Seconds(profile.deviation * scale),
            cpu=CoreSeconds(cpu),
            rate=profile.rate,
            basis=Basis.PROFILE,
            samples=len(cpus),
            sprint_cpu=clock,
        )
    if not cpus:
        return prior(kind, nominal, clock)
    return _from_history(kind, history, cpus, nominal, clock)


def _from_history(
    kind: str, history: Sequence[JobView], cpus: Sequence[float], nominal: float, clock: float
) -> KindModel:
    mean = sum(cpus) / len(cpus)
    spread = math.sqrt(sum((c - mean) ** 2 for c in cpus) / max(1, len(cpus) - 1)) if len(cpus) > 1 else mean
    base_rate, sprint_rate = _measured_rates(history, clock)
    if base_rate is None:  # only ever seen sprinting
        base_rate = sprint_rate / nominal if sprint_rate else 1.0
    rate = sprint_rate / base_rate if sprint_rate else nominal
    return KindModel(
        kind=kind,
        work=Seconds(mean / base_rate),
        deviation=Seconds(spread / base_rate),
        cpu=CoreSeconds(mean),
        rate=max(1.0, rate),
        basis=Basis.HISTORY,
        samples=len(cpus),
        sprint_cpu=clock,
    )


def _measured_rates(history: Sequence[JobView], clock: float) -> tuple[float | None, float | None]:
    """Work per second at base and while sprinting, over all finished jobs of a kind."""
    base_wall = base_cpu = sprint_wall = sprint_cpu = 0.0
    for job in history:
        if job.start is None or job.end is None or job.cpu is None:
            continue
        base_wall += job.end - job.start - job.sprint
        base_cpu += job.cpu.value - job.sprint_cpu
        sprint_wall += job.sprint
        sprint_cpu += job.sprint_cpu * clock
    base = base_cpu / base_wall if base_wall > MINIMUM_SAMPLE and base_cpu > 0 else None
    sprint = sprint_cpu / sprint_wall if sprint_wall > MINIMUM_SAMPLE and sprint_cpu > 0 else None
    return base, sprint
