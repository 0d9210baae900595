"""How policies lie side by side, and jobs before them, for the recursion of one server in lanes.

Everything is relative to the arrival of a job, so that nothing grows with the length of a trace: the
backlog of a lane is how long after a job's arrival its server becomes free, negative while it is idle.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kubesprint.core.budget import RefillRule
from kubesprint.core.queueing import SHORTEST_THRESHOLD, SLACK
from kubesprint.core.simulation import Present, SimJob, SprintRules, TriggerClock
from kubesprint.learn.simulator.arrays import Floats, Places

LANES = 64
"""Policies in one call: enough to hide the latency of each, few enough to stay in the first cache."""

STRIDE = LANES + 4
"""Numbers from one row to the next: no power of two, which would put all rows into one cache set."""

(
    V_BACKLOG,
    V_LEVEL,
    V_RESPONSE,
    V_SPRINT,
    V_AFTER_START,
    V_AFTER_ARRIVAL,
    V_CAPACITY,
    V_REFILL,
    V_START_LEVEL,
    V_SECONDS_A_LEVEL,
    V_PAUSE,
    V_BURST,
) = range(12)
"""Rows: backlog, level, sums of responses and of sprint seconds; then the policy.

Levels are counted in the seconds that one sprint would last on them. A job triggers at the later of
`V_AFTER_START` after the server is free for it and `V_AFTER_ARRIVAL` after it arrived. `V_START_LEVEL` is
how long an empty bucket waits for the threshold as the kernels see it; `V_PAUSE` and `V_BURST` are how long
a cycle from an empty bucket waits, and then sprints.
"""

C_WORK, C_INVERSE, C_PAUSE, C_REFILL = range(4)
"""By kind of job, in the seconds that its work lasts in a sprint: what a whole cycle does, its inverse, what
its pause does, and what the bucket gains while a second of that is done at base."""

G_GAP, G_WORK, G_RATE, G_SLOWNESS, G_GAIN = range(5)
"""Columns of a job: seconds since the last arrival, work, speed-up, its inverse, and less one."""

ENDLESS = 1e15
"""Seconds that a sprint lasts on each that the bucket holds, where a refill outruns the drain."""

HUGE, HUGE_SINGLE = 1e150, 1e18
"""Never, where infinity times nothing would be no number: in double and in single precision. The square is
still a number: what is missing in a bucket without refill, times the seconds that it waits for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Jobs of one server, for all lanes."""

    jobs: Any  # f8[jobs, 5], or f4
    kinds: Places  # by job: which of `rates`
    rates: Floats
    first: float  # arrival of the first job


def trace_of(jobs: Sequence[SimJob]) -> Trace:
    """Jobs in the order of arrival, none of them running, none with a trigger of its own."""
    arrivals = np.array([job.arrival for job in jobs], dtype=np.float64)
    rates = np.array([job.rate for job in jobs], dtype=np.float64)
    known, kinds = np.unique(rates, return_inverse=True)
    table = np.empty((len(jobs), 5))
    table[:, G_GAP] = np.diff(arrivals, prepend=arrivals[:1])
    table[:, G_WORK] = [job.work for job in jobs]
    table[:, G_RATE] = rates
    table[:, G_SLOWNESS] = 1.0 / rates
    table[:, G_GAIN] = rates - 1.0
    return Trace(jobs=table, kinds=kinds.astype(np.int64), rates=known, first=float(arrivals[0]))


def can_run_in_lanes(jobs: Sequence[SimJob], rules: SprintRules, servers: int, present: Present) -> bool:
    """One server, no toggle, nothing running yet, no job that is treated apart, and no debt."""
    alike = all(job.trigger is None and job.started is None for job in jobs)
    solvent = present.level is None or present.level >= 0
    return alike and solvent and servers == 1 and float(rules.toggle) == 0.0


def policy_rows(policies: Sequence[SprintRules], present: Present, first: float) -> Floats:
    """[row, policy]: everything that `V_...` names, for any number of policies."""
    capacity = np.array([p.capacity for p in policies])
    timeout = np.array([p.timeout for p in policies])
    refill = np.array([p.refill for p in policies])
    from_arrival = np.array([p.clock is TriggerClock.ARRIVAL for p in policies])
    continuous = np.array([p.refill_rule is RefillRule.CONTINUOUS for p in policies])
    restart = np.array([p.restart for p in policies])
    threshold = np.minimum(np.array([p.hysteresis for p in policies]), capacity)
    threshold = np.maximum(SHORTEST_THRESHOLD, threshold)
    timeout = np.where(capacity < SHORTEST_THRESHOLD, HUGE, timeout)
    drain = 1.0 - np.where(continuous, refill, 0.0)
    seconds = np.where(refill > 0, 1.0 / np.where(refill > 0, refill, 1.0), HUGE)
    lasts = np.where(drain > 0, 1.0 / np.where(drain > 0, drain, 1.0), ENDLESS)
    start_level = threshold - np.minimum(SLACK, threshold * 1e-3)
    again = restart & (refill > 0) & (drain > 0)
    rows = np.empty((V_BURST + 1, len(policies)))
    rows[V_BACKLOG] = present.now - first
    level = capacity if present.level is None else np.minimum(capacity, present.level)
    rows[V_LEVEL] = level * lasts
    rows[V_RESPONSE] = rows[V_SPRINT] = 0.0
    rows[V_AFTER_START] = np.where(from_arrival, 0.0, timeout)
    rows[V_AFTER_ARRIVAL] = timeout  # of either clock
    rows[V_CAPACITY], rows[V_REFILL] = capacity * lasts, refill * lasts
    rows[V_START_LEVEL], rows[V_SECONDS_A_LEVEL] = start_level * lasts, np.minimum(seconds / lasts, HUGE)
    rows[V_PAUSE] = np.where(again, threshold * seconds, HUGE)
    rows[V_BURST] = np.where(again, threshold * lasts, 0.0)
    return np.clip(rows, -HUGE, HUGE)


def lane_arrays(rows: Floats, rates: Floats, precision: Any) -> tuple[Any, Any]:
    """Up to `LANES` policies as the kernels take them; lanes that are left over repeat the last policy."""
    width, huge = rows.shape[1], HUGE if precision == np.float64 else HUGE_SINGLE
    v = np.zeros((V_BURST + 1, STRIDE), dtype=precision)
    v[:, :width] = np.clip(rows, -huge, huge)
    v[:, width:LANES] = v[:, width - 1 : width]
    v[V_START_LEVEL] *= v[V_SECONDS_A_LEVEL]
    pause, burst, rate = v[V_PAUSE, :LANES], v[V_BURST, :LANES], rates[:, np.newaxis]
    whole = np.where(pause < huge, pause / rate + burst, 0.0)
    cycles = np.zeros((len(rates), 4, STRIDE), dtype=precision)
    cycles[:, C_WORK, :LANES] = whole
    cycles[:, C_INVERSE, :LANES] = np.where(whole > 0, 1.0 / np.where(whole > 0, whole, 1.0), 0.0)
    cycles[:, C_PAUSE, :LANES] = np.where(pause < huge, pause / rate, huge)
    cycles[:, C_REFILL, :LANES] = v[V_REFILL, :LANES] * rate
    return v.ravel(), cycles
