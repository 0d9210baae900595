"""Which time-out is best: a grid, then a closer look around its best point. Deterministic and pure.

Every candidate is simulated on the same jobs (common random numbers), so that two candidates differ by
the time-out and by nothing else. The objective is neither convex nor continuous in the time-out, so the
grid comes first and is never skipped.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from kubesprint.core.batch import Alternative, Answers, Evaluator, Question
from kubesprint.core.simulation import Present, SimJob, SprintRules
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


NOTHING_TO_DO = SearchResult(
    timeout=FOREVER, value=Seconds(0.0), curve=(Candidate(FOREVER, Seconds(0.0), Seconds(0.0)),)
)
"""Without any job there is nothing to sprint."""


def search_timeout(
    scenarios: Sequence[Sequence[SimJob]],
    rules: SprintRules,
    servers: int,
    evaluator: Evaluator,
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
        evaluator: simulates many time-outs on the same jobs.
        present: where the simulations start; by default at 0 with a full bucket.
        statistic: of the response time.
        also: time-outs to try whatever the grid says.
        per_doubling: points of the grid for each doubling of the time-out; the grid spans a quarter of the
            mean work to the longest wait, and has 0 and infinity beside it.
        rounds: how often the neighbourhood of the best point is halved.
    """
    peopled = [jobs for jobs in scenarios if jobs]
    if not peopled:
        return NOTHING_TO_DO
    question = Question(
        scenarios=peopled, rules=rules, servers=servers, present=present or Present(), statistic=statistic
    )
    return search_answers(
        evaluator(question), mean_work(peopled), also=also, per_doubling=per_doubling, rounds=rounds
    )


def mean_work(scenarios: Sequence[Sequence[SimJob]]) -> float:
    """Of all jobs of all scenarios; there is at least one."""
    works = [job.work for jobs in scenarios for job in jobs]
    return sum(works) / len(works)


def search_answers(
    answers: Answers,
    unit: float,
    *,
    also: Sequence[Seconds] = (),
    per_doubling: int = 1,
    rounds: int = 2,
) -> SearchResult:
    """`search_timeout` for a question that has been put already; `unit` is the mean work of its jobs."""
    never = answers([Alternative(timeout=FOREVER)])[0]
    longest = never.longest  # no job lives to see a longer time-out when nothing sprints
    grid = {*_grid(unit, longest, per_doubling), *also} - {FOREVER}
    curve = [*_try(answers, sorted(grid)), Candidate(FOREVER, never.value, never.sprint)]
    for _ in range(rounds):
        known = [c.timeout for c in curve]
        curve += _try(answers, _halves(known, known.index(best_of(curve).timeout), longest))
        curve.sort(key=lambda c: c.timeout)
    best = best_of(curve)
    return SearchResult(timeout=best.timeout, value=best.value, curve=tuple(curve))


def _try(answers: Answers, timeouts: Sequence[Seconds]) -> list[Candidate]:
    if not timeouts:
        return []
    scores = answers([Alternative(timeout=timeout) for timeout in timeouts])
    return [Candidate(t, score.value, score.sprint) for t, score in zip(timeouts, scores, strict=True)]


def best_of(curve: Sequence[Candidate]) -> Candidate:
    """The candidate with the least value; among equals the one with the largest time-out."""
    least = min(candidate.value for candidate in curve)
    return max((c for c in curve if c.value <= least * (1.0 + TIE)), key=lambda c: c.timeout)


def _grid(unit: float, longest: float, per_doubling: int) -> list[Seconds]:
    """0, and a geometric grid in units of the mean work below the longest wait."""
    factor = math.exp2(1.0 / per_doubling)
    inner: list[Seconds] = []
    timeout = unit / 4.0
    while 0.0 < timeout < longest and len(inner) < _LONGEST_GRID:
        inner.append(Seconds(timeout))
        timeout *= factor
    return [Seconds(0.0), *inner]


def _halves(known: Sequence[Seconds], best: int, longest: float) -> list[Seconds]:
    """The points half way from the best one to its neighbours, geometrically where both are above 0."""
    between = []
    for low, high in pairwise(known[max(0, best - 1) : best + 2]):
        top = min(high, longest)
        middle = math.sqrt(low * top) if low > 0 else top / 2.0
        if low < middle < top:
            between.append(Seconds(middle))
    return between
