"""Any number of servers that share one bucket: an event simulation, O(log servers) an event.

The semantics are those of `kubesprint.core.simulation`. Every running job has at most one event of its
own in the heap (its trigger, or its end at the present speed) and the bucket has one (empty, or at the
threshold while jobs wait for it), so a job that never sprints costs one push and one pop.
"""

import heapq
import math
from collections.abc import Sequence

from kubesprint.core.queueing import (
    MANY_CYCLES,
    SHORTEST_THRESHOLD,
    SLACK,
    bucket_rules,
    first_level,
    trigger_instant,
)
from kubesprint.core.simulation import Outcome, Present, SimJob, SprintRules
from kubesprint.core.units import Seconds


class _Running:
    """A job on a server. `left` is its work at `since`, the instant of its last change of speed."""

    __slots__ = ("begun", "ends_next", "left", "rate", "since", "sprint", "sprint_start", "stall", "start",
                 "trigger", "version")  # fmt: skip

    def __init__(self, start: float, since: float, left: float, rate: float, trigger: float) -> None:
        self.start = start
        self.since = since
        self.left = left
        self.rate = rate
        self.trigger = trigger
        self.stall = 0.0  # what is left of the toggle at `since`
        self.sprint = 0.0
        self.sprint_start: float | None = None
        self.begun = False  # whether it has sprinted before
        self.version = 0  # an event of an older version is void
        self.ends_next = False  # whether its event is its end, not its trigger


