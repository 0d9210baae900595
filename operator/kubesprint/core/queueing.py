"""One server, exactly: a recursion from job to job that costs O(1) a sprint. The oracle of the simulators.

The semantics are those of `kubesprint.core.simulation`. `kubesprint.core.events` computes the same for
any number of servers along a separate path; both share only the numbers and the bookkeeping below.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kubesprint.core.budget import RefillRule
from kubesprint.core.simulation import Outcome, Present, SimJob, SprintRules, TriggerClock
from kubesprint.core.units import FOREVER, Seconds

SHORTEST_THRESHOLD = 1e-9
"""Sprint seconds. A shorter hysteresis counts as this one; a smaller bucket never starts a sprint."""

SLACK = 1e-10
"""Seconds, of work or of budget, that rounding may take away: two instants this close are one tie."""

MANY_CYCLES = 64
"""From this many equal sprint-and-refill cycles in a row on, they are counted instead of walked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketRules:
    """The rules of the bucket as the simulators use them: sprint seconds, and sprint seconds per second."""

    capacity: float
    threshold: float
    start_level: float  # at least this much starts a sprint: the threshold less the rounding
    refill: float
    refill_in_sprint: float  # while any job sprints


def bucket_rules(rules: SprintRules) -> BucketRules:
    """The bucket of a policy."""
    threshold = max(SHORTEST_THRESHOLD, min(rules.hysteresis, rules.capacity))
    return BucketRules(
        capacity=rules.capacity,
        threshold=threshold,
        start_level=threshold - min(SLACK, threshold * 1e-3),
        refill=rules.refill,
        refill_in_sprint=rules.refill if rules.refill_rule is RefillRule.CONTINUOUS else 0.0,
    )


def first_level(rules: SprintRules, present: Present) -> float:
    """What the bucket holds at the start, in sprint seconds; negative while a debt is repaid."""
    return rules.capacity if present.level is None else min(rules.capacity, present.level)


def trigger_instant(job: SimJob, rules: SprintRules, start: float) -> float:
    """The instant from which a job that starts at `start` wants to sprint."""
    if rules.capacity < SHORTEST_THRESHOLD:
        return FOREVER
    if job.trigger is not None:
        return job.trigger
    return (job.arrival if rules.clock is TriggerClock.ARRIVAL else start) + rules.timeout


@dataclass(slots=True)
class _Course:
    """Where the server stands: the instant, the bucket at that instant, and the work left of its job."""

    rules: SprintRules
    bucket: BucketRules
    at: float
    level: float
    left: float = 0.0
    sprint: float = 0.0
    sprint_start: float | None = None

    def begin(self, work: float) -> None:
        """Take the next job."""
        self.left, self.sprint, self.sprint_start = work, 0.0, None

    def idle(self, span: float) -> None:
        """Let the bucket refill."""
        self.at += span
        self.level = min(self.bucket.capacity, self.level + span * self.bucket.refill)

    def at_base(self, span: float) -> None:
        """Run at base speed, as far as there is work, while the bucket refills."""
        span = min(span, self.left)
        self.left -= span
        self.idle(span)

    def until_threshold(self) -> float:
        """How long the bucket takes to hold the threshold at base speed."""
        if self.level >= self.bucket.start_level:
            return 0.0
        if self.bucket.refill <= 0 or self.bucket.capacity < self.bucket.threshold:
            return math.inf
        return (self.bucket.threshold - self.level) / self.bucket.refill

    def lasts(self) -> float:
        """How long the bucket feeds a sprint from now."""
        drain = 1.0 - self.bucket.refill_in_sprint
        if self.level <= 0:
            return 0.0
        return self.level / drain if drain > 0 else math.inf

    def in_sprint(self, rate: float, toggle: float) -> None:
        """Sprint until the job ends or the bucket is empty."""
        if self.sprint_start is None:
            self.sprint_start = self.at
        span, lasts = toggle + self.left / rate, self.lasts()
        if span <= lasts:
            self.left = 0.0
            self.level += (self.bucket.refill_in_sprint - 1.0) * span
            self.level = min(self.bucket.capacity, self.level)
        else:
            span = lasts
            self.left = max(0.0, self.left - max(0.0, span - toggle) * rate)
            self.level = min(0.0, self.level)
        self.at += span
        self.sprint += span

    def count_cycles(self, rate: float) -> None:
        """Pass over equal cycles from threshold to empty to threshold in one step, if there are many.

        Without this a hysteresis of a microsecond would cost a million steps a second of work.
        """
        drain, refill = 1.0 - self.bucket.refill_in_sprint, self.bucket.refill
        if not self.rules.restart or drain <= 0 or refill <= 0:
            return
        lasts, pause = self.bucket.threshold / drain, self.bucket.threshold / refill
        progress = max(0.0, lasts - self.rules.toggle) * rate + pause
        cycles = math.floor(self.left / progress) - 1
        if cycles >= MANY_CYCLES:
            if self.sprint_start is None:
                self.sprint_start = self.at
            self.left -= cycles * progress
            self.at += cycles * (lasts + pause)
            self.sprint += cycles * lasts

    def finish(self, job: SimJob, trigger: float) -> None:
        """Run the job of this course to its end."""
        sprinted = sprinting = job.started is not None and job.sprinting
        if sprinting:
            self.in_sprint(job.rate, toggle=0.0)
        if trigger > self.at:
            self.at_base(trigger - self.at)
        while self.left > SLACK and (self.rules.restart or not sprinted):
            pause = self.until_threshold()
            if self.left - pause <= SLACK:
                break
            if pause > 0:
                self.at_base(pause)
                self.level = self.bucket.threshold
                self.count_cycles(job.rate)
            self.in_sprint(job.rate, self.rules.toggle)
            sprinted = True
        self.at_base(self.left)


