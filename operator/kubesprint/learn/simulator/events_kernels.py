"""Any number of servers that share one bucket, event by event, for the compiler.

The semantics, the order of events at one instant and the arithmetic are those of
`kubesprint.core.events`, which is the oracle. What differs is how the next event is found: by a look at
every running job instead of a heap, which for tens of servers is faster and allocates nothing.

Everything is a float in one of four arrays. `b` is the bucket and the rules (named `B_...` below), a row
of `s` is a running job (`S_...`), a row of `jobs` a job to simulate (`J_...`), a row of `out` what became
of it (`O_...`). NaN stands for None.
"""

import math

from kubesprint.core.queueing import MANY_CYCLES, SHORTEST_THRESHOLD, SLACK
from kubesprint.learn.simulator.arrays import (
    B_AT,
    B_CAPACITY,
    B_CROWD,
    B_EVENT,
    B_FLOW,
    B_FROM_ARRIVAL,
    B_LEVEL,
    B_QUEUE,
    B_REFILL,
    B_REFILL_IN_SPRINT,
    B_RESTART,
    B_SPRINTING,
    B_START_LEVEL,
    B_THRESHOLD,
    B_TIMEOUT,
    B_TOGGLE,
    B_WAITING,
    J_ARRIVAL,
    J_RATE,
    J_SPRINTING,
    J_STARTED,
    J_TRIGGER,
    J_WORK,
    O_END,
    O_FIRST,
    O_SPRINT,
    O_START,
    S_DUE,
    S_ENDS,
    S_FIRST,
    S_JOB,
    S_LEFT,
    S_RATE,
    S_SINCE,
    S_SPRINT,
    S_STALL,
    S_START,
    S_STATE,
    S_TRIGGER,
    Floats,
)
from kubesprint.learn.simulator.compiler import inlined, kernel

BASE, WAITING, SPRINTING = 0.0, 1.0, 2.0


@inlined
def _settle(b: Floats, now: float) -> None:
    """Bring the level to `now`."""
    if now > b[B_AT]:
        level = b[B_LEVEL] + b[B_FLOW] * (now - b[B_AT])
        if b[B_FLOW] < 0.0:
            level = max(0.0, level)
        b[B_LEVEL] = min(b[B_CAPACITY], level)
    b[B_AT] = now


@inlined
def _look_ahead(b: Floats) -> None:
    """Find the next event of a settled bucket, after jobs began or ceased to sprint or to wait."""
    sprinting = b[B_SPRINTING]
    flow = b[B_REFILL_IN_SPRINT] - sprinting if sprinting > 0.0 else b[B_REFILL]
    b[B_FLOW] = flow
    if sprinting > 0.0 and (flow < 0.0 or b[B_LEVEL] <= 0.0):
        b[B_EVENT] = b[B_AT] + (max(0.0, b[B_LEVEL]) / -flow if flow < 0.0 else 0.0)
    elif b[B_WAITING] > 0.0 and flow > 0.0 and b[B_CAPACITY] >= b[B_THRESHOLD]:
        b[B_EVENT] = b[B_AT] + max(0.0, b[B_THRESHOLD] - b[B_LEVEL]) / flow
    else:
        b[B_EVENT] = math.inf


@inlined
def _set_state(b: Floats, s: Floats, x: int, state: float) -> None:
    """A job sprints, waits for the bucket, or does neither; the bucket counts them."""
    if s[x, S_STATE] == SPRINTING:
        b[B_SPRINTING] -= 1.0
    elif s[x, S_STATE] == WAITING:
        b[B_WAITING] -= 1.0
    if state == SPRINTING:
        b[B_SPRINTING] += 1.0
    elif state == WAITING:
        b[B_WAITING] += 1.0
    s[x, S_STATE] = state


@inlined
def _expect_end(s: Floats, x: int, end: float) -> None:
    s[x, S_DUE] = end
    s[x, S_ENDS] = 1.0


@inlined
def _expect_trigger(s: Floats, x: int) -> None:
    """The next event of a job at base speed: its trigger or its end, whichever comes first."""
    trigger = max(s[x, S_SINCE], s[x, S_TRIGGER])
    if trigger - s[x, S_SINCE] >= s[x, S_LEFT] - SLACK:
        _expect_end(s, x, s[x, S_SINCE] + s[x, S_LEFT])
    else:
        s[x, S_DUE] = trigger
        s[x, S_ENDS] = 0.0


@inlined
def _sprint(b: Floats, s: Floats, x: int, toggle: float, now: float) -> None:
    """Start a sprint; the caller looks ahead."""
    s[x, S_SINCE] = now
    s[x, S_STALL] = toggle
    if math.isnan(s[x, S_FIRST]):
        s[x, S_FIRST] = now
    _set_state(b, s, x, SPRINTING)
    _expect_end(s, x, now + toggle + s[x, S_LEFT] / s[x, S_RATE])


