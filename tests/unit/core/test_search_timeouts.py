"""The search over time-outs: what it tries, what it picks, and that it never depends on dice."""

import random
from collections.abc import Sequence
from math import inf

import pytest

from kubesprint.core.batch import one_by_one, statistic_of
from kubesprint.core.events import simulate_servers
from kubesprint.core.queueing import summarise
from kubesprint.core.search import Candidate, anneal_timeout, best_of, search_timeout
from kubesprint.core.simulation import Outcome, Present, SimJob, SprintRules, TriggerClock
from kubesprint.core.spec import Statistic


def trace(seed: int, jobs: int = 60) -> list[SimJob]:
    dice = random.Random(seed)
    at, made = 0.0, []
    for _ in range(jobs):
        at += dice.expovariate(0.8)
        made.append(SimJob(arrival=at, work=dice.expovariate(1.0), rate=2.5))
    return made


EVALUATOR = one_by_one(simulate_servers)
RULES = SprintRules(capacity=4.0, refill=0.1)


def test_the_best_is_the_least_of_the_curve_and_no_worse_than_never_or_always() -> None:
    for seed in range(5):
        found = search_timeout([trace(seed)], RULES, 1, EVALUATOR)
        timeouts = [point.timeout for point in found.curve]
        assert timeouts == sorted(set(timeouts))
        assert (timeouts[0], timeouts[-1]) == (0.0, inf)
        assert found.value == min(point.value for point in found.curve)


def test_a_value_is_what_the_simulator_says() -> None:
    jobs = trace(1)
    for statistic in Statistic:
        found = search_timeout([jobs], RULES, 2, EVALUATOR, statistic=statistic)
        rules = SprintRules(capacity=4.0, refill=0.1, timeout=found.timeout)
        summary = summarise(jobs, simulate_servers(jobs, rules, 2, Present()))
        assert found.value == pytest.approx(statistic_of(summary, statistic))


def test_refinement_never_makes_it_worse_and_comes_near_a_fine_grid() -> None:
    jobs = trace(2)
    coarse, fine, finest = (
        search_timeout([jobs], RULES, 1, EVALUATOR, per_doubling=n, rounds=r).value
        for n, r in ((1, 0), (1, 3), (32, 0))
    )
    assert fine <= coarse
    assert fine <= finest * 1.03


def test_several_futures_are_averaged_on_the_same_jobs_for_every_time_out() -> None:
    seen: dict[float, list[int]] = {}

    def spy(jobs: Sequence[SimJob], rules: SprintRules, servers: int, present: Present) -> list[Outcome]:
        seen.setdefault(rules.timeout, []).append(id(jobs))
        return simulate_servers(jobs, rules, servers, present)

    futures = [trace(3), trace(4, jobs=20), []]
    found = search_timeout(futures, RULES, 1, one_by_one(spy))
    expected = [id(futures[0]), id(futures[1])]
    assert all(jobs[-2:] == expected for jobs in seen.values())
    alone = [search_timeout([f], RULES, 1, EVALUATOR, also=[found.timeout]) for f in futures[:2]]
    values = [next(p.value for p in a.curve if p.timeout == found.timeout) for a in alone]
    assert found.value == pytest.approx(sum(values) / 2)


def test_among_equals_the_larger_time_out_wins() -> None:
    curve = [Candidate(0.0, 2.0, 9.0), Candidate(1.0, 1.0, 5.0), Candidate(2.0, 1.0 + 1e-12, 3.0)]
    assert best_of(curve).timeout == 2.0
    useless = [SimJob(arrival=job.arrival, work=job.work, rate=1.0) for job in trace(5)]
    assert search_timeout([useless], RULES, 1, EVALUATOR).timeout == inf


def test_beyond_the_longest_wait_nothing_is_tried() -> None:
    jobs = [SimJob(arrival=0.0, work=4.0, rate=2.0)]
    for clock in TriggerClock:
        rules = SprintRules(capacity=1.0, clock=clock)
        found = search_timeout([jobs], rules, 1, EVALUATOR, rounds=5)
        assert all(point.timeout < 4.0 or point.timeout == inf for point in found.curve)


def test_a_given_time_out_is_tried_as_well() -> None:
    found = search_timeout([trace(6)], RULES, 1, EVALUATOR, also=[0.777])
    assert 0.777 in [point.timeout for point in found.curve]


@pytest.mark.parametrize("scenarios", [[], [[]], [[], []]])
def test_without_jobs_the_answer_is_never(scenarios: list[list[SimJob]]) -> None:
    found = search_timeout(scenarios, RULES, 1, EVALUATOR)
    assert (found.timeout, found.value, len(found.curve)) == (inf, 0.0, 1)


def test_jobs_without_work_do_not_hang_the_grid() -> None:
    found = search_timeout([[SimJob(arrival=0.0, work=0.0)]], RULES, 1, EVALUATOR)
    assert found.timeout == inf


def test_annealing_finds_a_time_out_too_and_depends_on_the_dice_alone() -> None:
    jobs = trace(7)
    grid = search_timeout([jobs], RULES, 1, EVALUATOR, per_doubling=4)
    found = [anneal_timeout([jobs], RULES, 1, EVALUATOR, random.Random(5).random) for _ in range(2)]
    assert found[0] == found[1]
    assert found[0].value == min(point.value for point in found[0].curve)
    assert grid.value * 0.97 <= found[0].value <= grid.value * 1.1
    assert found[0].curve[-1].timeout == inf
