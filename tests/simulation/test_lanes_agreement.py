"""The recursion in lanes follows the plain one: compiled, in single precision, and in numpy."""

import random
from collections.abc import Sequence
from dataclasses import replace
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiled_simulator import loaded
from kubesprint.core.batch import Alternative, Question, one_by_one
from kubesprint.core.budget import RefillRule
from kubesprint.core.queueing import simulate_one_server, summarise
from kubesprint.core.search import search_timeout
from kubesprint.core.simulation import Outcome, Present, SimJob, SprintRules, TriggerClock
from kubesprint.core.spec import Statistic
from kubesprint.learn.simulator import lanes_numpy
from kubesprint.learn.simulator.lane_arrays import LANES, can_run_in_lanes, trace_of
from kubesprint.learn.simulator.loading import lanes
from kubesprint.learn.simulator.planning import means, standings
from simulation.queue_cases import Case, queues, some_rules

NEAR = 1e-6
"""Seconds. A lane takes a threshold that is missed by 1e-10 for reached, which costs 1e-10 / refill, and
the policy multiplies such a difference from job to job (docs/simulate.md, Exactness)."""


def one_server(
    jobs: Sequence[SimJob], rules: SprintRules, servers: int, present: Present
) -> Sequence[Outcome]:
    return simulate_one_server(jobs, rules, present)


PLAIN = one_by_one(one_server)


def as_planned(case: Case) -> Case:
    """The case without what lanes do not know."""
    jobs = [replace(job, started=None, sprinting=False, trigger=None) for job in case.jobs]
    level = None if case.present.level is None else max(0.0, case.present.level)
    return Case(jobs, replace(case.rules, toggle=0.0), 1, replace(case.present, level=level))


@settings(max_examples=100, deadline=None)
@given(queues(most_servers=1, most_jobs=6), st.lists(some_rules(), max_size=5))
def test_every_statistic_of_a_lane_is_that_of_the_recursion(case: Case, more: list[SprintRules]) -> None:
    case = as_planned(case)
    policies = [case.rules, *(replace(rules, toggle=0.0) for rules in more)]
    for serve in (lanes(None), lanes_numpy.serve):
        found = standings(serve, case.jobs, policies, case.present, objective=2.0)
        for standing, rules in zip(found, policies, strict=True):
            outcomes = simulate_one_server(case.jobs, rules, case.present)
            summary = summarise(case.jobs, outcomes)
            assert standing.mean == pytest.approx(summary.mean, abs=NEAR)
            assert standing.p50 == pytest.approx(summary.p50, abs=NEAR)
            assert standing.p95 == pytest.approx(summary.p95, abs=NEAR)
            assert standing.p99 == pytest.approx(summary.p99, abs=NEAR)
            assert standing.sprint == pytest.approx(summary.sprint, abs=NEAR * len(case.jobs))
            responses = [o.end - job.arrival for job, o in zip(case.jobs, outcomes, strict=True)]
            least = sum(r <= 2.0 - NEAR for r in responses) / len(responses)
            most = sum(r <= 2.0 + NEAR for r in responses) / len(responses)
            assert standing.attainment is not None
            assert least - 1e-12 <= standing.attainment <= most + 1e-12


def test_without_refill_a_bucket_just_below_the_threshold_never_starts_a_sprint() -> None:
    jobs = [SimJob(arrival=0.0, work=0.125, rate=1.0), SimJob(arrival=0.0, work=0.125, rate=2.0)]
    rules = SprintRules(timeout=0.0, capacity=1.125, hysteresis=1.125)
    for serve in (lanes(None), lanes_numpy.serve):
        (found,) = standings(serve, jobs, [rules], Present(), objective=2.0)
        assert (found.mean, found.sprint) == (pytest.approx(0.1875), pytest.approx(0.125))


def trace(jobs: int, seed: int = 3, rates: Sequence[float] = (2.5,)) -> list[SimJob]:
    dice, now, made = random.Random(seed), 0.0, []
    for _ in range(jobs):
        now += dice.expovariate(0.77)
        made.append(SimJob(arrival=now, work=dice.expovariate(1.0), rate=dice.choice(rates)))
    return made


