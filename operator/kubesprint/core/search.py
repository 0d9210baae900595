"""Which time-out is best: a grid, then a closer look around its best point. Deterministic and pure.

Every candidate is simulated on the same jobs (common random numbers), so that two candidates differ by
the time-out and by nothing else. The objective is neither convex nor continuous in the time-out, so the
grid comes first and is never skipped.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from kubesprint.core.queueing import Summary, summarise
from kubesprint.core.simulation import Outcome, Present, QueueSimulator, SimJob, SprintRules, TriggerClock
from kubesprint.core.spec import Statistic
from kubesprint.core.units import FOREVER, Seconds

TIE = 1e-9
"""Values that differ by less than this share are equal; the larger time-out, which spends less, wins."""

_LONGEST_GRID = 400


@dataclass(frozen=True, slots=True)
class Candidate:
    """One time-out and what it comes to, averaged over the scenarios."""

    timeout: Seconds
    value: Seconds  # the statistic of the response time
    sprint: Seconds  # sprint seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """The best time-out, and every candidate in ascending order; the last one is "never"."""

    timeout: Seconds
    value: Seconds
    curve: tuple[Candidate, ...]


def statistic_of(summary: Summary, statistic: Statistic) -> Seconds:
    """One number of a summary."""
    return {
        Statistic.MEAN: summary.mean,
        Statistic.P50: summary.p50,
        Statistic.P95: summary.p95,
        Statistic.P99: summary.p99,
    }[statistic]


@dataclass(frozen=True, slots=True)
class _Trial:
    """What all candidates have in common."""

    scenarios: Sequence[Sequence[SimJob]]
    rules: SprintRules
    servers: int
    simulate: QueueSimulator
    present: Present
    statistic: Statistic

    def outcomes(self, jobs: Sequence[SimJob], timeout: Seconds) -> Sequence[Outcome]:
        return self.simulate(jobs, replace(self.rules, timeout=timeout), self.servers, self.present)

    def candidate(self, timeout: Seconds) -> Candidate:
        summaries = [summarise(jobs, self.outcomes(jobs, timeout)) for jobs in self.scenarios]
        return Candidate(
            timeout,
            Seconds(sum(statistic_of(s, self.statistic) for s in summaries) / len(summaries)),
            Seconds(sum(s.sprint for s in summaries) / len(summaries)),
        )

    def longest_wait(self) -> float:
        """The time-out that no job lives to see when nothing sprints: from here on all are "never"."""
        arrival = self.rules.clock is TriggerClock.ARRIVAL
        return max(
            outcome.end - (job.arrival if arrival else outcome.start)
            for jobs in self.scenarios
            for job, outcome in zip(jobs, self.outcomes(jobs, FOREVER), strict=True)
        )

    def mean_work(self) -> float:
        works = [job.work for jobs in self.scenarios for job in jobs]
        return sum(works) / len(works)


def evaluate(
    scenarios: Sequence[Sequence[SimJob]],
    rules: SprintRules,
    servers: int,
    simulate: QueueSimulator,
    *,
    present: Present,
    statistic: Statistic,
) -> Candidate:
    """The time-out of `rules` as it stands, over non-empty scenarios."""
    return _Trial(scenarios, rules, servers, simulate, present, statistic).candidate(rules.timeout)


def search_timeout(
    scenarios: Sequence[Sequence[SimJob]],
    rules: SprintRules,
    servers: int,
    simulate: QueueSimulator,
    *,
    present: Present | None = None,
    statistic: Statistic = Statistic.MEAN,
    also: Sequence[Seconds] = (),
    per_doubling: int = 1,
    rounds: int = 2,
) -> SearchResult:
    """The time-out with the least response time, averaged over the scenarios.

    Args:
        scenarios: lists of jobs, each in the order of arrival: one trace, or several sampled futures.
            Empty ones say nothing and are left out; without any job the answer is "never".
        rules: all but the time-out, which is replaced.
        simulate: any implementation of the simulator's contract.
        present: where the simulations start; by default at 0 with a full bucket.
        statistic: of the response time.
        also: time-outs to try whatever the grid says.
        per_doubling: points of the grid for each doubling of the time-out; the grid spans a quarter of the
            mean work to the longest wait, and has 0 and infinity beside it.
        rounds: how often the neighbourhood of the best point is halved.
    """
    peopled = [jobs for jobs in scenarios if jobs]
    if not peopled:
        nothing = Candidate(FOREVER, Seconds(0.0), Seconds(0.0))
        return SearchResult(timeout=FOREVER, value=nothing.value, curve=(nothing,))
    trial = _Trial(peopled, rules, servers, simulate, present or Present(), statistic)
    longest = trial.longest_wait()
    grid = _grid(trial.mean_work(), longest, per_doubling)
    curve = [trial.candidate(timeout) for timeout in sorted({*grid, *also})]
    for _ in range(rounds):
        known = [c.timeout for c in curve]
        between = _halves(known, known.index(best_of(curve).timeout), longest)
        curve += [trial.candidate(timeout) for timeout in between]
        curve.sort(key=lambda c: c.timeout)
    best = best_of(curve)
    return SearchResult(timeout=best.timeout, value=best.value, curve=tuple(curve))


def best_of(curve: Sequence[Candidate]) -> Candidate:
    """The candidate with the least value; among equals the one with the largest time-out."""
    least = min(candidate.value for candidate in curve)
    return max((c for c in curve if c.value <= least * (1.0 + TIE)), key=lambda c: c.timeout)


def _grid(unit: float, longest: float, per_doubling: int) -> list[Seconds]:
    """0, a geometric grid in units of the mean work below the longest wait, and infinity."""
    factor = math.exp2(1.0 / per_doubling)
    inner: list[Seconds] = []
    timeout = unit / 4.0
    while 0.0 < timeout < longest and len(inner) < _LONGEST_GRID:
        inner.append(Seconds(timeout))
        timeout *= factor
    return [Seconds(0.0), *inner, FOREVER]


def _halves(known: Sequence[Seconds], best: int, longest: float) -> list[Seconds]:
    """The points half way from the best one to its neighbours, geometrically where both are above 0."""
    between = []
    for low, high in pairwise(known[max(0, best - 1) : best + 2]):
        top = min(high, longest)
        middle = math.sqrt(low * top) if low > 0 else top / 2.0
        if low < middle < top:
            between.append(Seconds(middle))
    return between
