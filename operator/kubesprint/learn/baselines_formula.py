"""A formula of the M/G/1 type: what people write down before they simulate.

Kingman's mean wait with the arrivals' and the services' variation (Sakasegawa's form for more than one
server), the service at two speeds, and a fixed point for how much of it is sprinted: the longer jobs
wait, the more of them sprints, the shorter they wait. It describes a queue that has been running for
ever; a measured run is a window that starts empty, so above `FULL` the load is cut there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from kubesprint.core.budget import RefillRule
from kubesprint.core.dataset import Dataset
from kubesprint.core.simulation import SprintRules, TriggerClock
from kubesprint.learn.baselines import agreed_sizes
from kubesprint.learn.baselines_rates import KindRates, RateTable, read_rates
from kubesprint.learn.predictor import ALL_VIEWS, Case, Prediction

FULL = 0.95
"""The load above which no stationary wait is computed."""

ROUNDS = 200
DAMPING = 0.3
"""Share of a new value that a round of the fixed point takes over."""

SETTLED = 1e-6
"""Changes below this share of a service time, or of the sprints, end the rounds."""

QUANTILES = tuple((index + 0.5) / 20 for index in range(20))
"""Of the wait, over which the sprinted share is averaged."""


class Formula:
    """Kingman's formula with a fixed point for the sprinted share."""

    name = "formula"
    views = ALL_VIEWS

    def __init__(self) -> None:
        self._table: RateTable | None = None

    def fit(self, training: Dataset) -> None:
        """Read the speeds and the work of each kind."""
        self._table = read_rates(training, refreshed=True)

    @property
    def card(self) -> Mapping[str, object]:
        """What it is."""
        return {"form": "Kingman / Sakasegawa, two-speed service, fixed point", "load cut at": FULL}

    def predict(self, case: Case) -> Prediction:
        """The stationary mean, and a 95 % quantile from an exponential tail of the wait."""
        if self._table is None:
            raise ValueError(f"{self.name} was not fitted")
        rates = [self._table.of(case.mechanism, kind) for kind in case.kinds]
        sprints = case.rules.timeout < math.inf
        notes = sorted({doubt for one in rates if (doubt := one.doubt(sprints=sprints))})
        queue = _fixed_point(case, rates)
        tail = queue.wait / queue.load * math.log(queue.load / 0.05) if queue.load > 0.05 else 0.0
        return Prediction(
            mean=queue.wait + queue.service,
            p95=max(queue.wait, tail) + queue.service,
            trusted=not notes,
            notes=notes,
        )


@dataclass(frozen=True, slots=True)
class _Queue:
    """A stationary queue, in seconds."""

    wait: float
    service: float
    load: float  # of each server, 0..FULL


def _fixed_point(case: Case, rates: Sequence[KindRates]) -> _Queue:
    gap, gap_variation = _gaps(case)
    wait, fed = 0.0, 1.0
    shares = [0.0] * len(rates)
    queue = _Queue(0.0, 0.0, 0.0)
    for _ in range(ROUNDS):
        works = agreed_sizes(case, rates, shares)
        walls = [work / one.base_rate for work, one in zip(works, rates, strict=True)]
        wanted = [_sprinted(case.rules, wall, queue) for wall in walls]
        shares = [fed * part / wall if wall > 0 else 0.0 for part, wall in zip(wanted, walls, strict=True)]
        sprints = [share * wall / one.speedup for share, wall, one in zip(shares, walls, rates, strict=True)]
        services = [
            (1.0 - share) * wall + sprint for share, wall, sprint in zip(shares, walls, sprints, strict=True)
        ]
        queue = _kingman(services, gap, gap_variation, case.servers)
        spent = sum(sprints) / len(sprints) / gap / fed if fed > 0 else 0.0
        steps = queue.wait - wait, _affordable(case, spent, gap * len(rates)) - fed
        wait, fed = wait + DAMPING * steps[0], fed + DAMPING * steps[1]
        queue = _Queue(wait, queue.service, queue.load)
        if abs(steps[0]) <= SETTLED * queue.service and abs(steps[1]) <= SETTLED:
            break
    return queue


def _gaps(case: Case) -> tuple[float, float]:
    """Mean and squared coefficient of variation of the time between arrivals."""
    ordered = sorted(case.arrivals)
    gaps = [after - before for before, after in pairwise(ordered)]
    if not gaps or sum(gaps) <= 0:
        return max(ordered[-1], 1.0), 1.0
    mean = sum(gaps) / len(gaps)
    return mean, sum((gap - mean) ** 2 for gap in gaps) / len(gaps) / mean**2


def _kingman(services: Sequence[float], gap: float, gap_variation: float, servers: int) -> _Queue:
    mean = sum(services) / len(services)
    variation = sum((service - mean) ** 2 for service in services) / len(services) / mean**2
    load = min(FULL, mean / (gap * servers))
    crowd = load ** (math.sqrt(2.0 * (servers + 1)) - 1.0) / (servers * (1.0 - load))
    return _Queue((gap_variation + variation) / 2.0 * crowd * mean, mean, load)


def _sprinted(rules: SprintRules, wall: float, queue: _Queue) -> float:
    """Base seconds of a job that are left when its trigger comes, averaged over an exponential wait."""
    if math.isinf(rules.timeout) or rules.capacity <= 0:
        return 0.0
    if rules.clock is TriggerClock.START:
        return max(0.0, wall - rules.timeout)
    left = 0.0
    for quantile in QUANTILES:
        waited = 0.0
        if queue.load > 0 and quantile > 1.0 - queue.load:
            waited = queue.wait / queue.load * math.log(queue.load / (1.0 - quantile))
        left += min(wall, max(0.0, wall - (rules.timeout - waited)))
    return left / len(QUANTILES)


def _affordable(case: Case, spent: float, span: float) -> float:
    """The share of the wanted sprint seconds (`spent` a second) that the bucket can pay for over `span`."""
    rules = case.rules
    if spent <= 0 or math.isinf(rules.capacity):
        return 1.0
    # while any job sprints nothing is refilled, unless the refill is continuous
    busy = 0.0 if rules.refill_rule is RefillRule.CONTINUOUS else min(1.0, spent)
    return min(1.0, (rules.capacity / span + rules.refill * (1.0 - busy)) / spent)
