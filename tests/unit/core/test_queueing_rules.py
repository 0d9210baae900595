"""Every rule of the simulation on a case worked out by hand, along all paths that can compute it."""

from collections.abc import Callable, Sequence
from math import inf

import pytest

from kubesprint.core.budget import RefillRule
from kubesprint.core.events import simulate_servers
from kubesprint.core.queueing import quantile, simulate_one_server, summarise
from kubesprint.core.simulation import Outcome, Present, SimJob, SprintRules, TriggerClock
from simulation.exact_queue import simulate_exactly

Simulate = Callable[[Sequence[SimJob], SprintRules, Present], Sequence[Outcome]]


def by_events(jobs: Sequence[SimJob], rules: SprintRules, present: Present) -> Sequence[Outcome]:
    return simulate_servers(jobs, rules, 1, present)


def by_rationals(jobs: Sequence[SimJob], rules: SprintRules, present: Present) -> Sequence[Outcome]:
    return simulate_exactly(jobs, rules, 1, present)


@pytest.fixture(params=[simulate_one_server, by_events, by_rationals], ids=["recursion", "events", "exact"])
def simulate(request: pytest.FixtureRequest) -> Simulate:
    return request.param


def job(arrival: float, work: float, rate: float = 2.0, **more: object) -> SimJob:
    return SimJob(arrival=arrival, work=work, rate=rate, **more)


def rules(**changed: object) -> SprintRules:
    """Sprint from arrival on, 1 sprint second in the bucket, refilled by 0.5 per second, threshold 0.25."""
    return SprintRules(**{"timeout": 0.0, "capacity": 1.0, "refill": 0.5, "hysteresis": 0.25} | changed)


def test_a_sprint_ends_when_the_bucket_is_empty_and_starts_again_at_the_threshold(simulate: Simulate) -> None:
    # 1 s of sprint does 2; 0.5 s at base until 0.25 is back does 0.5; 0.25 s of sprint does 0.5; the last
    # 0.5 at base ends at the very instant of the threshold, which is an end and no sprint.
    (outcome,) = simulate([job(0.0, 3.5)], rules(), Present())
    assert outcome == Outcome(start=0.0, end=2.25, sprint=1.25, sprint_start=0.0)


def test_without_restart_a_job_sprints_once(simulate: Simulate) -> None:
    (outcome,) = simulate([job(0.0, 3.5)], rules(restart=False), Present())
    assert outcome == Outcome(start=0.0, end=2.5, sprint=1.0, sprint_start=0.0)


def test_without_restart_the_next_job_may_sprint(simulate: Simulate) -> None:
    first, second = simulate([job(0.0, 3.5), job(0.0, 1.0)], rules(restart=False), Present())
    # 0.75 has come back in the 1.5 s at base
    assert (first.end, second.end, second.sprint) == (2.5, 3.0, 0.5)


def test_paused_means_no_refill_while_sprinting(simulate: Simulate) -> None:
    first, second = simulate([job(0.0, 1.0), job(0.0, 2.0)], rules(restart=False), Present())
    assert (first.end, first.sprint) == (0.5, 0.5)
    assert (second.end, second.sprint) == (2.0, 0.5)  # 0.5 s sprinted does 1, the other 1 at base


def test_continuous_drains_one_less_the_refill(simulate: Simulate) -> None:
    continuous = rules(refill_rule=RefillRule.CONTINUOUS)
    # drains 0.5 per second: 2 s of sprint do 4
    (outcome,) = simulate([job(0.0, 4.25)], continuous, Present())
    assert outcome == Outcome(start=0.0, end=2.25, sprint=2.0, sprint_start=0.0)


def test_continuous_with_a_refill_as_fast_as_the_drain_never_empties(simulate: Simulate) -> None:
    for refill in (1.0, 3.0):
        continuous = rules(refill_rule=RefillRule.CONTINUOUS, refill=refill)
        (outcome,) = simulate([job(0.0, 100.0)], continuous, Present(level=0.25))
        assert (outcome.end, outcome.sprint) == (50.0, 50.0)