@kernel
def _sprint_all_waiting(b: Floats, s: Floats, n: int, now: float) -> None:
    """Let the jobs that wait for the bucket sprint."""
    for x in range(n):
        if s[x, S_STATE] == WAITING:
            s[x, S_LEFT] -= now - s[x, S_SINCE]
            s[x, S_SINCE] = now
            if s[x, S_LEFT] > SLACK:
                _sprint(b, s, x, b[B_TOGGLE], now)
            else:  # it is ending at this very instant
                _set_state(b, s, x, BASE)
                _expect_end(s, x, now + max(0.0, s[x, S_LEFT]))
    _look_ahead(b)


@inlined
def _revert_all(b: Floats, s: Floats, n: int, now: float) -> None:
    """End every sprint; who may start again waits for the bucket."""
    for x in range(n):
        if s[x, S_STATE] != SPRINTING:
            continue
        span = now - s[x, S_SINCE]
        s[x, S_SPRINT] += span
        s[x, S_LEFT] = max(0.0, s[x, S_LEFT] - max(0.0, span - s[x, S_STALL]) * s[x, S_RATE])
        s[x, S_SINCE] = now
        s[x, S_STALL] = 0.0
        again = b[B_RESTART] > 0.0
        _set_state(b, s, x, WAITING if again and s[x, S_TRIGGER] <= now else BASE)
        if again and s[x, S_TRIGGER] > now:
            _expect_trigger(s, x)
        else:
            _expect_end(s, x, now + s[x, S_LEFT])
    _look_ahead(b)


@kernel
def _count_cycles(b: Floats, s: Floats, n: int, now: float, next_arrival: float) -> None:
    """Pass over equal cycles from threshold to empty to threshold in one step, if there are many."""
    lasts, pause = b[B_THRESHOLD] / -b[B_FLOW], b[B_THRESHOLD] / b[B_REFILL]
    moving = max(0.0, lasts - b[B_TOGGLE])
    cycles, horizon = math.inf, next_arrival
    for x in range(n):
        if s[x, S_STATE] == SPRINTING:
            cycles = min(cycles, s[x, S_LEFT] / (moving * s[x, S_RATE] + pause))
        else:
            horizon = min(horizon, s[x, S_DUE])
    if cycles < MANY_CYCLES or math.isinf(cycles):
        return
    cycles = math.floor(min(cycles, (horizon - now) / (lasts + pause))) - 1.0
    if cycles < MANY_CYCLES:
        return
    now += cycles * (lasts + pause)
    for x in range(n):
        if s[x, S_STATE] == SPRINTING:
            s[x, S_LEFT] -= cycles * (moving * s[x, S_RATE] + pause)
            s[x, S_SPRINT] += cycles * lasts
            s[x, S_SINCE] = now
            _expect_end(s, x, now + s[x, S_STALL] + s[x, S_LEFT] / s[x, S_RATE])
    b[B_AT] = now
    _look_ahead(b)


@inlined
def _on_bucket(b: Floats, s: Floats, n: int, now: float, next_arrival: float) -> None:
    """The bucket is empty, or holds the threshold for which jobs wait."""
    _settle(b, now)
    if b[B_SPRINTING] > 0.0 and (b[B_FLOW] < 0.0 or b[B_LEVEL] <= 0.0):
        b[B_LEVEL] = min(0.0, b[B_LEVEL])  # a debt stays
        _revert_all(b, s, n, now)
        return
    b[B_LEVEL] = b[B_THRESHOLD]
    alone = b[B_SPRINTING] == 0.0
    _sprint_all_waiting(b, s, n, now)
    if alone and b[B_SPRINTING] > 0.0 and b[B_FLOW] < 0.0 and b[B_REFILL] > 0.0 and b[B_RESTART] > 0.0:
        _count_cycles(b, s, n, now, next_arrival)


@inlined
def _on_trigger(b: Floats, s: Floats, n: int, x: int, now: float) -> None:
    """A job wants to sprint from now on."""
    s[x, S_LEFT] -= now - s[x, S_SINCE]
    s[x, S_SINCE] = now
    _settle(b, now)
    _set_state(b, s, x, WAITING)
    if b[B_LEVEL] >= b[B_START_LEVEL]:
        _sprint_all_waiting(b, s, n, now)
    else:
        _expect_end(s, x, now + s[x, S_LEFT])
        _look_ahead(b)


