"""Several servers, one bucket: cases worked out by hand."""

from collections.abc import Callable, Sequence

import pytest

from kubesprint.core.budget import RefillRule
from kubesprint.core.events import simulate_servers
from kubesprint.core.simulation import Outcome, Present, QueueSimulator, SimJob, SprintRules
from simulation.exact_queue import simulate_exactly

Simulate = Callable[[Sequence[SimJob], SprintRules, int, Present], Sequence[Outcome]]


@pytest.fixture(params=[simulate_servers, simulate_exactly], ids=["events", "exact"])
def simulate(request: pytest.FixtureRequest) -> QueueSimulator:
    return request.param


def job(arrival: float, work: float, **more: object) -> SimJob:
    return SimJob(**{"arrival": arrival, "work": work, "rate": 2.0} | more)


def rules(**changed: object) -> SprintRules:
    return SprintRules(**{"timeout": 0.0, "capacity": 1.0, "refill": 0.5, "hysteresis": 0.25} | changed)


def test_two_sprinters_drain_twice_as_fast_and_revert_together(simulate: Simulate) -> None:
    outcomes = simulate([job(0.0, 8.0), job(0.0, 1.5)], rules(restart=False), 2, Present())
    assert [(o.end, o.sprint) for o in outcomes] == [(7.5, 0.5), (1.0, 0.5)]


def test_at_the_threshold_all_that_wait_start(simulate: Simulate) -> None:
    # empty at 0.5, threshold at 1.0, empty at 1.125
    outcomes = simulate([job(0.0, 1.75), job(0.0, 1.75)], rules(), 2, Present())
    assert [(o.end, o.sprint) for o in outcomes] == [(1.125, 0.625), (1.125, 0.625)]


def test_a_job_that_triggers_while_another_sprints_joins_at_the_threshold(
    simulate: Simulate,
) -> None:
    jobs = [job(0.0, 2.0), job(0.75, 2.0)]
    joined = simulate(jobs, rules(), 2, Present())  # exactly 0.25 left at 0.75: both until 0.875
    assert (joined[1].sprint_start, joined[0].sprint) == (0.75, 0.875)
    jobs = [job(0.0, 2.0), job(0.8125, 2.0)]
    waits = simulate(jobs, rules(), 2, Present())  # too late: the first empties the bucket at 1.0
    assert (waits[0].end, waits[0].sprint, waits[1].sprint_start) == (1.0, 1.0, 1.5)


def test_a_job_that_waits_is_not_let_in_by_a_bucket_that_only_falls(simulate: Simulate) -> None:
    jobs = [job(0.0, 1.75), job(0.8125, 2.0)]  # the first ends at 0.875 and leaves 0.125
    first, second = simulate(jobs, rules(), 2, Present())
    assert (first.end, second.sprint_start) == (0.875, 1.125)


def test_a_bucket_that_rises_during_sprints_lets_in_who_waits(simulate: Simulate) -> None:
    rising = rules(refill_rule=RefillRule.CONTINUOUS, refill=1.5, capacity=2.0, hysteresis=1.0)
    jobs = [job(0.0, 100.0, started=0.0, sprinting=True), job(0.0, 3.0, started=0.0)]
    _, second = simulate(jobs, rising, 2, Present(level=0.5))
    # rises by 0.5 per second until 1.0 at 1 s, then falls by 0.5 per second: 1 s of sprint does the rest
    assert (second.sprint_start, second.end, second.sprint) == (1.0, 2.0, 1.0)


def test_whoever_triggers_at_the_instant_of_the_threshold_does_not_overtake_who_waits(
    simulate: Simulate,
) -> None:
    # the threshold comes back at 0.5, which is when the second job arrives and triggers
    outcomes = simulate([job(0.0, 4.0), job(0.5, 4.0)], rules(), 2, Present(level=0.0))
    assert [o.sprint_start for o in outcomes] == [0.5, 0.5]


def test_a_server_that_falls_free_takes_the_oldest_job(simulate: Simulate) -> None:
    jobs = [job(0.0, 2.0), job(0.0, 1.0), job(0.25, 1.0), job(0.5, 1.0)]
    outcomes = simulate(jobs, rules(capacity=0.0), 2, Present())
    assert [o.start for o in outcomes] == [0.0, 0.0, 1.0, 2.0]


def test_more_running_jobs_than_servers_are_finished_before_the_next_starts(simulate: Simulate) -> None:
    jobs = [job(0.0, 1.0, started=0.0), job(0.0, 2.0, started=0.0), job(0.0, 1.0)]
    outcomes = simulate(jobs, rules(capacity=0.0), 1, Present())
    assert [o.end for o in outcomes] == [1.0, 2.0, 3.0]


def test_no_jobs_no_outcomes(simulate: Simulate) -> None:
    assert list(simulate([], rules(), 3, Present())) == []


def test_a_queue_needs_a_server() -> None:
    with pytest.raises(ValueError, match="needs a server"):
        simulate_servers([job(0.0, 1.0)], rules(), 0, Present())
