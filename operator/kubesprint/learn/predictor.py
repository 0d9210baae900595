"""What a predictor of response times is given, and what it answers.

A `Case` is a test run as far as a view permits, and nothing more: no start, end or sprint of a job, no
duration, no name by which it could be found in a file, and no other test run. So a predictor cannot
look at what it is asked for, however it is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol

from kubesprint.core.dataset import Dataset, Measures, Mechanism, Run
from kubesprint.core.simulation import SprintRules
from kubesprint.core.units import CoreSeconds, Seconds

_NO_INTERVALS: Mapping[float, tuple[float, float]] = MappingProxyType({})


class View(StrEnum):
    """How much of a test run a predictor is told."""

    RAW = "raw"  # policy, arrival instants, kinds
    DRIFT_NORMALISED = "drift_normalised"  # and the CPU seconds of all its jobs together
    KNOWN_SIZES = "known_sizes"  # and the CPU seconds of each of its jobs


ALL_VIEWS = frozenset(View)
ONLY_RAW = frozenset({View.RAW})


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A run to predict. Jobs are in the order of arrival, which is the order of service.

    `total_cpu` is given under `DRIFT_NORMALISED` alone, `cpu` (one value a job, as measured: whatever a
    sprint made of it included) under `KNOWN_SIZES` alone.
    """

    view: View
    mechanism: Mechanism
    servers: int
    rules: SprintRules
    process: str  # what the arrivals were called; the same word need not mean the same elsewhere
    arrivals: tuple[Seconds, ...]
    kinds: tuple[str, ...]
    total_cpu: CoreSeconds | None = None
    cpu: tuple[CoreSeconds, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Response times of one run, in seconds."""

    mean: float
    p95: float
    trusted: bool = True  # False: a kind or the mechanism was not in what was fitted to
    notes: Sequence[str] = ()  # why not trusted; what else a reader must know
    intervals: Mapping[float, tuple[float, float]] = field(default_factory=lambda: _NO_INTERVALS)
    """Where the mean lies with a probability (0.5, 0.8, 0.95): low and high. Empty: no claim."""


class Predictor(Protocol):
    """Fitted once to training runs and then asked. Deterministic: every seed is fixed.

    An instance has no state before `fit`, so a fresh one can be made for each fold of a cross-validation.
    """

    @property
    def name(self) -> str:
        """As in the answer of `kubesprint evaluate`."""
        ...

    @property
    def views(self) -> frozenset[View]:
        """What it can be asked; always `RAW`."""
        ...

    def fit(self, training: Dataset) -> None:
        """Learn from training runs without repeats (at least one) and the profile (perhaps empty)."""
        ...

    def predict(self, case: Case) -> Prediction:
        """The response times of a run. Its view is one of `views`."""
        ...

    @property
    def card(self) -> Mapping[str, object]:
        """What fitting chose, dropped and had to assume: JSON values, by name."""
        ...


def case_of(run: Run, view: View) -> Case:
    """The run as far as the view permits. The only way from a run to a case."""
    jobs, setting = run.jobs, run.setting
    return Case(
        view=view,
        mechanism=setting.mechanism,
        servers=setting.servers,
        rules=setting.rules,
        process=setting.arrivals,
        arrivals=tuple(job.arrival for job in jobs),
        kinds=tuple(job.kind for job in jobs),
        total_cpu=CoreSeconds(sum(job.cpu for job in jobs)) if view is View.DRIFT_NORMALISED else None,
        cpu=tuple(job.cpu for job in jobs) if view is View.KNOWN_SIZES else None,
    )


def prediction_of(
    responses: Sequence[float], *, trusted: bool = True, notes: Sequence[str] = ()
) -> Prediction:
    """The prediction that predicted response times of each job amount to."""
    measures = Measures.of(responses)
    return Prediction(mean=measures.mean, p95=measures.p95, trusted=trusted, notes=notes)