def test_the_clock_counts_from_arrival_or_from_start(simulate: Simulate) -> None:
    jobs = [job(0.0, 2.0, rate=1.0), job(0.0, 2.0)]
    from_arrival = simulate(jobs, rules(timeout=2.5, clock=TriggerClock.ARRIVAL), Present())
    assert (from_arrival[1].sprint_start, from_arrival[1].end) == (2.5, 3.25)
    from_start = simulate(jobs, rules(timeout=1.0, clock=TriggerClock.START), Present())
    assert (from_start[1].sprint_start, from_start[1].start) == (from_start[0].end + 1.0, from_start[0].end)


def test_a_job_that_ends_at_its_trigger_does_not_sprint(simulate: Simulate) -> None:
    (outcome,) = simulate([job(0.0, 2.0)], rules(timeout=2.0, toggle=0.5), Present())
    assert outcome == Outcome(start=0.0, end=2.0, sprint=0.0, sprint_start=None)


def test_the_threshold_is_reached_with_equality(simulate: Simulate) -> None:
    (exactly,) = simulate([job(0.0, 1.0)], rules(refill=0.0), Present(level=0.25))
    assert (exactly.sprint_start, exactly.sprint) == (0.0, 0.25)
    (below,) = simulate([job(0.0, 1.0)], rules(refill=0.0), Present(level=0.24))
    assert (below.sprint_start, below.end) == (None, 1.0)


def test_a_short_bucket_delays_the_sprint_instead_of_cancelling_it(simulate: Simulate) -> None:
    (outcome,) = simulate([job(0.0, 2.0)], rules(timeout=0.125), Present(level=0.0))
    assert outcome.sprint_start == 0.5


def test_a_hysteresis_above_the_capacity_means_a_full_bucket(simulate: Simulate) -> None:
    # 0.5 s of sprint do 1; 1 s at base until full again does 1; 0.5 s of sprint
    (outcome,) = simulate([job(0.0, 3.0)], rules(capacity=0.5, hysteresis=9.0), Present())
    assert (outcome.end, outcome.sprint) == (2.0, 1.0)


def test_a_toggle_costs_time_and_bucket_at_each_start(simulate: Simulate) -> None:
    # 0.125 s of toggle, 0.875 s do 1.75; 0.5 s at base; 0.125 s of toggle, 0.125 s do 0.25; then base
    (outcome,) = simulate([job(0.0, 2.75)], rules(toggle=0.125), Present())
    assert (outcome.end, outcome.sprint) == (2.0, 1.25)


def test_a_toggle_longer_than_the_bucket_wastes_it(simulate: Simulate) -> None:
    (outcome,) = simulate([job(0.0, 2.0)], rules(toggle=1.5, restart=False), Present())
    assert outcome == Outcome(start=0.0, end=3.0, sprint=1.0, sprint_start=0.0)


@pytest.mark.parametrize("never", [{"timeout": inf}, {"capacity": 0.0}, {"capacity": 0.0, "refill": 5.0}])
def test_without_time_out_or_bucket_nothing_sprints(simulate: Simulate, never: dict[str, float]) -> None:
    (outcome,) = simulate([job(0.0, 3.0)], rules(**never), Present())
    assert outcome == Outcome(start=0.0, end=3.0, sprint=0.0, sprint_start=None)


def test_without_refill_the_bucket_is_spent_once(simulate: Simulate) -> None:
    first, second = simulate([job(0.0, 3.0), job(0.0, 3.0)], rules(refill=0.0), Present())
    assert (first.end, first.sprint) == (2.0, 1.0)
    assert (second.end, second.sprint) == (5.0, 0.0)


def test_the_bucket_is_never_above_its_capacity(simulate: Simulate) -> None:
    outcome = simulate([job(0.0, 0.5), job(1000.0, 4.0)], rules(refill=0.0625), Present(level=99.0))[1]
    assert outcome.sprint == 1.0


def test_a_debt_is_refilled_first(simulate: Simulate) -> None:
    (outcome,) = simulate([job(0.0, 3.0)], rules(), Present(level=-1.0))
    assert outcome.sprint_start == 2.5


def test_a_running_job_goes_on_from_now(simulate: Simulate) -> None:
    jobs = [job(0.0, 2.0, started=1.0), job(2.0, 1.0)]
    running, queued = simulate(jobs, rules(timeout=6.0, clock=TriggerClock.START), Present(now=5.0))
    assert running == Outcome(start=1.0, end=7.0, sprint=0.0, sprint_start=None)
    assert queued == Outcome(start=7.0, end=8.0, sprint=0.0, sprint_start=None)


