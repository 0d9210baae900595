"""The arithmetic of the benchmarks: spreads, paired ratios, bootstrap intervals. Pure."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

RESAMPLES = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Values in one row of a table; `mad` is the median absolute deviation from the median."""

    count: int
    mean: float
    median: float
    p5: float
    p95: float
    p99: float
    mad: float


@dataclass(frozen=True, slots=True)
class Interval:
    """A geometric mean and its 95 % percentile bootstrap interval."""

    centre: float
    low: float
    high: float


def quantile(values: Sequence[float], q: float) -> float:
    """The q-quantile by linear interpolation. Raises `ValueError` of none."""
    if not values:
        raise ValueError("a quantile needs a value")
    ordered = sorted(values)
    place = q * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def spread(values: Sequence[float]) -> Spread:
    """Median, percentiles and dispersion. Raises `ValueError` of none."""
    median = quantile(values, 0.5)
    return Spread(
        count=len(values),
        mean=math.fsum(values) / len(values),
        median=median,
        p5=quantile(values, 0.05),
        p95=quantile(values, 0.95),
        p99=quantile(values, 0.99),
        mad=quantile([abs(value - median) for value in values], 0.5),
    )


def paired_ratios(reference: Sequence[float], other: Sequence[float]) -> list[float]:
    """reference / other, pair by pair: above 1 where `other` is faster. Raises `ValueError` if unpaired."""
    return [r / o for r, o in zip(reference, other, strict=True)]


def geometric_mean(values: Sequence[float]) -> float:
    """Of positive values: a ratio and its inverse then average to 1."""
    if not values:
        raise ValueError("a mean needs a value")
    return math.exp(math.fsum(math.log(value) for value in values) / len(values))


def bootstrap(ratios: Sequence[float], seed: int = 1) -> Interval:
    """The geometric mean of positive ratios, resampled with replacement; one ratio is its own interval."""
    dice = random.Random(seed)
    means = [geometric_mean(dice.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES)]
    return Interval(geometric_mean(ratios), quantile(means, 0.025), quantile(means, 0.975))


def normalised(response: float, cpu: float, expected_cpu: float) -> float:
    """A response as if the run had used the CPU seconds that were expected of it (first order)."""
    return response * expected_cpu / cpu