def simulate_one_server(jobs: Sequence[SimJob], rules: SprintRules, present: Present) -> list[Outcome]:
    """Serve the jobs, given in the order of their arrival, one after another.

    Raises:
        ValueError: more than one job is running already.
    """
    running = [i for i, job in enumerate(jobs) if job.started is not None]
    if len(running) > 1:
        raise ValueError(f"one server cannot be running {len(running)} jobs")
    course = _Course(rules, bucket_rules(rules), present.now, first_level(rules, present))
    outcomes: dict[int, Outcome] = {}
    for i in [*running, *(i for i in range(len(jobs)) if i not in running)]:
        job = jobs[i]
        if job.started is None and job.arrival > course.at:
            course.idle(job.arrival - course.at)
        start = course.at if job.started is None else job.started
        course.begin(job.work)
        course.finish(job, trigger_instant(job, rules, start))
        began = course.sprint_start
        outcomes[i] = Outcome(
            start=Seconds(start),
            end=Seconds(course.at),
            sprint=Seconds(course.sprint),
            sprint_start=None if began is None else Seconds(began),
        )
    return [outcomes[i] for i in range(len(jobs))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Response times and spending of one simulation."""

    jobs: int
    mean: Seconds
    p50: Seconds
    p95: Seconds
    p99: Seconds
    sprint: Seconds  # sprint seconds of all jobs


def quantile(ordered: Sequence[float], share: float) -> float:
    """The quantile of values in ascending order, between two neighbours by linear interpolation."""
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    if below + 1 >= len(ordered):
        return ordered[-1]
    return ordered[below] + (ordered[below + 1] - ordered[below]) * (place - below)


def summarise(jobs: Sequence[SimJob], outcomes: Sequence[Outcome]) -> Summary:
    """What a simulation comes to.

    Raises:
        ValueError: there are no jobs.
    """
    if not jobs:
        raise ValueError("there are no jobs to summarise")
    responses = sorted(o.end - job.arrival for job, o in zip(jobs, outcomes, strict=True))
    return Summary(
        jobs=len(jobs),
        mean=Seconds(math.fsum(responses) / len(responses)),
        p50=Seconds(quantile(responses, 0.5)),
        p95=Seconds(quantile(responses, 0.95)),
        p99=Seconds(quantile(responses, 0.99)),
        sprint=Seconds(math.fsum(o.sprint for o in outcomes)),
    )