@inlined
def _start(b: Floats, s: Floats, n: int, jobs: Floats, i: int, now: float) -> None:
    """Put job `i` into row `n`, which is behind those of the `n` jobs that run."""
    x, started, trigger = n, jobs[i, J_STARTED], jobs[i, J_TRIGGER]
    runs = not math.isnan(started)
    start = started if runs else now
    if b[B_CAPACITY] < SHORTEST_THRESHOLD:
        trigger = math.inf
    elif math.isnan(trigger):
        trigger = (jobs[i, J_ARRIVAL] if b[B_FROM_ARRIVAL] > 0.0 else start) + b[B_TIMEOUT]
    if math.isnan(jobs[i, J_TRIGGER]) and 0.0 < b[B_CROWD] <= b[B_QUEUE]:
        trigger = min(trigger, now)
    s[x, S_JOB] = i
    s[x, S_START] = start
    s[x, S_SINCE] = now
    s[x, S_LEFT] = jobs[i, J_WORK]
    s[x, S_RATE] = jobs[i, J_RATE]
    s[x, S_TRIGGER] = trigger
    s[x, S_STALL] = 0.0
    s[x, S_SPRINT] = 0.0
    s[x, S_FIRST] = math.nan
    s[x, S_STATE] = BASE
    if runs and jobs[i, J_SPRINTING] > 0.0:
        _settle(b, now)
        _sprint(b, s, x, 0.0, now)
        _look_ahead(b)
    elif trigger <= now and s[x, S_LEFT] > SLACK:
        _on_trigger(b, s, n + 1, n, now)
    else:
        _expect_trigger(s, x)


@inlined
def _end(b: Floats, s: Floats, n: int, x: int, now: float, out: Floats) -> None:
    """The job of row `x` has ended; the last row takes its place."""
    if s[x, S_STATE] != BASE:
        _settle(b, now)
        if s[x, S_STATE] == SPRINTING:
            s[x, S_SPRINT] += now - s[x, S_SINCE]
        _set_state(b, s, x, BASE)
        _look_ahead(b)
    i = int(s[x, S_JOB])
    out[i, O_START] = s[x, S_START]
    out[i, O_END] = now
    out[i, O_SPRINT] = s[x, S_SPRINT]
    out[i, O_FIRST] = s[x, S_FIRST]
    if x < n - 1:
        for field in range(S_TRIGGER + 1):
            s[x, field] = s[n - 1, field]


@inlined
def _next_due(s: Floats, n: int) -> int:
    """The row whose event comes first; of several the job that arrived first."""
    best, due = 0, math.inf
    for x in range(n):
        if s[x, S_DUE] < due or (s[x, S_DUE] == due and s[x, S_JOB] < s[best, S_JOB]):
            best, due = x, s[x, S_DUE]
    return best


@inlined
def _next_queued(jobs: Floats, i: int, total: int) -> int:
    """The first job from `i` on that does not run from the beginning."""
    while i < total and not math.isnan(jobs[i, J_STARTED]):
        i += 1
    return i


@kernel
def _begin(b: Floats, s: Floats, jobs: Floats, total: int, now: float) -> int:
    """Put the jobs that run already into their rows; returns how many."""
    n = 0
    for i in range(total):
        if not math.isnan(jobs[i, J_STARTED]):
            _start(b, s, n, jobs, i, now)
            n += 1
    return n


@kernel
def _trigger_all(b: Floats, s: Floats, n: int, jobs: Floats, now: float) -> None:
    """So many jobs wait that all that run are to sprint, but those with a trigger of their own."""
    for x in range(n):
        if s[x, S_TRIGGER] > now and math.isnan(jobs[int(s[x, S_JOB]), J_TRIGGER]):
            s[x, S_TRIGGER] = now
            if s[x, S_STATE] != SPRINTING:
                _on_trigger(b, s, n, x, now)


@kernel
def simulate(jobs: Floats, total: int, b: Floats, servers: int, s: Floats, out: Floats) -> None:
    """Serve the jobs; `b` is at the first instant, `s` has a row for every job that may run at once.

    `head` is the next job to start, `tail` the next to arrive; both are the same unless a crowd matters.
    """
    now = b[B_AT]
    n = _begin(b, s, jobs, total, now)
    head = tail = _next_queued(jobs, 0, total)
    while n > 0 or head < total:
        x = _next_due(s, n)
        due = s[x, S_DUE] if n > 0 else math.inf
        coming = head if n < servers else (tail if b[B_CROWD] > 0.0 else total)
        arrival = max(now, jobs[coming, J_ARRIVAL]) if coming < total else math.inf
        if arrival < math.inf and arrival <= due and arrival <= b[B_EVENT]:
            now = arrival
            if n < servers:
                b[B_QUEUE] = max(0.0, b[B_QUEUE] - 1.0)
                _start(b, s, n, jobs, head, now)
                n += 1
                head = _next_queued(jobs, head + 1, total)
                tail = max(tail, head)
            else:
                b[B_QUEUE] += 1.0
                tail = _next_queued(jobs, tail + 1, total)
                if b[B_QUEUE] >= b[B_CROWD]:
                    _trigger_all(b, s, n, jobs, now)
        elif b[B_EVENT] < due:
            _on_bucket(b, s, n, max(now, b[B_EVENT]), arrival)
            now = b[B_AT]
        elif s[x, S_ENDS] > 0.0:
            now = max(now, due)
            _end(b, s, n, x, now, out)
            n -= 1
        else:
            now = max(now, due)
            _on_trigger(b, s, n, x, now)
