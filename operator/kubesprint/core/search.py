"""Which time-out is best: a grid, then a closer look around its best point. Deterministic and pure.

Every candidate is simulated on the same jobs (common random numbers), so that two candidates differ by
the time-out and by nothing else. The objective is neither convex nor continuous in the time-out, so the
grid comes first and is never skipped.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from kubesprint.core.batch import Alternative, Answers, Evaluator, Question
from kubesprint.core.futures import Dice
from kubesprint.core.simulation import Present, SimJob, SprintRules
from kubesprint.core.spec import Statistic
from kubesprint.core.units import FOREVER, Seconds

TIE = 1e-9
"""Values that differ by less than this share are equal; the larger time-out, which spends less, wins."""

CROWDS = (1, 2, 3, 4, 6, 9)
"""Numbers of waiting jobs that are tried as a trigger."""

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
    crowd: int = 0  # so many waiting jobs make all sprint whatever the time-out; 0: no such rule


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


def search_crowd(answers: Answers, found: SearchResult) -> SearchResult:
    """Whether to sprint as soon as so many jobs wait is better, beside the best time-out or instead of it."""
    rules = [(timeout, crowd) for timeout in dict.fromkeys((found.timeout, FOREVER)) for crowd in CROWDS]
    scores = answers([Alternative(timeout=timeout, crowd=crowd) for timeout, crowd in rules])
    best = min(range(len(rules)), key=lambda place: (scores[place].value, -rules[place][1]))
    if scores[best].value >= found.value * (1.0 - TIE):
        return found
    timeout, crowd = rules[best]
    return replace(found, timeout=timeout, crowd=crowd, value=scores[best].value)


def anneal_timeout(
    scenarios: Sequence[Sequence[SimJob]],
    rules: SprintRules,
    servers: int,
    evaluator: Evaluator,
    dice: Dice,
    *,
    present: Present | None = None,
    statistic: Statistic = Statistic.MEAN,
    steps: int = 50,
) -> SearchResult:
    """Simulated annealing over the time-out, as published for this problem: to compare `search_timeout` with.

    A neighbour is drawn uniformly around the present time-out, from a window that narrows with the
    temperature; a worse one is taken with probability exp(-loss / temperature). One simulation a step, so
    nothing is evaluated side by side, and which optimum is found depends on the dice.

    Args:
        scenarios: at least one, none empty; further arguments as in `search_timeout`.
        rules: all but the time-out.
        servers: jobs that run at once.
        evaluator: simulates a time-out.
        dice: uniform numbers in [0, 1).
        present: where the simulations start.
        statistic: of the response time.
        steps: time-outs that are tried, "never" not counted.
    """
    question = Question(
        scenarios=scenarios, rules=rules, servers=servers, present=present or Present(), statistic=statistic
    )
    answers = evaluator(question)
    never = answers([Alternative(timeout=FOREVER)])[0]
    longest, tried = never.longest, {FOREVER: Candidate(FOREVER, never.value, never.sprint)}
    at = _try(answers, [Seconds(dice() * longest)])[0]
    tried[at.timeout] = at
    for step in range(1, steps):
        warmth = 1.0 - step / steps
        centre = min(at.timeout, longest)
        near = Seconds(min(longest, max(0.0, centre + (2.0 * dice() - 1.0) * warmth * longest)))
        other = tried.get(near) or _try(answers, [near])[0]
        tried[near] = other
        loss = (other.value - at.value) / never.value
        if loss <= 0 or dice() < math.exp(-loss / (0.1 * warmth)):
            at = other
    curve = sorted(tried.values(), key=lambda c: c.timeout)
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
