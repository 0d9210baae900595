"""The demo's plan: the same seed gives the same run, the load is what was asked, the documents are valid."""

from itertools import pairwise
from statistics import mean, stdev
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesprint.adapters.wire.policies import parse_policy
from kubesprint.adapters.wire.queues import parse_queue
from kubesprint.apps.demo import plan, train

WALLS = {"boosting": 4.5, "forest": 3.0, "kmeans": 2.0, "logistic": 2.0, "mlp": 2.1, "svm": 3.2}


def planned(seed: int = 1, jobs: int = 28, load: float = 0.95, slots: int = 2) -> list[plan.Arrival]:
    return plan.demo_jobs(seed=seed, jobs=jobs, load=load, slots=slots, mean_base_wall_by_kind=WALLS)


def test_the_same_seed_gives_the_same_jobs_and_another_seed_others() -> None:
    assert planned(seed=5) == planned(seed=5)
    assert planned(seed=5) != planned(seed=6)


def test_the_order_of_the_profile_does_not_change_the_jobs() -> None:
    backwards = dict(reversed(WALLS.items()))
    again = plan.demo_jobs(seed=5, jobs=28, load=0.95, slots=2, mean_base_wall_by_kind=backwards)
    assert again == planned(seed=5)


@given(load=st.floats(0.1, 3.0), slots=st.integers(1, 8), seed=st.integers(0, 1000))
def test_load_is_the_work_that_arrives_by_the_time_of_all_slots(load: float, slots: int, seed: int) -> None:
    jobs = planned(seed=seed, jobs=1000, load=load, slots=slots)
    work = sum(WALLS[job.kind] for job in jobs)
    assert work / (slots * jobs[-1].arrival_seconds) == pytest.approx(load, rel=0.03)


def test_arrivals_are_as_irregular_as_those_of_a_poisson_process() -> None:
    arrivals = [job.arrival_seconds for job in planned(jobs=4000)]
    gaps = [later - earlier for earlier, later in pairwise(arrivals)]
    assert stdev(gaps) / mean(gaps) == pytest.approx(1.0, abs=0.1)


def test_a_slower_machine_runs_fewer_jobs_in_the_same_time() -> None:
    slow = {kind: wall * 1.5 for kind, wall in WALLS.items()}
    options: dict[str, Any] = {"load": 0.95, "slots": 2}
    fast_jobs = plan.jobs_within(40, mean_base_wall_by_kind=WALLS, **options)
    slow_jobs = plan.jobs_within(40, mean_base_wall_by_kind=slow, **options)
    assert (fast_jobs, slow_jobs) == (27, 18)  # 40 s × 0.95 × 2 / 2.8 s, and two thirds of it
    assert plan.jobs_within(0.1, mean_base_wall_by_kind=WALLS, **options) == 2 * len(WALLS)


@given(seed=st.integers(0, 1000), jobs=st.integers(1, 60))
def test_jobs_come_in_order_from_zero_with_names_of_their_own_and_kinds_evenly_mixed(
    seed: int, jobs: int
) -> None:
    all_jobs = planned(seed=seed, jobs=jobs)
    arrivals = [job.arrival_seconds for job in all_jobs]
    counts = [sum(job.kind == kind for job in all_jobs) for kind in WALLS]
    assert arrivals[0] == 0.0
    assert arrivals == sorted(arrivals)
    assert len({job.name for job in all_jobs}) == jobs
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize(
    ("jobs", "load", "slots"), [(0, 0.9, 2), (5, 0.0, 2), (5, float("nan"), 2), (5, 0.9, 0)]
)
def test_a_number_that_means_nothing_is_refused(jobs: int, load: float, slots: int) -> None:
    with pytest.raises(ValueError, match="above 0"):
        planned(jobs=jobs, load=load, slots=slots)


def test_the_queue_document_is_one_that_the_program_reads() -> None:
    jobs = planned()
    document = plan.queue_document(
        jobs, python="/usr/bin/python3", slots=2, speeds=plan.BY_AFFINITY, scale=0.5
    )
    queue, warnings = parse_queue(document)
    first, job = queue.jobs[0], jobs[0]
    assert warnings == []
    assert queue.slots == 2
    assert [spec.arrival for spec in queue.jobs] == pytest.approx([job.arrival_seconds for job in jobs])
    assert (first.name, first.kind) == (job.name, job.kind)
    assert first.command == (
        *("/usr/bin/python3", "-m", "kubesprint.apps.demo.train", job.kind),
        *("--seed", str(job.train_seed), "--threads", "2", "--scale", "0.5"),
    )


def test_the_profile_measures_each_kind_once_and_knows_the_kinds_that_can_be_trained() -> None:
    document = plan.profile_document(python="python3", slots=2, speeds=plan.BY_QUOTA)
    queue, _ = parse_queue(document)
    assert [job.kind for job in queue.jobs] == sorted(train.KINDS)
    assert {job.arrival for job in queue.jobs} == {0.0}


@pytest.mark.parametrize("after", ["Never", "0s", "Auto"])
@pytest.mark.parametrize("speeds", [plan.BY_QUOTA, plan.BY_AFFINITY])
def test_the_policy_document_is_one_that_the_program_reads(after: str, speeds: plan.Speeds) -> None:
    size = plan.Size()
    policy, _ = parse_policy(plan.policy_document(after=after, size=size, speeds=speeds))
    queue, _ = parse_queue(plan.queue_document(planned(), python="python3", slots=2, speeds=speeds))
    assert policy.base.cores == pytest.approx(speeds.base_cores)
    assert policy.sprint.cores == pytest.approx(speeds.sprint_cores)
    assert policy.budget.capacity == pytest.approx(size.capacity_seconds * speeds.extra_cores)
    assert policy.budget.refill == pytest.approx(size.refill * speeds.extra_cores)
    assert policy.concurrency == size.slots
    assert all(policy.selects(job.labels) for job in queue.jobs)


def test_a_comparison_that_the_machine_has_spoilt_says_so_and_a_fair_one_does_not() -> None:
    note = plan.drift_note({"never": 26.0, "always": 30.2, "model-driven": 39.6})
    assert note is not None
    assert "26 CPU seconds under never and 40 under model-driven" in note
    assert plan.drift_note({"never": 26.0, "always": 27.0, "model-driven": 29.0}) is None
