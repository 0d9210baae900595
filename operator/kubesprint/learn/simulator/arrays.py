"""How jobs, rules and running jobs lie in arrays, for everything that is compiled."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kubesprint.core.queueing import SHORTEST_THRESHOLD, bucket_rules, first_level
from kubesprint.core.simulation import Present, SimJob, SprintRules, TriggerClock

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

J_ARRIVAL, J_WORK, J_RATE, J_TRIGGER, J_STARTED, J_SPRINTING = range(6)
IF_TRIGGERED = 2.0
"""A job to simulate: as in `SimJob`; NaN for a trigger by the rules, and for one that does not run yet.

`J_SPRINTING` is 0, 1, or `IF_TRIGGERED`: it sprints unless its trigger is still to come."""

O_START, O_END, O_SPRINT, O_FIRST = range(4)
"""What became of it: as in `Outcome`; NaN for one that never sprinted."""

(
    B_LEVEL,
    B_AT,
    B_FLOW,
    B_EVENT,
    B_SPRINTING,
    B_WAITING,
    B_CAPACITY,
    B_THRESHOLD,
    B_START_LEVEL,
    B_REFILL,
    B_REFILL_IN_SPRINT,
    B_RESTART,
    B_TOGGLE,
    B_TIMEOUT,
    B_FROM_ARRIVAL,
    B_CROWD,
    B_QUEUE,
) = range(17)
"""The bucket (level, as of when, flow, next event, who sprints, who waits for it), the rules, and how many
jobs wait for a server (counted only under a rule about crowds)."""

(
    S_JOB,
    S_DUE,
    S_ENDS,
    S_STATE,
    S_LEFT,
    S_SINCE,
    S_RATE,
    S_STALL,
    S_SPRINT,
    S_FIRST,
    S_START,
    S_TRIGGER,
) = range(12)
"""A running job: its next event (its end, or its trigger), and what `kubesprint.core.events` keeps of it."""


def rules_array(rules: SprintRules, present: Present) -> Floats:
    """The rules, and the bucket as it is at the first instant."""
    bucket, b = bucket_rules(rules), np.zeros(B_QUEUE + 1)
    b[B_LEVEL] = first_level(rules, present)
    b[B_AT] = present.now
    b[B_FLOW] = rules.refill
    b[B_EVENT] = math.inf
    b[B_CAPACITY] = bucket.capacity
    b[B_THRESHOLD] = bucket.threshold
    b[B_START_LEVEL] = bucket.start_level
    b[B_REFILL] = bucket.refill
    b[B_REFILL_IN_SPRINT] = bucket.refill_in_sprint
    b[B_RESTART] = rules.restart
    b[B_TOGGLE] = rules.toggle
    b[B_TIMEOUT] = rules.timeout
    b[B_FROM_ARRIVAL] = rules.clock is TriggerClock.ARRIVAL
    b[B_CROWD] = crowd_of(rules, rules.crowd)
    return b


def crowd_of(rules: SprintRules, crowd: int) -> float:
    """How many waiting jobs trigger all; 0 where nothing ever sprints."""
    return float(crowd) if rules.capacity >= SHORTEST_THRESHOLD else 0.0


def jobs_array(jobs: Sequence[SimJob]) -> Floats:
    """One row a job."""
    rows = [
        (
            job.arrival,
            job.work,
            job.rate,
            math.nan if job.trigger is None else job.trigger,
            math.nan if job.started is None else job.started,
            1.0 if job.sprinting else 0.0,
        )
        for job in jobs
    ]
    return np.array(rows, dtype=np.float64).reshape(len(rows), J_SPRINTING + 1)
