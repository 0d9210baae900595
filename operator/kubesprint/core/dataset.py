"""Measured runs, as a model is fitted to them and judged by them. docs/dataset.md describes the files.

Instants are seconds from the start of a run, budgets are sprint seconds: a job that sprints for one
second drains one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from kubesprint.core.budget import RefillRule
from kubesprint.core.queueing import quantile
from kubesprint.core.simulation import SprintRules, TriggerClock
from kubesprint.core.units import FOREVER, Cores, CoreSeconds, Seconds


class Knob(StrEnum):
    """How a mechanism holds a job to its base allocation."""

    QUOTA = "quota"  # CPU time per period: `base_cores` may be below 1 and a thread may be throttled
    CORES = "cores"  # a set of cores: whole ones


class Split(StrEnum):
    """What a run is for."""

    TRAIN = "train"
    TEST = "test"


class AloneAt(StrEnum):
    """The allocation of a run of a job alone."""

    BASE = "base"
    SPRINT = "sprint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mechanism:
    """A way to sprint. One name is one mechanism throughout a dataset."""

    name: str
    knob: Knob
    threads: int  # of each job; at least 1
    base_cores: Cores
    sprint_cores: Cores  # at least `base_cores`


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One run's rules and arrivals: a line of `settings.jsonl`."""

    run: str  # unique
    setting: str  # runs of one setting differ by what nobody controls
    split: Split
    mechanism: Mechanism
    servers: int = 1
    timeout: Seconds = FOREVER  # FOREVER = never
    clock: TriggerClock = TriggerClock.ARRIVAL
    capacity: Seconds = Seconds(0.0)  # sprint seconds
    refill: float = 0.0  # sprint seconds per second
    refill_rule: RefillRule = RefillRule.PAUSED
    hysteresis: Seconds = Seconds(0.2)  # sprint seconds, above 0
    duration: Seconds | None = None  # from the start of the run to its last end
    arrivals: str = ""  # what the arrivals were: `trace`, or the name of a process
    repeat: int = 0  # above 0: run again to see the noise; neither fitted to nor scored
    started_at: str | None = None

    @property
    def rules(self) -> SprintRules:
        """The policy as the simulators take it."""
        return SprintRules(
            timeout=self.timeout,
            clock=self.clock,
            capacity=self.capacity,
            refill=self.refill,
            refill_rule=self.refill_rule,
            hysteresis=self.hysteresis,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """One job of a run: a row of `jobs.csv`."""

    kind: str
    arrival: Seconds
    start: Seconds
    end: Seconds
    cpu: CoreSeconds  # above 0
    sprint: Seconds = Seconds(0.0)  # wall time sprinted
    sprint_start: Seconds | None = None  # the first one; None: never, or not recorded
    sprint_cpu: CoreSeconds | None = CoreSeconds(0.0)  # None: sprinted, but not recorded

    @property
    def response(self) -> Seconds:
        """From arrival to end."""
        return Seconds(self.end - self.arrival)

    @property
    def wall(self) -> Seconds:
        """From start to end."""
        return Seconds(self.end - self.start)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRun:
    """One run of a job alone: a row of `profile.csv`."""

    mechanism: str  # the name of one of the dataset's mechanisms
    kind: str
    allocation: AloneAt
    wall: Seconds  # above 0
    cpu: CoreSeconds  # above 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """Response times of one run."""

    mean: Seconds
    p95: Seconds  # between two jobs by linear interpolation

    @classmethod
    def of(cls, responses: Iterable[float]) -> "Measures":
        """The measures of response times, of which there is at least one."""
        ordered = sorted(responses)
        return cls(mean=Seconds(sum(ordered) / len(ordered)), p95=Seconds(quantile(ordered, 0.95)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One measured run: its setting, and its jobs (at least one) in the order of arrival."""

    setting: Setting
    jobs: tuple[JobRow, ...]

    @property
    def measured(self) -> Measures:
        """What was measured."""
        return Measures.of(job.response for job in self.jobs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Measured runs, and runs of jobs alone where there are any."""

    runs: tuple[Run, ...]
    profile: tuple[ProfileRun, ...] = ()

    @property
    def training(self) -> "Dataset":
        """What may be fitted to: the train runs that are no repeats, and the whole profile."""
        return replace(self, runs=self._first(Split.TRAIN))

    @property
    def scored(self) -> tuple[Run, ...]:
        """The test runs that are no repeats."""
        return self._first(Split.TEST)

    def _first(self, split: Split) -> tuple[Run, ...]:
        return tuple(run for run in self.runs if run.setting.split is split and run.setting.repeat == 0)

    @property
    def mechanisms(self) -> dict[str, Mechanism]:
        """Every mechanism that a run used, by name."""
        return {run.setting.mechanism.name: run.setting.mechanism for run in self.runs}

    def without(self, left_out: Sequence[Run]) -> "Dataset":
        """The same without some runs, for a fold of a cross-validation by run; the profile stays."""
        names = {run.setting.run for run in left_out}
        return replace(self, runs=tuple(run for run in self.runs if run.setting.run not in names))
