"""How much slower a node is than usual, from the jobs that just finished on it.

The same job needs a few percent more CPU time on one afternoon than on another (caches, memory,
neighbours), and all kinds drift together. So the logarithms of what jobs needed over what was expected
are averaged, recent ones counting more, and drawn towards no drift as far as they are few or noisy.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

PRIOR = 0.1
"""Standard deviation of the logarithm of the drift, before anything was seen."""

HALF_LIFE = 8.0
"""After this many further jobs a job counts half."""

REMEMBERED = 40
"""Older jobs count less than a thirtieth, and are forgotten."""

LEAST_SPREAD = 0.05
"""No single job says more of the drift than one of this relative dispersion does."""

LARGEST = math.log(2.0)
"""A single job that needed more than twice as much, or less than half, was something else than drift."""


@dataclass(frozen=True, slots=True)
class Surprise:
    """One finished job."""

    log_ratio: float  # of the CPU time that it needed over what was expected
    spread: float  # relative dispersion of its kind


@dataclass(frozen=True, slots=True)
class Drift:
    """The node now."""

    log_factor: float = 0.0
    variance: float = PRIOR**2  # of `log_factor`
    jobs: int = 0  # that it was seen from

    @property
    def factor(self) -> float:
        """By how much work is multiplied."""
        return math.exp(self.log_factor)


def drift_of(surprises: Sequence[Surprise]) -> Drift:
    """The drift from finished jobs, the latest last: a mean by precision, with forgetting and shrinkage."""
    precision, total = 1.0 / PRIOR**2, 0.0
    recent = surprises[-REMEMBERED:]
    for age, surprise in enumerate(reversed(recent)):
        weight = 0.5 ** (age / HALF_LIFE) / max(LEAST_SPREAD, surprise.spread) ** 2
        precision += weight
        total += weight * min(LARGEST, max(-LARGEST, surprise.log_ratio))
    return Drift(total / precision, 1.0 / precision, len(recent))
