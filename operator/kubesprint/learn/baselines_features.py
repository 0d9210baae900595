"""A run as a row of numbers, for predictors that know nothing of queues.

Two sets: the *setting* (policy, mechanism, which kinds how often, and the load that they offer at the
base allocation), and on top of it a *summary of the trace* (how uneven the arrivals and the offered
work were). Neither holds a recursion over jobs: a number that needs one is a simulation.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from kubesprint.core.budget import RefillRule
from kubesprint.core.dataset import Dataset, Knob
from kubesprint.core.simulation import TriggerClock
from kubesprint.learn.baselines_rates import RateTable, nominal_speedup, read_rates
from kubesprint.learn.predictor import Case, View, case_of

LONGEST = 100.0
"""In mean service times: a time-out of never, and a bucket without a bottom, count as this."""

WINDOWS = (0.1, 0.25)
"""Shares of the run over which the densest stretch of arrivals is sought."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The numbers of a run, and what its response times are measured in."""

    features: tuple[float, ...]
    service: float  # seconds of a mean job at the base allocation


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureMaker:
    """Makes rows that mean the same for every run, fitted to training runs."""

    table: RateTable
    kinds: tuple[str, ...]
    mechanisms: tuple[str, ...]
    processes: tuple[str, ...]
    with_trace: bool

    @classmethod
    def fitted(cls, training: Dataset, *, with_trace: bool) -> "FeatureMaker":
        """Learn which kinds, mechanisms and arrival processes there are, and what they take."""
        cases = [case_of(run, View.RAW) for run in training.runs]
        return cls(
            table=read_rates(training, refreshed=True),
            kinds=tuple(sorted({kind for case in cases for kind in case.kinds})),
            mechanisms=tuple(sorted({case.mechanism.name for case in cases})),
            processes=tuple(sorted({case.process for case in cases})),
            with_trace=with_trace,
        )

    def row(self, case: Case) -> Row:
        """One run."""
        rates = [self.table.of(case.mechanism, kind) for kind in case.kinds]
        walls = [one.base_wall for one in rates]
        service = sum(walls) / len(walls)
        features = [*_policy(case, service), *self._mechanism(case), *self._mix(case)]
        features += [_deviation(walls) / service, sum(one.speedup for one in rates) / len(rates)]
        features += [float(case.process == process) for process in self.processes]
        features += _load(case, walls)
        if self.with_trace:
            features += _trace(case, walls)
        return Row(features=tuple(features), service=service)

    def _mechanism(self, case: Case) -> list[float]:
        mechanism = case.mechanism
        known = [float(mechanism.name == name) for name in self.mechanisms]
        return [
            float(mechanism.knob is Knob.QUOTA),
            float(mechanism.threads),
            mechanism.base_cores,
            mechanism.sprint_cores,
            nominal_speedup(mechanism),
            *known,
        ]

    def _mix(self, case: Case) -> list[float]:
        return [case.kinds.count(kind) / len(case.kinds) for kind in self.kinds]


def _policy(case: Case, service: float) -> list[float]:
    """Times in mean service times, so that a policy means the same for long and short jobs."""
    rules = case.rules
    return [
        float(math.isinf(rules.timeout)),
        math.log1p(min(LONGEST, rules.timeout / service)),
        float(rules.clock is TriggerClock.ARRIVAL),
        math.log1p(min(LONGEST, rules.capacity / service)),
        min(LONGEST, rules.refill),
        float(rules.refill_rule is RefillRule.CONTINUOUS),
        rules.hysteresis,
        float(case.servers),
    ]


def _load(case: Case, walls: Sequence[float]) -> list[float]:
    """How many jobs, how fast they come, and what of the servers they ask at the base allocation."""
    span = _span(case, walls)
    load = sum(walls) / (span * case.servers)
    return [math.log(len(walls)), math.log(len(walls) / span), load, math.log(load)]


def _span(case: Case, walls: Sequence[float]) -> float:
    """From the first arrival to one mean gap after the last one."""
    count = len(case.arrivals)
    between = max(case.arrivals) - min(case.arrivals)
    return between * count / (count - 1) if count > 1 and between > 0 else sum(walls)


def _trace(case: Case, walls: Sequence[float]) -> list[float]:
    """How uneven arrivals and offered work were."""
    first, count = min(case.arrivals), len(case.arrivals)
    span = _span(case, walls)
    gaps = [after - before for before, after in pairwise(case.arrivals)] or [span]
    mean = max(sum(gaps) / len(gaps), 1e-9)
    halves = [0.0, 0.0, 0.0]
    for arrival, wall in zip(case.arrivals, walls, strict=True):
        halves[min(2, int(3 * (arrival - first) / span))] += wall
    features = [_deviation(gaps) / mean, max(gaps) / mean, *(part / sum(walls) for part in halves)]
    for share in WINDOWS:
        features.append(_densest(case.arrivals, [1.0] * count, share * span) / count)
        features.append(_densest(case.arrivals, walls, share * span) / (share * span * case.servers))
    return features


def _densest(arrivals: Sequence[float], weights: Sequence[float], width: float) -> float:
    """The most weight that arrives within any stretch of `width` seconds."""
    best = inside = 0.0
    tail = 0
    for arrival, weight in zip(arrivals, weights, strict=True):
        inside += weight
        while arrivals[tail] < arrival - width:
            inside -= weights[tail]
            tail += 1
        best = max(best, inside)
    return best


def _deviation(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return math.sqrt(sum((one - mean) ** 2 for one in values) / len(values))