def test_a_sprinting_job_goes_on_sprinting_below_the_threshold(simulate: Simulate) -> None:
    jobs = [job(0.0, 2.0, started=0.0, sprinting=True)]
    (outcome,) = simulate(jobs, rules(timeout=8.0, toggle=0.5), Present(now=5.0, level=0.125))
    assert outcome == Outcome(start=0.0, end=6.875, sprint=0.125, sprint_start=5.0)


def test_a_sprint_that_runs_in_debt_ends_at_once_and_the_debt_stays(simulate: Simulate) -> None:
    jobs = [job(0.0, 3.0, started=0.0, sprinting=True)]
    (outcome,) = simulate(jobs, rules(), Present(level=-0.5))
    # 1.5 s at base until the threshold, 0.25 s of sprint, 0.5 s at base, 0.25 s of sprint
    assert (outcome.end, outcome.sprint) == (2.5, 0.5)


def test_a_job_that_ends_at_the_threshold_does_not_pay_a_toggle(simulate: Simulate) -> None:
    """In binary 0.3 / 0.1 is below 3: the bucket is ready a rounding error before the job has ended."""
    tenths = rules(capacity=1.0, hysteresis=0.3, refill=0.1, toggle=0.25)
    (outcome,) = simulate([job(0.0, 3.0)], tenths, Present(level=0.0))
    assert (outcome.end, outcome.sprint_start) == (3.0, None)


def test_a_job_may_have_a_trigger_and_a_rate_of_its_own(simulate: Simulate) -> None:
    jobs = [job(0.0, 2.0, rate=4.0, trigger=1.0), job(0.0, 1.0, trigger=inf)]
    first, second = simulate(jobs, rules(), Present())
    assert (first.sprint_start, first.end) == (1.0, 1.25)
    assert (second.sprint_start, second.end) == (None, 2.25)


def test_a_job_without_work_ends_where_it_starts(simulate: Simulate) -> None:
    (outcome,) = simulate([job(1.0, 0.0)], rules(toggle=0.5), Present())
    assert outcome == Outcome(start=1.0, end=1.0, sprint=0.0, sprint_start=None)


def test_a_residue_of_rounding_neither_hangs_nor_sprints(simulate: Simulate) -> None:
    """Tenths that do not add up in binary: the bucket is left with about 1e-17 again and again."""
    tenths = rules(capacity=0.3, refill=0.1, hysteresis=0.1)
    jobs = [job(i / 10, 0.7, rate=3.0) for i in range(20)]
    outcomes = simulate(jobs, tenths, Present(level=0.1 + 0.2))
    assert sum(o.end - o.start + 2.0 * o.sprint for o in outcomes) == pytest.approx(14.0)


def test_one_server_cannot_run_two_jobs_already() -> None:
    jobs = [job(0.0, 1.0, started=0.0), job(0.0, 1.0, started=0.0)]
    with pytest.raises(ValueError, match="2 jobs"):
        simulate_one_server(jobs, rules(), Present())


def test_a_summary_interpolates_between_neighbours() -> None:
    jobs = [job(0.0, 1.0) for _ in range(5)]
    outcomes = [
        Outcome(start=0.0, end=end, sprint=0.5, sprint_start=0.0) for end in (5.0, 1.0, 4.0, 2.0, 3.0)
    ]
    summary = summarise(jobs, outcomes)
    assert (summary.jobs, summary.mean, summary.p50, summary.sprint) == (5, 3.0, 3.0, 2.5)
    assert summary.p95 == pytest.approx(4.8)
    assert summary.p99 == pytest.approx(4.96)


def test_quantiles_are_those_of_numpy() -> None:
    numpy = pytest.importorskip("numpy")
    for count in (1, 2, 3, 10, 101):
        values = [((i * 7919) % 1000) / 7.0 for i in range(count)]
        for share in (0.0, 0.5, 0.95, 0.99, 1.0):
            assert quantile(sorted(values), share) == pytest.approx(numpy.quantile(values, share), rel=1e-12)
