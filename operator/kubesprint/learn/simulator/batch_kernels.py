"""All candidates of a search on all scenarios in one call, and what each comes to."""

import math

import numpy as np

from kubesprint.learn.simulator.arrays import (
    B_AT,
    B_CROWD,
    B_FROM_ARRIVAL,
    B_TIMEOUT,
    IF_TRIGGERED,
    J_ARRIVAL,
    J_SPRINTING,
    J_STARTED,
    J_TRIGGER,
    O_END,
    O_SPRINT,
    O_START,
    S_TRIGGER,
    Floats,
    Places,
)
from kubesprint.learn.simulator.compiler import kernel
from kubesprint.learn.simulator.events_kernels import simulate

EVALUATE = "void(f8[:,::1], i8[::1], f8[::1], i8, f8, f8[::1], f8[::1], f8[:,::1], i8, f8[:,::1], f8[:,::1])"
"""The one signature for which `evaluate` is compiled."""


@kernel
def _select(values: Floats, total: int, rank: int) -> None:
    """Hoare's selection: the value of this rank to its place, and nothing larger before it."""
    low, high = 0, total - 1
    while low < high:
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while pivot < values[j]:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if j < rank:
            low = i
        if rank < i:
            high = j


@kernel
def _quantile(values: Floats, total: int, share: float) -> float:
    """Between two neighbours by linear interpolation; `values` are left in another order."""
    place = share * (total - 1)
    below = math.floor(place)
    _select(values, total, below)
    if below + 1 >= total:
        return float(values[below])
    above = values[below + 1]
    for x in range(below + 2, total):
        above = min(above, values[x])
    return float(values[below] + (above - values[below]) * (place - below))


@kernel
def _as_chosen(jobs: Floats, first: int, total: int, b: Floats, own: Floats, a: int, work: Floats) -> None:
    """The jobs with the triggers of an alternative; who would trigger later does not sprint now."""
    for i in range(total):
        for field in range(J_SPRINTING + 1):
            work[i, field] = jobs[first + i, field]
        if i < own.shape[1] and not math.isnan(own[a, i]):
            work[i, J_TRIGGER] = own[a, i]
        if work[i, J_SPRINTING] == IF_TRIGGERED:
            trigger = work[i, J_TRIGGER]
            if math.isnan(trigger):
                origin = work[i, J_ARRIVAL] if b[B_FROM_ARRIVAL] > 0.0 else work[i, J_STARTED]
                trigger = origin + b[B_TIMEOUT]
            if trigger > b[B_AT]:
                work[i, J_SPRINTING] = 0.0


@kernel
def _score(
    work: Floats, total: int, out: Floats, from_arrival: float, share: float, scores: Floats, a: int,
    values: Floats,
) -> None:  # fmt: skip
    """Add one scenario to a score: the mean (`share` < 0) or a quantile, sprint seconds, longest wait."""
    responses, sprint = 0.0, 0.0
    for i in range(total):
        response = out[i, O_END] - work[i, J_ARRIVAL]
        values[i] = response
        responses += response
        sprint += out[i, O_SPRINT]
        wait = response if from_arrival > 0.0 else out[i, O_END] - out[i, O_START]
        scores[a, 2] = max(scores[a, 2], wait)
    scores[a, 0] += responses / total if share < 0.0 else _quantile(values, total, share)
    scores[a, 1] += sprint


@kernel
def evaluate(
    jobs: Floats, bounds: Places, rules: Floats, servers: int, share: float, timeouts: Floats, crowds: Floats,
    own: Floats, rows: int, scores: Floats, out: Floats,
) -> None:  # fmt: skip
    """All alternatives on all scenarios.

    Args:
        jobs: of all scenarios, one after the other.
        bounds: where in `jobs` each scenario begins, and the end of the last one.
        rules: `b` as it is at the first instant.
        servers: jobs that run at once.
        share: of the quantile that is asked for; below 0 the mean.
        timeouts: one an alternative.
        crowds: one an alternative: waiting jobs that trigger all.
        own: a row an alternative: triggers of the first jobs of every scenario, NaN where there is none.
        rows: jobs that may run at once, with those that run from the beginning.
        scores: a row an alternative: value, sprint seconds, longest wait. Filled here.
        out: a row for each job of the longest scenario. Left with the outcomes of the last simulation.
    """
    most, scenarios = out.shape[0], bounds.shape[0] - 1
    work, values = np.empty((most, J_SPRINTING + 1)), np.empty(most)
    b, s = np.empty(rules.shape[0]), np.zeros((rows, S_TRIGGER + 1))
    for a in range(timeouts.shape[0]):
        for k in range(scenarios):
            for field in range(rules.shape[0]):
                b[field] = rules[field]
            b[B_TIMEOUT], b[B_CROWD] = timeouts[a], crowds[a]
            total = bounds[k + 1] - bounds[k]
            _as_chosen(jobs, bounds[k], total, b, own, a, work)
            simulate(work, total, b, servers, s, out)
            _score(work, total, out, b[B_FROM_ARRIVAL], share, scores, a, values)
        scores[a, 0] /= scenarios
        scores[a, 1] /= scenarios
