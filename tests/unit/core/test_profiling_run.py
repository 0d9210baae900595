"""A profile run: each kind at both speeds, neighbours in time, and only good runs count."""

from dataclasses import replace

import pytest

from engine_bench import queued, running
from kubesprint.core.allocation import Allocation
from kubesprint.core.decision import Verb
from kubesprint.core.policy import decide
from kubesprint.core.profiling import ProfileTriggers, profile_jobs, profiles_from
from kubesprint.core.records import JobRecord
from kubesprint.core.spec import JobSpec
from storyboards import view

BASE, SPRINT = Allocation(0.4), Allocation(1.0)


def job(name: str, kind: str) -> JobSpec:
    return JobSpec(name=name, kind=kind, command=(f"/bin/{name}",), arrival=7.0, deadline=3.0)


def record(name: str, wall: float, cpu: float, exit_: int | None = 0) -> JobRecord:
    return JobRecord(
        run="p",
        setting="profile",
        kind=name.split("-")[0],
        arrival=0.0,
        start=1.0,
        end=1.0 + wall,
        cpu=cpu,
        sprint=0.0,
        sprint_start=None,
        sprint_cpu=0.0,
        name=name,
        exit=exit_,
        predicted_response=None,
    )


def test_every_kind_runs_at_both_speeds_side_by_side_and_in_turn_first() -> None:
    jobs = profile_jobs([job("f1", "forest"), job("k", "kmeans"), job("f2", "forest")], runs=2)
    assert [j.name for j in jobs] == [
        "forest-0-base",
        "forest-0-sprint",
        "kmeans-0-base",
        "kmeans-0-sprint",
        "forest-1-sprint",
        "forest-1-base",
        "kmeans-1-sprint",
        "kmeans-1-base",
    ]
    assert [j.command[0] for j in jobs if j.kind == "forest"] == ["/bin/f1"] * 2 + ["/bin/f2"] * 2
    assert {(j.arrival, j.deadline) for j in jobs} == {(0.0, None)}


def test_sprint_jobs_sprint_from_start_to_end_and_base_jobs_never() -> None:
    for now in (0.0, 100.0):
        seen = view(running("f-0-base"), running("f-0-sprint", "slot1"), queued("f-1-base"), now=now)
        trigger = ProfileTriggers().choose(seen, {}, hurry=False)
        verbs = {d.job: d.verb for d in decide(seen, {}, trigger, None)}
        assert verbs == {"f-0-base": Verb.HOLD, "f-0-sprint": Verb.SPRINT}


def test_a_profile_holds_the_means_at_both_speeds() -> None:
    records = [
        record("f-0-base", 10.0, 4.0),
        record("f-1-base", 12.0, 4.8),
        record("f-0-sprint", 4.0, 4.0),
        record("f-1-sprint", 5.0, 5.0),
    ]
    (profile,), missing = profiles_from(records, BASE, SPRINT)
    assert missing == []
    assert profile.workload == "f"
    assert [(p.cores, p.runs, p.wall, p.cpu_time) for p in profile.points] == [
        (0.4, 2, 11.0, pytest.approx(4.4)),
        (1.0, 2, 4.5, 4.5),
    ]
    assert profile.fit is not None
    assert (profile.fit.samples, profile.fit.valid_cores) == (4, (0.4, 1.0))
    assert profile.fit.dispersion == pytest.approx((2 * 0.4**2) ** 0.5 / 4.4)


def test_a_single_run_says_nothing_about_dispersion() -> None:
    (profile,), _ = profiles_from(
        [record("f-0-base", 10.0, 4.0), record("f-0-sprint", 4.0, 4.0)], BASE, SPRINT
    )
    assert profile.fit is not None
    assert profile.fit.dispersion is None


@pytest.mark.parametrize("bad", [1, 137, None])
def test_runs_that_failed_do_not_count_and_a_kind_without_both_speeds_is_missing(bad: int | None) -> None:
    records = [
        record("f-0-base", 10.0, 4.0),
        record("f-0-sprint", 0.1, 0.1, exit_=bad),
        record("g-0-base", 10.0, 4.0),
        record("g-0-sprint", 4.0, 4.0),
        replace(record("h-0-base", 1.0, 1.0), start=None, end=None, exit=None),
    ]
    profiles, missing = profiles_from(records, BASE, SPRINT)
    assert ([p.workload for p in profiles], missing) == (["g"], ["f", "h"])