POLICIES = [
    SprintRules(
        timeout=timeout, capacity=capacity, refill=refill, clock=clock, refill_rule=rule, restart=restart
    )
    for timeout in (0.0, 0.5, 1.0, 2.0, 4.0, inf)
    for capacity, refill in ((15.0, 0.1), (3.0, 0.5), (0.0, 1.0), (5.0, 0.0), (inf, 0.0))
    for clock in TriggerClock
    for rule in RefillRule
    for restart in (True, False)
]
"""More than fit one call, and no multiple of what does."""


def test_many_policies_on_a_long_trace_agree_in_the_mean() -> None:
    jobs = trace(2000, rates=(1.0, 1.7, 2.5, 4.0))
    assert len(POLICIES) > LANES
    assert len(POLICIES) % LANES
    expected = [summarise(jobs, simulate_one_server(jobs, rules, Present())) for rules in POLICIES]
    mean, sprint = means(lanes(None), trace_of(jobs), POLICIES, Present())
    error = np.abs(mean / [s.mean for s in expected] - 1.0)
    assert np.median(error) < 1e-9
    assert np.quantile(error, 0.95) < 2e-3
    assert error.max() < 1e-2  # in long busy periods, where every rounding grows
    assert sprint == pytest.approx([s.sprint for s in expected], rel=1e-2)


def test_single_precision_is_good_enough_to_screen() -> None:
    jobs = trace_of(trace(2000))
    double, _ = means(lanes(None), jobs, POLICIES, Present())
    single, _ = means(lanes(None, single=True), jobs, POLICIES, Present(), np.float32)
    error = np.abs(single / double - 1.0)
    assert np.median(error) < 1e-4
    assert error.max() < 2e-2


@pytest.mark.parametrize("statistic", Statistic)
@pytest.mark.parametrize("clock", TriggerClock)
def test_the_planner_scores_like_the_plain_evaluator(statistic: Statistic, clock: TriggerClock) -> None:
    scenarios = [trace(200, seed=1), trace(150, seed=2)]
    rules = SprintRules(capacity=5.0, refill=0.3, clock=clock)
    question = Question(scenarios=scenarios, rules=rules, servers=1, present=Present(), statistic=statistic)
    ask = [Alternative(timeout=timeout) for timeout in (0.0, 0.7, 3.0, inf)]
    ask.append(Alternative(timeout=1.0, triggers={0: inf}))  # not for lanes
    for batch in (ask[:-1], ask):
        fast, plain = (evaluator(question)(batch) for evaluator in (loaded().planner, PLAIN))
        for one, other in zip(fast, plain, strict=True):
            assert one.value == pytest.approx(other.value, rel=2e-3)
            assert one.sprint == pytest.approx(other.sprint, rel=2e-3)
            assert one.longest == pytest.approx(other.longest, rel=2e-2)


def test_a_search_in_lanes_finds_what_the_plain_search_finds() -> None:
    jobs, rules = trace(400), SprintRules(capacity=5.0, refill=0.2)
    fast, plain = (
        search_timeout([jobs], rules, 1, evaluator, per_doubling=4, rounds=4)
        for evaluator in (loaded().planner, PLAIN)
    )
    assert fast.value == pytest.approx(plain.value, rel=2e-3)


def test_what_lanes_do_not_know_is_not_sent_there() -> None:
    plain, rules = trace(3), SprintRules(capacity=1.0)
    assert not can_run_in_lanes(plain, rules, 1, Present(level=-0.1))
    assert can_run_in_lanes(plain, rules, 1, Present())
    assert not can_run_in_lanes(plain, rules, 2, Present())
    assert not can_run_in_lanes(plain, replace(rules, toggle=0.1), 1, Present())
    assert not can_run_in_lanes([replace(plain[0], started=0.0), *plain[1:]], rules, 1, Present())
    assert not can_run_in_lanes([replace(plain[0], trigger=0.0), *plain[1:]], rules, 1, Present())
