"""The queue of a run: first come, first served, and nobody knows what has not arrived."""

import pytest

from kubesprint.core.allocation import Allocation
from kubesprint.core.budget import Budget
from kubesprint.core.spec import JobSpec, Policy, Statistic
from kubesprint.core.workload import JobState, Reading
from kubesprint.engine.roster import Ending, Roster

ORIGIN = 100.0


def job(name: str, arrival: float, deadline: float | None = None, **labels: str) -> JobSpec:
    return JobSpec(
        name=name, kind="fit", command=("true",), arrival=arrival, deadline=deadline, labels=labels
    )


def policy(
    *, statistic: Statistic | None = Statistic.MEAN, deadline: float | None = None, **more: object
) -> Policy:
    return Policy(
        name="p",
        statistic=statistic,
        deadline=deadline,
        base=Allocation(1.0),
        sprint=Allocation(2.0),
        budget=Budget(capacity=1.0, refill=0.0),
        **more,
    )


def roster(*jobs: JobSpec, slots: int = 1, rules: Policy | None = None) -> Roster:
    return Roster(jobs, rules or policy(), [f"slot{n}" for n in range(slots)], ORIGIN)


def ended(at: float, exit_: int | None = 0, cpu: float | None = 3.0) -> Ending:
    return Ending(at=at, exit=exit_, cpu=cpu)


def test_a_job_is_not_there_before_it_arrives() -> None:
    queue = roster(job("a", 0.0), job("b", 5.0))
    assert queue.arrive(ORIGIN) == ["a"]
    assert [view.name for view in queue.views()] == ["a"]
    assert queue.next_arrival() == ORIGIN + 5.0
    assert queue.arrive(ORIGIN + 4.999) == []
    assert queue.arrive(ORIGIN + 5.0) == ["b"]
    assert queue.next_arrival() is None


def test_a_late_look_lets_in_everybody_at_their_own_instants() -> None:
    queue = roster(job("a", 0.0), job("b", 1.0), job("c", 9.0))
    assert queue.arrive(ORIGIN + 3.0) == ["a", "b"]
    assert [view.arrival for view in queue.views()] == [ORIGIN, ORIGIN + 1.0]


def test_jobs_start_in_order_and_hold_their_slots_until_they_end() -> None:
    queue = roster(job("a", 0.0), job("b", 0.0), job("c", 0.0), slots=2)
    queue.arrive(ORIGIN)
    for slot in list(queue.free_slots()):
        queue.start(queue.next_to_start(), slot, ORIGIN + 0.5)
    assert ([view.name for view in queue.running()], queue.waiting) == (["a", "b"], 1)
    assert queue.free_slots() == []
    queue.finish("a", ended(ORIGIN + 2.0))
    assert (queue.free_slots(), queue.next_to_start()) == (["slot0"], "c")
    view = queue.view("a")
    assert (view.state, view.succeeded, view.response) == (JobState.FINISHED, True, 2.0)
    assert view.cpu == Reading(value=3.0, age=0.0)


@pytest.mark.parametrize("exit_", [1, 137, None])
def test_a_job_that_fails_is_over_and_has_not_succeeded(exit_: int | None) -> None:
    queue = roster(job("a", 0.0))
    queue.arrive(ORIGIN)
    queue.start("a", "slot0", ORIGIN)
    queue.measure("a", Reading(value=1.5, age=0.0))
    queue.finish("a", ended(ORIGIN + 1.0, exit_, cpu=None))
    assert queue.view("a").succeeded is False
    assert queue.view("a").cpu.value == 1.5  # the last that was seen of it
    assert queue.done


def test_a_job_that_never_starts_leaves_the_queue() -> None:
    queue = roster(job("a", 0.0), job("b", 0.0))
    queue.arrive(ORIGIN)
    queue.finish("a", ended(ORIGIN, 127))
    assert (queue.next_to_start(), queue.free_slots()) == ("b", ["slot0"])


def test_a_deadline_counts_from_arrival_and_a_jobs_own_wins() -> None:
    queue = roster(job("a", 2.0), job("b", 2.0, deadline=4.0), rules=policy(statistic=None, deadline=30.0))
    queue.arrive(ORIGIN + 2.0)
    assert [view.deadline for view in queue.views()] == [ORIGIN + 32.0, ORIGIN + 6.0]
    plain = roster(job("a", 0.0))
    plain.arrive(ORIGIN)
    assert plain.view("a").deadline is None


def test_the_selector_asks_for_all_its_labels() -> None:
    rules = policy(selector={"team": "ml", "tier": "batch"})
    queue = roster(job("a", 0.0, team="ml", tier="batch"), job("b", 0.0, team="ml"), rules=rules)
    queue.arrive(ORIGIN)
    assert [view.selected for view in queue.views()] == [True, False]


def test_done_means_that_nothing_runs_waits_or_comes() -> None:
    queue = roster(job("a", 0.0), job("b", 5.0))
    assert not queue.done
    queue.arrive(ORIGIN)
    queue.start("a", "slot0", ORIGIN)
    queue.finish("a", ended(ORIGIN + 1.0))
    assert not queue.done
    queue.arrive(ORIGIN + 5.0)
    assert not queue.done
    assert queue.cancel_rest() == ["b"]
    assert queue.done


def test_cancelling_drops_the_waiting_and_the_coming_and_keeps_the_running() -> None:
    queue = roster(job("a", 0.0), job("b", 0.0), job("c", 5.0))
    queue.arrive(ORIGIN)
    queue.start("a", "slot0", ORIGIN)
    assert queue.cancel_rest() == ["b", "c"]
    assert ([view.name for view in queue.views()], queue.done) == (["a"], False)


def test_jobs_that_an_earlier_part_of_the_run_finished_do_not_come_again() -> None:
    first = roster(job("a", 0.0), job("b", 1.0))
    first.arrive(ORIGIN)
    first.start("a", "slot0", ORIGIN)
    first.finish("a", ended(ORIGIN + 1.0))
    again = roster(job("a", 0.0), job("b", 1.0))
    again.skip({"a": first.view("a")})
    assert again.arrive(ORIGIN + 1.0) == ["b"]
    assert [view.state for view in again.views()] == [JobState.FINISHED, JobState.QUEUED]
