"""Three paths, one semantics: the recursion, the events, and the rules in exact rationals."""

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from kubesprint.core.budget import RefillRule
from kubesprint.core.events import simulate_servers
from kubesprint.core.queueing import simulate_one_server
from kubesprint.core.simulation import Outcome, Present, SimJob, SprintRules
from simulation.exact_queue import simulate_exactly
from simulation.queue_cases import Case, amounts, queues, some_rules

NEAR = 1e-9


def assert_same(got: Sequence[Outcome], expected: Sequence[Outcome]) -> None:
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        assert abs(one.start - other.start) < NEAR
        assert abs(one.end - other.end) < NEAR
        assert abs(one.sprint - other.sprint) < NEAR
        assert (one.sprint_start is None) == (other.sprint_start is None)
        if one.sprint_start is not None and other.sprint_start is not None:
            assert abs(one.sprint_start - other.sprint_start) < NEAR


@settings(max_examples=150, deadline=None)
@given(queues())
def test_the_events_follow_the_rules_exactly(case: Case) -> None:
    expected = simulate_exactly(case.jobs, case.rules, case.servers, case.present)
    assert_same(simulate_servers(case.jobs, case.rules, case.servers, case.present), expected)


@settings(max_examples=120, deadline=None)
@given(queues(most_servers=1))
def test_the_recursion_follows_the_rules_exactly(case: Case) -> None:
    expected = simulate_exactly(case.jobs, case.rules, 1, case.present)
    assert_same(simulate_one_server(case.jobs, case.rules, case.present), expected)


@settings(max_examples=150, deadline=None)
@given(queues(most_servers=1, most_jobs=25))
def test_the_events_of_one_server_equal_the_recursion(case: Case) -> None:
    expected = simulate_one_server(case.jobs, case.rules, case.present)
    assert_same(simulate_servers(case.jobs, case.rules, 1, case.present), expected)


@settings(max_examples=120, deadline=None)
@given(queues())
def test_work_is_conserved(case: Case) -> None:
    jobs = [replace(job, started=None, sprinting=False) for job in case.jobs]
    rules = replace(case.rules, toggle=0.0)
    for job, outcome in zip(jobs, simulate_servers(jobs, rules, case.servers, case.present), strict=True):
        base = outcome.end - outcome.start - outcome.sprint
        assert abs(base + job.rate * outcome.sprint - job.work) < NEAR


@settings(max_examples=120, deadline=None)
@given(queues())
def test_sprints_never_use_more_than_the_bucket_and_its_refill(case: Case) -> None:
    outcomes = simulate_servers(case.jobs, case.rules, case.servers, case.present)
    begun = [o.sprint_start for o in outcomes if o.sprint_start is not None]
    span = max(o.end for o in outcomes) - min(begun, default=0.0)
    used = sum(o.sprint for o in outcomes)
    assert used <= case.rules.capacity + case.rules.refill * max(0.0, span) + NEAR


@settings(max_examples=120, deadline=None)
@given(queues(), st.integers(1, 4))
def test_jobs_start_in_the_order_of_arrival_as_soon_as_a_server_is_free(case: Case, servers: int) -> None:
    jobs = [replace(job, started=None, sprinting=False) for job in case.jobs]
    outcomes = simulate_servers(jobs, case.rules, servers, case.present)
    ends: list[float] = []
    for i, (job, outcome) in enumerate(zip(jobs, outcomes, strict=True)):
        free = sorted(ends)[i - servers] if i >= servers else 0.0
        assert abs(outcome.start - max(job.arrival, case.present.now, free)) < NEAR
        ends.append(outcome.end)


@settings(max_examples=120, deadline=None)
@given(
    some_rules(),
    amounts(0.125, 6),
    st.sampled_from([1.0, 1.5, 3.0]),
    amounts(0, 3),
    amounts(0, 2),
)
def test_more_budget_never_hurts_a_single_job(
    rules: SprintRules, work: float, rate: float, more_capacity: float, more_refill: float
) -> None:
    """While the capacity is at least the hysteresis: below it, more takes longer to refill."""
    less = replace(rules, capacity=max(rules.capacity, rules.hysteresis), toggle=0.0)
    more = replace(less, capacity=less.capacity + more_capacity, refill=less.refill + more_refill)
    job = [SimJob(arrival=0.0, work=work, rate=rate)]
    slower, faster = (simulate_one_server(job, r, Present())[0].end for r in (less, more))
    assert faster <= slower + NEAR


def test_a_tiny_threshold_is_counted_not_walked_and_changes_nothing_else() -> None:
    """A hysteresis of a nanosecond means a billion cycles; the duty cycle is that of any small one."""
    jobs = [
        SimJob(arrival=a, work=w, rate=2.5) for a, w in [(0.0, 40.0), (3.0, 7.0), (5.0, 90.0), (6.0, 1.0)]
    ]
    for rule in RefillRule:
        for servers in (1, 2, 3):
            rules = SprintRules(timeout=1.5, capacity=2.0, refill=0.25, refill_rule=rule)
            coarse = simulate_servers(jobs, replace(rules, hysteresis=1e-2), servers, Present())
            fine = simulate_servers(jobs, replace(rules, hysteresis=1e-9), servers, Present())
            walked = simulate_exactly(jobs, replace(rules, hysteresis=1e-2), servers, Present())
            assert_same(coarse, walked)
            for one, other in zip(coarse, fine, strict=True):
                assert abs(one.end - other.end) < 0.1
    one = simulate_one_server(jobs, replace(rules, hysteresis=1e-9), Present())
    events = simulate_servers(jobs, replace(rules, hysteresis=1e-9), 1, Present())
    for left, right in zip(one, events, strict=True):
        assert abs(left.end - right.end) < 1e-6
