"""The semantics of `kubesprint.core.simulation` in exact rationals, slow and as plain as they are written.

A third path beside the recursion and the event simulation. At every instant it asks every rule anew;
between two instants everything moves in straight lines. There is no rounding, so ties are ties.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf

from kubesprint.core.budget import RefillRule
from kubesprint.core.simulation import Outcome, Present, SimJob, SprintRules, TriggerClock

Instant = Fraction | float  # the float is infinity only


@dataclass
class ExactJob:
    arrival: Fraction
    left: Fraction
    rate: Fraction
    own_trigger: Instant | None
    start: Fraction | None = None
    end: Fraction | None = None
    trigger: Instant = inf
    sprinting: bool = False
    stall: Fraction = Fraction(0)
    sprints: int = 0
    sprint: Fraction = Fraction(0)
    sprint_start: Fraction | None = None

    @property
    def running(self) -> bool:
        return self.start is not None and self.end is None

    def speed(self) -> Fraction:
        if not self.sprinting:
            return Fraction(1)
        return self.rate if self.stall == 0 else Fraction(0)


def finite(value: float) -> Fraction:
    """The number as it is written: 0.1 is a tenth here, so that ties in decimals are ties."""
    return Fraction(repr(value))


def instant(value: float) -> Instant:
    return value if value == inf else finite(value)


class ExactQueue:
    def __init__(self, jobs: Sequence[SimJob], rules: SprintRules, servers: int, present: Present) -> None:
        self.rules, self.servers = rules, servers
        self.now = finite(present.now)
        self.capacity = finite(rules.capacity)
        self.threshold = min(finite(rules.hysteresis), self.capacity)
        self.refill = finite(rules.refill)
        self.level = self.capacity if present.level is None else min(self.capacity, finite(present.level))
        self.jobs = [
            ExactJob(
                finite(job.arrival),
                finite(job.work),
                finite(job.rate),
                None if job.trigger is None else instant(job.trigger),
            )
            for job in jobs
        ]
        for exact, job in zip(self.jobs, jobs, strict=True):
            if job.started is not None:
                self.begin(exact, finite(job.started))
                if job.sprinting:
                    exact.sprinting, exact.sprints, exact.sprint_start = True, 1, self.now

    def begin(self, job: ExactJob, start: Fraction) -> None:
        job.start = start
        origin = job.arrival if self.rules.clock is TriggerClock.ARRIVAL else start
        job.trigger = origin + instant(self.rules.timeout) if job.own_trigger is None else job.own_trigger

    def running(self) -> list[ExactJob]:
        return [job for job in self.jobs if job.running]

    def sprinters(self) -> list[ExactJob]:
        return [job for job in self.running() if job.sprinting]

    def wishing(self) -> list[ExactJob]:
        """Running jobs that would sprint now if the bucket held the threshold."""
        if self.threshold == 0:
            return []
        return [
            job
            for job in self.running()
            if not job.sprinting and job.trigger <= self.now and (self.rules.restart or job.sprints == 0)
        ]

    def flow(self) -> Fraction:
        n = len(self.sprinters())
        if n == 0:
            return self.refill
        return (self.refill if self.rules.refill_rule is RefillRule.CONTINUOUS else 0) - Fraction(n)

    def end_jobs(self) -> bool:
        done = [job for job in self.running() if job.left == 0]
        for job in done:
            job.end, job.sprinting = self.now, False
        return bool(done)

    def revert(self) -> bool:
        sprinters = self.sprinters()
        if not sprinters or self.level > 0:
            return False
        for job in sprinters:
            job.sprinting, job.stall = False, Fraction(0)
        return True

    def start_jobs(self) -> bool:
        queued = [job for job in self.jobs if job.start is None and job.arrival <= self.now]
        if not queued or len(self.running()) >= self.servers:
            return False
        self.begin(queued[0], self.now)
        return True

    def start_sprints(self) -> bool:
        wishing = self.wishing()
        if not wishing or self.level < self.threshold:
            return False
        for job in wishing:
            job.sprinting, job.stall = True, finite(self.rules.toggle)
            job.sprints += 1
            job.sprint_start = self.now if job.sprint_start is None else job.sprint_start
        return True

    def next_instant(self) -> Fraction:
        times: list[Instant] = []
        for job in self.jobs:
            if job.start is None and len(self.running()) < self.servers:
                times.append(job.arrival)
            if job.running and job.trigger > self.now:
                times.append(job.trigger)
            if job.running and job.stall > 0:
                times.append(self.now + job.stall)
            elif job.running:
                times.append(self.now + job.left / job.speed())
        flow = self.flow()
        if self.sprinters() and flow < 0:
            times.append(self.now + self.level / -flow)
        if self.wishing() and flow > 0:
            times.append(self.now + (self.threshold - self.level) / flow)
        found = min(times)
        assert isinstance(found, Fraction)
        assert found > self.now
        return found

    def advance(self, until: Fraction) -> None:
        span = until - self.now
        self.level = min(self.capacity, self.level + self.flow() * span)
        for job in self.running():
            job.left -= job.speed() * span
            if job.sprinting:
                job.sprint += span
                job.stall -= min(job.stall, span)
        self.now = until

    def run(self) -> None:
        while True:
            while self.end_jobs() or self.revert() or self.start_jobs() or self.start_sprints():
                pass
            if all(job.end is not None for job in self.jobs):
                return
            self.advance(self.next_instant())


def simulate_exactly(
    jobs: Sequence[SimJob], rules: SprintRules, servers: int, present: Present
) -> list[Outcome]:
    """A QueueSimulator: exact inside, rounded once at the end."""
    queue = ExactQueue(jobs, rules, servers, present)
    queue.run()
    outcomes = []
    for job in queue.jobs:
        assert job.start is not None
        assert job.end is not None
        began = None if job.sprint_start is None else float(job.sprint_start)
        outcomes.append(
            Outcome(start=float(job.start), end=float(job.end), sprint=float(job.sprint), sprint_start=began)
        )
    return outcomes