class _Servers:
    """The state between two events. `level` is the bucket at `level_at`, flowing by `flow` since."""

    def __init__(self, jobs: Sequence[SimJob], rules: SprintRules, servers: int, present: Present) -> None:
        self.jobs = jobs
        self.rules = rules
        self.bucket = bucket_rules(rules)
        self.now: float = present.now
        self.level = first_level(rules, present)
        self.level_at: float = present.now
        self.flow = rules.refill
        self.bucket_event = math.inf
        self.free = servers
        self.running: dict[int, _Running] = {}
        self.sprinting: dict[int, _Running] = {}
        self.waiting: dict[int, _Running] = {}  # triggered, but the bucket is short
        self.heap: list[tuple[float, int, int]] = []  # instant, job, version
        self.outcomes: dict[int, Outcome] = {}
        self.queue = [i for i, job in enumerate(jobs) if job.started is None]
        self.head = 0  # place in the queue of the next job to start
        self.tail = 0  # place in the queue of the next job to arrive, as far as anybody counts them
        self.crowd = rules.crowd if rules.capacity >= SHORTEST_THRESHOLD else 0

    # the bucket

    def settle(self, now: float) -> None:
        """Bring the level to `now`."""
        if now > self.level_at:
            level = self.level + self.flow * (now - self.level_at)
            if self.flow < 0:
                level = max(0.0, level)
            self.level = min(self.bucket.capacity, level)
        self.level_at = now

    def look_ahead(self) -> None:
        """Find the next event of a settled bucket, after jobs began or ceased to sprint or to wait."""
        n = len(self.sprinting)
        flow = self.flow = self.bucket.refill_in_sprint - n if n else self.bucket.refill
        missing = self.bucket.threshold - self.level
        if n and (flow < 0 or self.level <= 0):
            self.bucket_event = self.level_at + (max(0.0, self.level) / -flow if flow < 0 else 0.0)
        elif self.waiting and flow > 0 and self.bucket.capacity >= self.bucket.threshold:
            self.bucket_event = self.level_at + max(0.0, missing) / flow
        else:
            self.bucket_event = math.inf

    def on_bucket(self, now: float) -> None:
        """The bucket is empty, or holds the threshold for which jobs wait."""
        self.settle(now)
        if self.sprinting and (self.flow < 0 or self.level <= 0):
            self.level = min(0.0, self.level)  # a debt stays
            self.revert_all(now)
            self.look_ahead()
            return
        self.level = self.bucket.threshold
        alone = not self.sprinting
        self.sprint_all_waiting(now)
        if alone and self.flow < 0 and self.bucket.refill > 0 and self.rules.restart:
            self.count_cycles(now)

    def count_cycles(self, now: float) -> None:
        """Pass over equal cycles from threshold to empty to threshold in one step, if there are many."""
        lasts, pause = self.bucket.threshold / -self.flow, self.bucket.threshold / self.bucket.refill
        moving = max(0.0, lasts - self.rules.toggle)
        cycles = min((j.left / (moving * j.rate + pause) for j in self.sprinting.values()), default=0.0)
        if cycles < MANY_CYCLES:
            return
        horizon = min(
            (t for t, i, version in self.heap if i not in self.sprinting and self.is_due(i, version)),
            default=math.inf,
        )
        horizon = min(horizon, self.next_arrival(now))
        cycles = math.floor(min(cycles, (horizon - now) / (lasts + pause))) - 1
        if cycles < MANY_CYCLES:
            return
        now += cycles * (lasts + pause)
        for i, job in self.sprinting.items():
            job.left -= cycles * (moving * job.rate + pause)
            job.sprint += cycles * lasts
            job.since = now
            self.expect_end(i, job, now + job.stall + job.left / job.rate)
        self.level_at = now
        self.look_ahead()

    # the jobs

    def is_due(self, i: int, version: int) -> bool:
        """Whether an event of the heap still stands."""
        job = self.running.get(i)
        return job is not None and job.version == version

    def expect_end(self, i: int, job: _Running, end: float) -> None:
        """Put the end of a job into the heap, in place of its last event."""
        job.version += 1
        job.ends_next = True
        heapq.heappush(self.heap, (end, i, job.version))

    def expect_trigger(self, i: int, job: _Running) -> None:
        """Put the trigger or the end of a job at base speed into the heap, whichever comes first."""
        trigger = max(job.since, job.trigger)
        if trigger - job.since >= job.left - SLACK:
            self.expect_end(i, job, job.since + job.left)
        else:
            job.version += 1
            job.ends_next = False
            heapq.heappush(self.heap, (trigger, i, job.version))

    def sprint_all_waiting(self, now: float) -> None:
        """Let the jobs that wait for the bucket sprint, the oldest first."""
        waiting, self.waiting = self.waiting, {}
        for i in sorted(waiting):
            job = waiting[i]
            job.left -= now - job.since
            job.since = now
            if job.left > SLACK:
                self.sprint(i, job, now)
            else:  # it is ending at this very instant
                self.expect_end(i, job, now + max(0.0, job.left))
        self.look_ahead()

    def sprint(self, i: int, job: _Running, now: float) -> None:
        """Start a sprint; the caller looks ahead."""
        job.since, job.stall = now, self.rules.toggle
        if job.sprint_start is None:
            job.sprint_start = now
        job.begun = True
        self.sprinting[i] = job
        self.expect_end(i, job, now + job.stall + job.left / job.rate)

    def revert_all(self, now: float) -> None:
        """End every sprint; who may start again waits for the bucket."""
        reverted, self.sprinting = self.sprinting, {}
        for i, job in reverted.items():
            span = now - job.since
            job.sprint += span
            job.left = max(0.0, job.left - max(0.0, span - job.stall) * job.rate)
            job.since, job.stall = now, 0.0
            if self.rules.restart and job.trigger <= now:
                self.waiting[i] = job
                self.expect_end(i, job, now + job.left)
            elif self.rules.restart:
                self.expect_trigger(i, job)
            else:
                self.expect_end(i, job, now + job.left)

    def on_trigger(self, i: int, job: _Running, now: float) -> None:
        """A job wants to sprint from now on."""
        job.left -= now - job.since
        job.since = now
        self.settle(now)
        self.waiting[i] = job
        if self.level >= self.bucket.start_level:
            self.sprint_all_waiting(now)
        else:
            self.expect_end(i, job, now + job.left)
            self.look_ahead()

    def on_end(self, i: int, job: _Running, now: float) -> None:
        """A job has ended and leaves its server."""
        del self.running[i]
        self.free += 1
        if i in self.sprinting:
            self.settle(now)
            job.sprint += now - job.since
            del self.sprinting[i]
            self.look_ahead()
        elif i in self.waiting:
            self.settle(now)
            del self.waiting[i]
            self.look_ahead()
        began = None if job.sprint_start is None else Seconds(job.sprint_start)
        self.outcomes[i] = Outcome(
            start=Seconds(job.start), end=Seconds(now), sprint=Seconds(job.sprint), sprint_start=began
        )

    def start(self, i: int, now: float) -> None:
        """Put a job on a server."""
        job = self.jobs[i]
        start = now if job.started is None else job.started
        trigger = trigger_instant(job, self.rules, start)
        if self.crowded() and job.trigger is None:
            trigger = min(trigger, now)
        running = _Running(start, now, job.work, job.rate, trigger)
        self.free -= 1
        self.running[i] = running
        if job.started is not None and job.sprinting:
            self.settle(now)
            self.sprint(i, running, now)
            running.stall = 0.0
            self.expect_end(i, running, now + running.left / running.rate)
            self.look_ahead()
        elif running.trigger <= now and running.left > SLACK:
            self.on_trigger(i, running, now)
        else:
            self.expect_trigger(i, running)

    # the queue

    def next_arrival(self, now: float) -> float:
        """When the head of the queue starts, if a server is free; else who comes next, if that matters."""
        place = self.head if self.free > 0 else self.tail if self.crowd else len(self.queue)
        return max(now, self.jobs[self.queue[place]].arrival) if place < len(self.queue) else math.inf

    def crowded(self) -> bool:
        """Whether enough jobs wait for all to sprint."""
        return 0 < self.crowd <= self.tail - self.head

    def on_arrival(self, now: float) -> None:
        """The head of the queue starts, or somebody joins the queue."""
        if self.free > 0:
            self.head += 1
            self.tail = max(self.tail, self.head)
            self.start(self.queue[self.head - 1], now)
            return
        self.tail += 1
        if self.crowded():
            for i, job in sorted(self.running.items()):
                if job.trigger > now and self.jobs[i].trigger is None:
                    job.trigger = now
                    if i not in self.sprinting:
                        self.on_trigger(i, job, now)

    def run(self) -> None:
        """Go from event to event until every job has ended."""
        heap, jobs, running = self.heap, self.jobs, self.running
        for i, job in enumerate(jobs):
            if job.started is not None:
                self.start(i, self.now)
        now = self.now
        while self.head < len(self.queue) or running:
            due = heap[0][0] if heap else math.inf
            arrival = self.next_arrival(now)
            if arrival < math.inf and arrival <= due and arrival <= self.bucket_event:
                now = arrival
                self.on_arrival(now)
                continue
            if self.bucket_event < due:
                now = max(now, self.bucket_event)
                self.on_bucket(now)
                now = self.level_at
                continue
            due, i, version = heapq.heappop(heap)
            found = running.get(i)
            if found is None or found.version != version:
                continue
            now = max(now, due)
            if found.ends_next:
                self.on_end(i, found, now)
            else:
                self.on_trigger(i, found, now)


def simulate_servers(
    jobs: Sequence[SimJob], rules: SprintRules, servers: int, present: Present
) -> list[Outcome]:
    """Serve the jobs, given in the order of their arrival, by `servers` servers that share one bucket.

    Jobs that are running already keep their servers, even if they are more than `servers`.

    Raises:
        ValueError: there is no server.
    """
    if servers < 1:
        raise ValueError(f"a queue needs a server, not {servers}")
    state = _Servers(jobs, rules, servers, present)
    state.run()
    return [state.outcomes[i] for i in range(len(jobs))]
