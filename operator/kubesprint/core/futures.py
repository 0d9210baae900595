"""Arrivals that may come: sampled from the rate and the mix of those seen so far.

Every candidate policy is judged on the same samples (common random numbers), so that their
difference is the policy and not the dice.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kubesprint.core.forecast import KindModel
from kubesprint.core.simulation import SimJob
from kubesprint.core.units import Seconds

Dice = Callable[[], float]
"""Uniform numbers in [0, 1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrivalHistory:
    """What has been seen of the arrival process."""

    instants: Sequence[Seconds]  # ascending
    kinds: Sequence[str]  # one for each instant
    now: Seconds

    def rate(self) -> float:
        """Arrivals a second so far; 0 while there is nothing to learn from."""
        if len(self.instants) < 2:
            return 0.0
        span = max(self.now, self.instants[-1]) - self.instants[0]
        return (len(self.instants) - 1) / span if span > 0 else 0.0


def sample_futures(
    history: ArrivalHistory, model: Callable[[str], KindModel], dice: Dice, scenarios: int, jobs: int
) -> list[list[SimJob]]:
    """Independent futures of `jobs` arrivals each: Poisson at the seen rate, kinds and sizes resampled."""
    rate = history.rate()
    if rate <= 0:
        return [[] for _ in range(scenarios)]
    return [_one_future(history, rate, model, dice, jobs) for _ in range(scenarios)]


def _one_future(
    history: ArrivalHistory, rate: float, model: Callable[[str], KindModel], dice: Dice, jobs: int
) -> list[SimJob]:
    future = []
    at = float(history.now)
    for _ in range(jobs):
        at -= math.log(1.0 - dice()) / rate
        kind = model(history.kinds[int(dice() * len(history.kinds))])
        future.append(SimJob(arrival=Seconds(at), work=_size(kind, dice), rate=kind.rate))
    return future


def _size(kind: KindModel, dice: Dice) -> Seconds:
    """A log-normal size with the kind's mean and deviation."""
    variation = kind.deviation / kind.work
    if variation <= 0:
        return kind.work
    sigma = math.sqrt(math.log(1.0 + variation * variation))
    normal = math.sqrt(-2.0 * math.log(1.0 - dice())) * math.cos(2.0 * math.pi * dice())
    return Seconds(kind.work * math.exp(sigma * normal - sigma * sigma / 2.0))
