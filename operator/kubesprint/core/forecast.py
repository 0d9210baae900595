"""How long jobs will take: the white box, and how far it may be trusted.

A kind of job is described by its work (seconds at base allocation, with dispersion) and by how much
faster it runs on the sprint allocation. Both come from a measured profile; finished jobs correct the
work, the latest most, and stand in for the profile where there is none. What all kinds have in common is
the drift of the node (`core.drift`): it multiplies the work of every job that is not over.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

from kubesprint.core.allocation import Allocation
from kubesprint.core.drift import REMEMBERED, Drift, Surprise, drift_of
from kubesprint.core.errors import Corrupt
from kubesprint.core.units import CoreSeconds, Seconds
from kubesprint.core.view import View
from kubesprint.core.workload import JobState, JobView, Reading

TRUSTED_AFTER = 3  # finished jobs of a kind that has no profile
PROFILE_WEIGHT = 3.0  # a profile counts as this many finished jobs
MINIMUM_SAMPLE = Seconds(0.2)  # shorter spans say nothing about a rate
OVERTIME_SHARE = 0.1  # of the mean: what a job that exceeded its expectation still has to do
STALE_AFTER = Seconds(10.0)
HALF_LIFE = 20.0  # after this many further jobs of its kind, a finished job counts half
LESSONS = 100  # finished jobs of a kind that are remembered; older ones count less than a thirtieth


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
    drift: float = 1.0  # of the node: how much of `work` and `cpu` is due to it

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
    samples: int = 0  # finished jobs that shaped the kind
    drift: float = 1.0  # of the node, included in `remaining`
    learned: float = 1.0  # factor of a learned model, included in `rate`


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
        samples=model.samples,
        drift=model.drift,
    )


def _done_share(job: JobView, model: KindModel) -> tuple[float, bool]:
    """Share of the kind's mean CPU seconds that the job has used, and whether the signal is stale."""
    if job.state is not JobState.RUNNING:
        return 0.0, False
    if job.cpu is None or model.cpu <= 0:
        return 0.0, job.cpu is None
    return work_done(job, model.sprint_cpu) / model.cpu, job.cpu.age > STALE_AFTER


