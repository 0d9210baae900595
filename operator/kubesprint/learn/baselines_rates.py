"""What a job of a kind needs and how fast it runs, read off the measurements without any learning.

Four numbers say it, per mechanism and kind: the CPU seconds of one job at the base allocation, the CPU
seconds it gets per second there, how many times faster a sprint is, and what a sprint makes of the CPU
seconds. They come from the runs of jobs alone; where there is none, from the jobs of the training runs.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kubesprint.core.dataset import AloneAt, Dataset, JobRow, Mechanism, ProfileRun

INFLATION = (0.5, 2.0)
"""What a sprint can make of the CPU seconds of a job, at least and at most, as read from jobs in queues."""

ENOUGH = 0.05
"""Share of a kind's time that has to be spent at an allocation before its speed there is read from it."""

PRIOR_JOBS = 2.0
"""How many sprinted jobs the assumption weighs that a sprint leaves the CPU seconds as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRates:
    """One kind under one mechanism."""

    work: float  # CPU seconds of one job at the base allocation
    base_rate: float  # CPU seconds per second at the base allocation
    speedup: float  # speed in a sprint over speed at base, at least 1
    inflation: float = 1.0  # CPU seconds for a piece of work in a sprint over those at base
    guessed: str = ""  # what is not from this kind under this mechanism; empty: nothing
    guessed_speedup: str = ""  # the same of the speed-up alone, which matters to those who sprint

    def doubt(self, *, sprints: bool) -> str:
        """Why an answer that rests on this is not trusted; empty: it is."""
        return self.guessed or (self.guessed_speedup if sprints else "")

    @property
    def base_wall(self) -> float:
        """Seconds that one job takes without a sprint."""
        return self.work / self.base_rate


def nominal_speedup(mechanism: Mechanism) -> float:
    """The ratio of the allocations, as far as the threads of a job can use them."""
    return _usable(mechanism, mechanism.sprint_cores) / _usable(mechanism, mechanism.base_cores)


def _usable(mechanism: Mechanism, cores: float) -> float:
    return min(cores, float(mechanism.threads))


@dataclass(frozen=True, slots=True, kw_only=True)
class RateTable:
    """All kinds of a training set."""

    known: Mapping[tuple[str, str], KindRates]  # by mechanism and kind
    mechanisms: Mapping[str, Mechanism]
    typical: Mapping[str, KindRates] = field(default_factory=dict)  # by mechanism: of its kinds

    def of(self, mechanism: Mechanism, kind: str) -> KindRates:
        """What is known of a kind; if nothing is, what its mechanism or its kind elsewhere suggest."""
        if found := self.known.get((mechanism.name, kind)):
            return found
        elsewhere = [rates for (_, name), rates in self.known.items() if name == kind]
        prior = self.typical.get(mechanism.name)
        if prior is None:
            prior = self._unseen(mechanism)
            guess = f"mechanism {mechanism.name!r} is not in the training runs"
        else:
            guess = f"kind {kind!r} is not in the training runs of mechanism {mechanism.name!r}"
        work = _mean([rates.work for rates in elsewhere]) if elsewhere else prior.work
        return replace(prior, work=work, guessed=guess)

    def _unseen(self, mechanism: Mechanism) -> KindRates:
        """A mechanism that nothing is known of: its nominal ratio, and the efficiency of the others."""
        shares = [
            rates.base_rate / _usable(self.mechanisms[name], self.mechanisms[name].base_cores)
            for name, rates in self.typical.items()
            if name in self.mechanisms
        ]
        efficiency = _mean(shares) if shares else 1.0
        return KindRates(
            work=_mean([rates.work for rates in self.typical.values()]),
            base_rate=efficiency * _usable(mechanism, mechanism.base_cores),
            speedup=nominal_speedup(mechanism),
        )


def read_rates(training: Dataset, *, refreshed: bool) -> RateTable:
    """The rates of every kind that was profiled or ran in a training run.

    Args:
        training: training runs, at least one, and the profile.
        refreshed: the CPU seconds of a kind are also averaged over the jobs of the training runs, not
            only over the runs of jobs alone; speeds are from the latter wherever there are any.
    """
    profile: defaultdict[tuple[str, str], list[ProfileRun]] = defaultdict(list)
    for row in training.profile:
        profile[row.mechanism, row.kind].append(row)
    jobs: defaultdict[tuple[str, str], list[JobRow]] = defaultdict(list)
    for run in training.runs:
        for job in run.jobs:
            jobs[run.setting.mechanism.name, job.kind].append(job)
    mechanisms = training.mechanisms
    known: dict[tuple[str, str], KindRates] = {}
    for key in sorted(profile.keys() | jobs.keys()):
        if key[0] in mechanisms:
            partial = _Partial.of(profile[key], jobs[key])
            known[key] = partial.complete(mechanisms[key[0]], profile[key], jobs[key], refreshed=refreshed)
    typical = {
        name: _typical([rates for (mechanism, _), rates in known.items() if mechanism == name])
        for name in mechanisms
    }
    return RateTable(known=known, mechanisms=mechanisms, typical=typical)


def _typical(kinds: Sequence[KindRates]) -> KindRates:
    return KindRates(
        work=_mean([rates.work for rates in kinds]),
        base_rate=_mean([rates.base_rate for rates in kinds]),
        speedup=math.exp(_mean([math.log(rates.speedup) for rates in kinds])),
        inflation=_mean([rates.inflation for rates in kinds]),
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Partial:
    """What was measured of a kind; None: nothing."""

    base_rate: float | None
    sprint_rate: float | None  # CPU seconds per second in a sprint
    inflation: float | None

    @classmethod
    def of(cls, profile: Sequence[ProfileRun], jobs: Sequence[JobRow]) -> "_Partial":
        """From runs of jobs alone, each number from jobs in queues if there is no such run."""
        base = [row for row in profile if row.allocation is AloneAt.BASE]
        sprint = [row for row in profile if row.allocation is AloneAt.SPRINT]
        base_rate = _rate((row.cpu, row.wall) for row in base)
        sprint_rate = _rate((row.cpu, row.wall) for row in sprint)
        inflation = None
        if base and sprint:
            inflation = _mean([row.cpu for row in sprint]) / _mean([row.cpu for row in base])
        parts = [parts for job in jobs if (parts := _parts(job, base_rate or _slow_rate(jobs)))]
        total = sum(job.wall for job in jobs)
        if base_rate is None:
            base_rate = _rate(((cpu, wall) for cpu, wall, _, _ in parts), ENOUGH * total)
        if sprint_rate is None:
            sprint_rate = _rate(((cpu, wall) for _, _, cpu, wall in parts), ENOUGH * total)
        if inflation is None:
            inflation = _inflation(base, parts)
        return cls(base_rate=base_rate, sprint_rate=sprint_rate, inflation=inflation)

    def complete(
        self,
        mechanism: Mechanism,
        profile: Sequence[ProfileRun],
        jobs: Sequence[JobRow],
        *,
        refreshed: bool,
    ) -> KindRates:
        """With the nominal ratio in place of what was not measured."""
        ratio = nominal_speedup(mechanism)
        inflation = self.inflation or 1.0
        base_rate = self.base_rate
        if base_rate is None and self.sprint_rate is not None:
            base_rate = self.sprint_rate / (ratio * inflation)
        if base_rate is None:
            base_rate = _usable(mechanism, mechanism.base_cores)
        speedup = ratio if self.sprint_rate is None else self.sprint_rate / (inflation * base_rate)
        return KindRates(
            work=self._work(profile, jobs, base_rate, inflation, refreshed=refreshed),
            base_rate=base_rate,
            speedup=max(1.0, speedup),
            inflation=inflation,
            guessed="no job was measured at base: its speed there is nominal"
            if self.base_rate is None
            else "",
            guessed_speedup="no sprint was measured: nominal ratio" if self.sprint_rate is None else "",
        )

    @staticmethod
    def _work(
        profile: Sequence[ProfileRun],
        jobs: Sequence[JobRow],
        base_rate: float,
        inflation: float,
        *,
        refreshed: bool,
    ) -> float:
        """CPU seconds of one job at base: those of a sprint count for what they would have been there."""
        sizes: list[float] = [row.cpu for row in profile if row.allocation is AloneAt.BASE]
        sizes = sizes or [row.cpu / inflation for row in profile]
        if refreshed or not sizes:
            for job in jobs:
                parts = _parts(job, base_rate)
                sizes.append(parts[0] + parts[2] / inflation if parts else job.cpu)
        return _mean(sizes)


_Parts = tuple[float, float, float, float]


def _parts(job: JobRow, base_rate: float | None) -> _Parts | None:
    """CPU and wall seconds at base, then in the sprint; None where they cannot be told apart."""
    slow = job.wall - job.sprint
    if job.sprint_cpu is not None:
        return job.cpu - job.sprint_cpu, slow, job.sprint_cpu, job.sprint
    if base_rate is None:
        return None
    at_base = min(job.cpu, base_rate * slow)
    return at_base, slow, job.cpu - at_base, job.sprint


def _slow_rate(jobs: Sequence[JobRow]) -> float | None:
    """CPU seconds per second of the jobs that never sprinted."""
    return _rate((job.cpu, job.wall) for job in jobs if not job.sprint > 0)


def _rate(pairs: Iterable[tuple[float, float]], least: float = 0.0) -> float | None:
    """CPU seconds per second over all pairs; None below `least` seconds."""
    rows = list(pairs)
    cpu, wall = math.fsum(row[0] for row in rows), math.fsum(row[1] for row in rows)
    return cpu / wall if cpu > 0 and wall > max(0.0, least) else None


def _inflation(base: Sequence[ProfileRun], parts: Sequence[_Parts]) -> float | None:
    """What the sprints made of the CPU seconds: theirs over what the unsprinted jobs leave for them."""
    whole = [cpu for cpu, _, _, sprint in parts if sprint == 0] + [row.cpu for row in base]
    sprinted = [row for row in parts if row[3] > 0]
    if not whole or not sprinted:
        return None
    size = _mean(whole)
    left = math.fsum(max(0.0, size - row[0]) for row in sprinted)
    used = math.fsum(row[2] for row in sprinted)
    ratio = (used + PRIOR_JOBS * size) / (left + PRIOR_JOBS * size)
    return min(INFLATION[1], max(INFLATION[0], ratio))
