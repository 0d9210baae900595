"""The recursion in lanes once more, in plain numpy: the fallback without a compiler, and an oracle."""

from typing import Any

import numpy as np

from kubesprint.learn.simulator.arrays import Places
from kubesprint.learn.simulator.lane_arrays import (
    G_GAIN,
    G_GAP,
    G_RATE,
    G_SLOWNESS,
    G_WORK,
    LANES,
    STRIDE,
)


def serve(jobs: Any, kinds: Places, cycles: Any, v: Any, responses: Any) -> None:
    """As `lane_kernels.serve`: one step of numpy for all lanes where that has one for each."""
    rows = v.reshape(-1, STRIDE)[:, :LANES]
    after_start, after_arrival, capacity, refill, start_level, seconds, drain, lasting, wait, burst = rows[4:]
    for j, job in enumerate(jobs):
        free = rows[0] - job[G_GAP]
        start = np.maximum(free, 0.0)
        end = start + job[G_WORK]
        trigger = np.minimum(np.maximum(start + after_start, after_arrival), end)
        level = np.minimum(rows[1] + refill * (trigger - free), capacity)
        left = end - trigger
        pause = np.minimum(np.maximum((start_level - level) * seconds, 0.0), left)
        left = left - pause
        level = level + refill * pause
        sprint = np.minimum(left * job[G_SLOWNESS], level * lasting)
        left = left - sprint * job[G_RATE]
        level = level - drain * sprint
        count = np.trunc(left * cycles[kinds[j], 1, :LANES])
        left = left - count * cycles[kinds[j], 0, :LANES]
        pause = np.minimum(left, wait)
        last = (left - pause) * job[G_SLOWNESS]
        rows[1] = level + refill * pause - drain * last
        sprint = sprint + count * burst + last
        rows[0] = end - job[G_GAIN] * sprint
        rows[2] += rows[0]
        rows[3] += sprint
        if j < len(responses):
            responses[j] = rows[0]