def work_done(job: JobView, sprint_cpu: float) -> float:
    """CPU seconds as they would be at the base clock: at a higher clock each does more."""
    assert job.cpu is not None
    return job.cpu.value + (sprint_cpu - 1.0) * job.sprint_cpu


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a finished job taught, and the drift of the node when it did."""

    job: JobView
    drift: float = 1.0  # factor


def _written(lesson: Lesson) -> dict[str, Any]:
    job = lesson.job
    return {
        "name": job.name,
        "kind": job.kind,
        "arrival": job.arrival,
        "start": job.start,
        "end": job.end,
        "cpu": None if job.cpu is None else job.cpu.value,
        "sprint": job.sprint,
        "sprint_cpu": job.sprint_cpu,
        "drift": lesson.drift,
    }


def _read(document: Mapping[str, Any]) -> Lesson:
    start, end = document["start"], document["end"]
    cpu, drift = float(document["cpu"]), float(document["drift"])
    if not (cpu > 0 and drift > 0):
        raise ValueError(f"CPU time {cpu} and drift {drift} are above 0")
    job = JobView(
        name=str(document["name"]),
        kind=str(document["kind"]),
        state=JobState.FINISHED,
        arrival=Seconds(float(document["arrival"])),
        start=None if start is None else Seconds(float(start)),
        end=None if end is None else Seconds(float(end)),
        cpu=Reading(value=cpu, age=Seconds(0.0)),
        sprint=Seconds(float(document["sprint"])),
        sprint_cpu=CoreSeconds(float(document["sprint_cpu"])),
        succeeded=True,
    )
    return Lesson(job, drift)


class Learned(Protocol):
    """A learned factor on the speed-up of a job, where what is asked is within what was learned from."""

    def factor(self, job: JobView, model: KindModel) -> float | None:
        """None: outside; the white box answers alone."""
        ...


class Forecaster:
    """Keeps a model per kind: the profile's, corrected by every finished job, times the node's drift."""

    def __init__(
        self,
        profiles: Mapping[str, KindModel],
        base: Allocation,
        sprint: Allocation,
        learned: Learned | None = None,
    ) -> None:
        self._profiles = dict(profiles)
        self._nominal = sprint.cores * sprint.clock / (base.cores * base.clock)
        self._clock = sprint.clock / base.clock
        self._learned = learned
        self._lessons: dict[str, list[Lesson]] = {}
        self._taught: set[str] = set()
        self._surprises: list[Surprise] = []
        self._drift = Drift()
        self._models: dict[str, KindModel] = {}

    def forecast(self, view: View) -> Mapping[str, Estimate]:
        """Estimates for every job that is not over, by name."""
        self._learn(view.finished())
        return {job.name: self._estimate(job) for job in view.jobs if job.state is not JobState.FINISHED}

    @property
    def drift(self) -> Drift:
        """Of the node, as the jobs that finished last show it."""
        return self._drift

    @property
    def taught(self) -> int:
        """How many jobs have taught something."""
        return len(self._taught)

    def model(self, kind: str) -> KindModel:
        """The model of a kind as it stands, drift included."""
        if kind not in self._models:
            model, factor = self._fitted(kind), self._drift.factor
            if model.basis is not Basis.PRIOR:
                model = replace(
                    model,
                    work=Seconds(model.work * factor),
                    deviation=Seconds(model.deviation * factor),
                    cpu=CoreSeconds(model.cpu * factor),
                    drift=factor,
                )
            self._models[kind] = model
        return self._models[kind]

    def memory(self) -> dict[str, Any]:
        """All that was learnt, as JSON values, for whoever goes on with this run after a restart."""
        return {
            "lessons": [_written(lesson) for kind in sorted(self._lessons) for lesson in self._lessons[kind]],
            "taught": sorted(self._taught),
            "surprises": [[one.log_ratio, one.spread] for one in self._surprises],
        }

    def recall(self, memory: Any) -> None:
        """Take over what an earlier part of the run has learnt, before anything else is learnt.

        Raises:
            Corrupt: it is not what `memory` gives; nothing of it is taken over.
        """
        try:
            lessons = [_read(one) for one in memory["lessons"]]
            taught = {str(name) for name in memory["taught"]}
            surprises = [Surprise(float(ratio), float(spread)) for ratio, spread in memory["surprises"]]
        except (KeyError, TypeError, ValueError) as error:
            raise Corrupt(f"it does not hold what was learnt: {type(error).__name__}: {error}") from error
        self._lessons = {}
        for lesson in lessons:
            self._lessons.setdefault(lesson.job.kind, []).append(lesson)
        self._taught, self._surprises = taught, surprises
        self._drift = drift_of(surprises)
        self._models.clear()

    def _estimate(self, job: JobView) -> Estimate:
        model = self.model(job.kind)
        estimate = estimate_job(job, model)
        factor = None if self._learned is None else self._learned.factor(job, model)
        if factor is None:
            return estimate
        return replace(estimate, rate=max(1.0, estimate.rate * factor), learned=factor)

    def _fitted(self, kind: str) -> KindModel:
        """The model of a kind on a node without drift."""
        lessons = self._lessons.get(kind, [])
        return fit_kind(kind, self._profiles.get(kind), lessons, self._nominal, self._clock)

    def _learn(self, finished: Sequence[JobView]) -> None:
        new = [
            job
            for job in finished
            if job.name not in self._taught and job.succeeded and job.cpu is not None and job.cpu.value > 0
        ]
        for job in sorted(new, key=lambda job: job.arrival if job.end is None else job.end):
            self._taught.add(job.name)
            self._take_in(job)

    def _take_in(self, job: JobView) -> None:
        """First what the job says of the node, then what remains for its kind."""
        expected = self._fitted(job.kind)
        if expected.trusted and expected.cpu > 0 and expected.work > 0:
            ratio = work_done(job, expected.sprint_cpu) / expected.cpu
            self._surprises.append(Surprise(math.log(ratio), expected.deviation / expected.work))
            del self._surprises[:-REMEMBERED]
            self._drift = drift_of(self._surprises)
        lessons = self._lessons.setdefault(job.kind, [])
        lessons.append(Lesson(job, self._drift.factor))
        del lessons[:-LESSONS]
        self._models.clear()


def fit_kind(
    kind: str, profile: KindModel | None, lessons: Sequence[Lesson], nominal: float, clock: float = 1.0
) -> KindModel:
    """The profile corrected by history, history alone, or the prior; all on a node without drift.

    Args:
        kind: its name.
        profile: of the kind, where one was measured.
        lessons: finished jobs of the kind, the latest last.
        nominal: speed-up of a job that uses all it is given.
        clock: sprint clock / base clock. Without a profile all work is taken to scale with it.
    """
    clock = clock if profile is None else profile.sprint_cpu
    cpus = [work_done(lesson.job, clock) / lesson.drift for lesson in lessons]
    weights = [0.5 ** (age / HALF_LIFE) for age in range(len(cpus))][::-1]
    if profile is not None:
        total = math.fsum(weight * cpu for weight, cpu in zip(weights, cpus, strict=True))
        cpu = (PROFILE_WEIGHT * profile.cpu + total) / (PROFILE_WEIGHT + math.fsum(weights))
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
    sizes = _weighted(cpus, weights)
    return _from_history(kind, [lesson.job for lesson in lessons], sizes, nominal, clock)


def _weighted(values: Sequence[float], weights: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation; a single value is taken to spread by its size."""
    total = math.fsum(weights)
    mean = math.fsum(w * v for w, v in zip(weights, values, strict=True)) / total
    if len(values) < 2:
        return mean, mean
    square = math.fsum(w * (v - mean) ** 2 for w, v in zip(weights, values, strict=True)) / total
    return mean, math.sqrt(square * len(values) / (len(values) - 1))


def _from_history(
    kind: str, history: Sequence[JobView], sizes: tuple[float, float], nominal: float, clock: float
) -> KindModel:
    mean, spread = sizes
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
        samples=len(history),
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
