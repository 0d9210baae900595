"""One server by recursion, many policies side by side: no branch depends on a lane.

The semantics are those of `kubesprint.core.queueing`. A job runs at base until its trigger and until the
bucket holds the threshold, then sprints until it ends or the bucket is empty. From there on equal cycles
follow, from empty to threshold to empty; as many as fit are counted at once, and what is left is a last
pause and a last sprint. So every job takes the same steps in every lane, whatever becomes of it.

Two things differ from the recursion, both below what a policy can mean: where rounding decides whether
the bucket holds the threshold, and that a threshold missed by less than 1e-10 is not waited for.
"""

from typing import Any

import numpy as np

from kubesprint.learn.simulator.arrays import Places
from kubesprint.learn.simulator.compiler import lanes
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
    V_AFTER_ARRIVAL,
    V_AFTER_START,
    V_BACKLOG,
    V_BURST,
    V_CAPACITY,
    V_LEVEL,
    V_REFILL,
    V_RESPONSE,
    V_SECONDS_A_LEVEL,
    V_SPRINT,
    V_START_LEVEL,
)

DOUBLE = "void(f8[:,::1], i8[::1], f8[:,:,::1], f8[::1], f8[:,::1])"
SINGLE = DOUBLE.replace("f8", "f4")

BACKLOG, LEVEL = V_BACKLOG * STRIDE, V_LEVEL * STRIDE
RESPONSE, SPRINT = V_RESPONSE * STRIDE, V_SPRINT * STRIDE
AFTER_START, AFTER_ARRIVAL = V_AFTER_START * STRIDE, V_AFTER_ARRIVAL * STRIDE
CAPACITY, REFILL, START_LEVEL = V_CAPACITY * STRIDE, V_REFILL * STRIDE, V_START_LEVEL * STRIDE
SECONDS_A_LEVEL, BURST = V_SECONDS_A_LEVEL * STRIDE, V_BURST * STRIDE


def _serve(jobs: Any, kinds: Places, cycles: Any, v: Any, responses: Any) -> None:
    """Serve all jobs in all lanes.

    Args:
        jobs: one row a job, `G_...`.
        kinds: by job: which rows of `cycles` are its own.
        cycles: [kind, `C_...`, lane].
        v: rows `V_...` of `STRIDE` numbers; the first four are state and sums, and change.
        responses: [job, lane], filled for as many jobs as there are rows (none, or all).
    """
    for j in range(jobs.shape[0]):
        gap, work, slowness = jobs[j, G_GAP], jobs[j, G_WORK], jobs[j, G_SLOWNESS]
        gain, kind, zero = jobs[j, G_GAIN], kinds[j], gap - gap
        for i in range(LANES):
            free = v[BACKLOG + i] - gap
            start = max(zero, free)
            end = start + work  # without any sprint
            trigger = free + v[AFTER_START + i]
            trigger = max(v[AFTER_ARRIVAL + i], trigger)
            trigger = min(end, trigger)
            refill = v[REFILL + i]
            level = v[LEVEL + i] + refill * (trigger - free)
            level = min(v[CAPACITY + i], level)
            left = end - trigger
            pause = v[START_LEVEL + i] - level * v[SECONDS_A_LEVEL + i]
            pause = max(zero, pause)
            pause = min(left, pause)
            level = level + refill * pause
            left = left * slowness - pause * slowness  # from here on in seconds of a sprint
            sprint = min(level, left)
            left, level = left - sprint, level - sprint
            count = np.trunc(left * cycles[kind, C_INVERSE, i])
            left = left - count * cycles[kind, C_WORK, i]
            pause = min(cycles[kind, C_PAUSE, i], left)
            last = left - pause
            v[LEVEL + i] = level + cycles[kind, C_REFILL, i] * pause - last
            sprint = sprint + count * v[BURST + i] + last
            end = end - gain * sprint
            v[BACKLOG + i] = end
            v[RESPONSE + i] += end
            v[SPRINT + i] += sprint
        if j < responses.shape[0]:
            for i in range(LANES):
                responses[j, i] = v[BACKLOG + i]


serve = lanes(_serve)
serve_single = lanes(_serve)
