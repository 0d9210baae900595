"""The recursion in lanes once more, in plain numpy: the fallback without a compiler, and an oracle."""

from typing import Any

import numpy as np

from kubesprint.learn.simulator.arrays import Places
from kubesprint.learn.simulator.lane_arrays import (
    C_INVERSE,
    C_PAUSE,
    C_REFILL,
    C_WORK,
    G_GAIN,
    G_GAP,
    G_SLOWNESS,
    G_WORK,
    LANES,
    STRIDE,
)


def serve(jobs: Any, kinds: Places, cycles: Any, v: Any, responses: Any) -> None:
    """As `lane_kernels.serve`: one step of numpy for all lanes where that has one for each."""
    rows = v.reshape(-1, STRIDE)[:, :LANES]
    after_start, after_arrival, capacity, refill, start_level, seconds, _, burst = rows[4:]
    for j, job in enumerate(jobs):
        cycle = cycles[kinds[j], :, :LANES]
        free = rows[0] - job[G_GAP]
        end = np.maximum(free, 0.0) + job[G_WORK]
        trigger = np.minimum(np.maximum(free + after_start, after_arrival), end)
        level = np.minimum(rows[1] + refill * (trigger - free), capacity)
        left = end - trigger
        pause = np.minimum(np.maximum(start_level - level * seconds, 0.0), left)
        level = level + refill * pause
        left = left * job[G_SLOWNESS] - pause * job[G_SLOWNESS]
        sprint = np.minimum(left, level)
        left, level = left - sprint, level - sprint
        count = np.trunc(left * cycle[C_INVERSE])
        left = left - count * cycle[C_WORK]
        pause = np.minimum(left, cycle[C_PAUSE])
        last = left - pause
        rows[1] = level + cycle[C_REFILL] * pause - last
        sprint = sprint + count * burst + last
        rows[0] = end - job[G_GAIN] * sprint
        rows[2] += rows[0]
        rows[3] += sprint
        if j < len(responses):
            responses[j] = rows[0]
