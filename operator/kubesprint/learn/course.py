"""One run simulated: the sizes that its view tells, the speeds of the model, and what agrees with both.

A measured size has the sprint in it, and how much of a job is sprinted is what the simulation says: so
sizes, sprinted shares and speeds are found together, in a few rounds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kubesprint.core.events import simulate_servers
from kubesprint.core.queueing import simulate_one_server
from kubesprint.core.simulation import Outcome, Present, QueueSimulator, SimJob, SprintRules
from kubesprint.core.units import Seconds
from kubesprint.learn.observations import Floats
from kubesprint.learn.predictor import Case, View
from kubesprint.learn.whitebox import Kind

ROUNDS = 10
"""At most so many simulations of one run; the later ones are damped, for near a threshold they may swing."""

SETTLED = 1e-6
DAMPED_FROM = 4

JobFactors = Callable[[Floats, Floats], Floats]
"""From the progress of each job at the start of its sprint (NaN: none), and the share of its work done
in it, to a factor on its speed-up."""


def plain_simulator(
    jobs: Sequence[SimJob], rules: SprintRules, servers: int, present: Present
) -> Sequence[Outcome]:
    """The simulators of the core: the recursion for one server, events for more."""
    if servers == 1:
        return simulate_one_server(jobs, rules, present)
    return simulate_servers(jobs, rules, servers, present)


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """The model's numbers, one a job: arrays of one length."""

    work: Floats  # CPU seconds at base
    base_rate: Floats  # CPU seconds per second
    speedup: Floats  # at least 1, except inside the fit of a residual
    inflation: Floats

    @classmethod
    def of(cls, kinds: Sequence[Kind]) -> "Numbers":
        """What the model says of jobs of these kinds: of typical size, on an average run."""
        return cls(
            np.array([kind.work.work for kind in kinds]),
            np.array([kind.speed.base_rate for kind in kinds]),
            np.array([kind.speedup for kind in kinds]),
            np.array([kind.work.inflation for kind in kinds]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """What became of the jobs of one run."""

    responses: Floats
    shares: Floats  # of each job's work, that was done in a sprint
    progress: Floats  # share of its work that was done when it first sprinted; NaN: it never did
    sizes: Floats  # CPU seconds at base
    speedup: Floats  # as simulated


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What simulates runs."""

    simulator: QueueSimulator = plain_simulator
    dead: float = 0.0  # seconds that the machine needs to start a job

    def settle(
        self, case: Case, numbers: Numbers, factors: JobFactors | None = None, known: Floats | None = None
    ) -> Course:
        """Simulate until sizes, shares and speeds agree.

        Args:
            case: the run, with what its view tells of the sizes.
            numbers: of the model.
            factors: learned, on the speed-up of each job.
            known: sizes in CPU seconds at base that are to be taken as they are, whatever the view.
        """
        shares = np.zeros(len(case.arrivals))
        speedup = numbers.speedup
        sizes = agreed_sizes(case, numbers, shares) if known is None else known
        course = self.once(case, numbers, sizes, speedup)
        for turn in range(ROUNDS):
            if factors is not None:
                speedup = np.maximum(1.0, numbers.speedup * factors(course.progress, course.shares))
            elif known is not None:
                break  # nothing depends on the outcome
            damping = 1.0 if turn < DAMPED_FROM else 0.5
            shares = shares + damping * (course.shares - shares)
            before = sizes
            if known is None:
                sizes = agreed_sizes(case, numbers, shares)
            last = course
            course = self.once(case, numbers, sizes, speedup)
            moved = float(np.max(np.abs(course.responses / np.maximum(last.responses, 1e-12) - 1.0)))
            if moved <= SETTLED and float(np.max(np.abs(sizes / before - 1.0))) <= SETTLED:
                break
        return course

    def once(self, case: Case, numbers: Numbers, sizes: Floats, speedup: Floats) -> Course:
        """One simulation with these sizes and speeds."""
        # dead time passes at base speed whatever the allocation: it is work that no sprint speeds up
        walls = sizes / numbers.base_rate
        works = walls + self.dead
        rates = works / (walls / speedup + self.dead)
        jobs = [
            SimJob(arrival=arrival, work=Seconds(work), rate=rate)
            for arrival, work, rate in zip(case.arrivals, works.tolist(), rates.tolist(), strict=True)
        ]
        outcomes = self.simulator(jobs, case.rules, case.servers, Present())
        sprinted = np.array([outcome.sprint for outcome in outcomes])
        waited = [
            float("nan") if outcome.sprint_start is None else outcome.sprint_start - outcome.start
            for outcome in outcomes
        ]
        return Course(
            np.array([outcome.end for outcome in outcomes]) - np.array(case.arrivals),
            np.minimum(1.0, sprinted * rates / works),
            np.minimum(1.0, np.array(waited) / works),
            sizes,
            speedup,
        )


def agreed_sizes(case: Case, numbers: Numbers, shares: Floats) -> Floats:
    """CPU seconds at base of each job, as the view tells them, if these shares of the work are sprinted."""
    costs = 1.0 + shares * (numbers.inflation - 1.0)
    if case.view is View.KNOWN_SIZES and case.cpu is not None:
        return np.array(case.cpu) / costs
    if case.view is View.DRIFT_NORMALISED and case.total_cpu is not None:
        return numbers.work * (case.total_cpu / float(np.sum(numbers.work * costs)))
    return numbers.work
