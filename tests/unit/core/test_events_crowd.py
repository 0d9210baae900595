"""Jobs that wait for a server as a trigger of those that run."""

from dataclasses import replace

from hypothesis import given

from kubesprint.core.events import simulate_servers
from kubesprint.core.simulation import Present, SimJob, SprintRules
from kubesprint.core.units import FOREVER, Seconds
from simulation.queue_cases import Case, queues

START = Present()


def rules(crowd: int, capacity: float = 100.0, timeout: float = FOREVER) -> SprintRules:
    return SprintRules(crowd=crowd, timeout=Seconds(timeout), capacity=Seconds(capacity))


def job(arrival: float, work: float, trigger: float | None = None) -> SimJob:
    own = None if trigger is None else Seconds(trigger)
    return SimJob(arrival=Seconds(arrival), work=Seconds(work), rate=2.0, trigger=own)


def test_a_job_sprints_from_the_instant_at_which_so_many_wait() -> None:
    first, second, third = simulate_servers(
        [job(0.0, 10.0), job(1.0, 1.0), job(3.0, 1.0)], rules(crowd=2), 1, START
    )
    assert (first.sprint_start, first.end) == (3.0, 3.0 + 7.0 / 2.0)
    assert second.sprint_start is None, "when it starts only one waits"
    assert third.end == second.end + 1.0


def test_a_job_that_starts_while_so_many_wait_sprints_at_once() -> None:
    outcomes = simulate_servers([job(float(n) / 10, 4.0) for n in range(4)], rules(crowd=2), 1, START)
    assert [o.sprint_start for o in outcomes] == [0.2, outcomes[1].start, None, None]
    assert outcomes[1].end == outcomes[1].start + 2.0


def test_all_that_run_sprint_and_share_the_bucket() -> None:
    outcomes = simulate_servers([job(0.0, 10.0), job(0.0, 10.0), job(2.0, 1.0)], rules(1, 6.0), 2, START)
    assert [(o.sprint_start, o.sprint) for o in outcomes] == [(2.0, 3.0), (2.0, 3.0), (None, 0.0)]


def test_who_runs_and_waits_at_the_present_counts() -> None:
    present = [replace(job(0.0, 10.0), started=Seconds(0.0)), job(1.0, 1.0)]
    first, _ = simulate_servers(present, rules(1), 1, Present(now=Seconds(5.0)))
    assert (first.sprint_start, first.end) == (5.0, 10.0)


def test_a_trigger_of_its_own_stands() -> None:
    held, _, _ = simulate_servers(
        [job(0.0, 10.0, trigger=FOREVER), job(1.0, 1.0), job(1.0, 1.0)], rules(1), 1, START
    )
    assert (held.sprint, held.end) == (0.0, 10.0)


def test_without_a_budget_a_crowd_changes_nothing() -> None:
    jobs = [job(0.0, 10.0), job(1.0, 1.0)]
    assert simulate_servers(jobs, rules(1, 0.0), 1, START) == simulate_servers(jobs, rules(0, 0.0), 1, START)


@given(case=queues())
def test_a_crowd_that_never_comes_together_changes_nothing(case: Case) -> None:
    crowd = replace(case.rules, crowd=len(case.jobs) + 1)
    with_it = simulate_servers(case.jobs, crowd, case.servers, case.present)
    assert with_it == simulate_servers(case.jobs, case.rules, case.servers, case.present)
