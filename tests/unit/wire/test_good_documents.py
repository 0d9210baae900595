"""What good documents become: every field, default and way of writing it."""

import math
from pathlib import Path
from typing import Any

import pytest

from document_texts import job, policy_text, profile_text, queue_text
from kubesprint.apps.documents import (
    Loaded,
    load_policy,
    load_profiles,
    load_queue,
    selector_warnings,
)
from kubesprint.core.budget import RefillRule
from kubesprint.core.simulation import TriggerClock
from kubesprint.core.spec import JobSpec, Mode, Policy, QueueSpec, ResizeRule, Statistic, TriggerRule

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


def policy_of(tmp_path: Path, **sections: str | None) -> Loaded[Policy]:
    file = tmp_path / "my-policy.yaml"
    file.write_text(policy_text(**sections))
    return load_policy(file)


def queue_of(tmp_path: Path, *jobs: str) -> Loaded[QueueSpec]:
    file = tmp_path / "queue.yaml"
    file.write_text(queue_text(*jobs))
    return load_queue(file)


GOOD_POLICIES: list[tuple[dict[str, str | None], str, Any]] = [
    ({}, "name", "my-policy"),
    ({}, "lease", 5.0),
    ({}, "resize_timeout", 30.0),
    ({}, "paused", False),
    ({}, "selector", {}),
    ({}, "trigger", TriggerRule.AUTO),
    ({}, "trigger_clock", TriggerClock.ARRIVAL),
    ({}, "concurrency", None),
    ({}, "clock_maximum", None),
    ({}, "resize", ResizeRule.LIMIT_ONLY),
    ({}, "budget.while_sprinting", RefillRule.PAUSED),
    ({}, "budget.hysteresis", 0.2),
    ({}, "budget.capacity", 600.0),
    ({}, "budget.refill", 0.05),
    ({}, "statistic", Statistic.MEAN),
    ({}, "mode", Mode.ENFORCE),
    ({"mode": None}, "mode", Mode.OBSERVE),
    ({"mode": "mode: Recommend"}, "mode", Mode.RECOMMEND),
    ({"mode": None, "budget": None}, "budget.capacity", 0.0),
    ({"mode": None, "budget": "budget: {capacityCoreSeconds: 0}"}, "budget.refill", 0.0),
    ({"budget": "budget: {capacityCoreSeconds: '412.5'}"}, "budget.capacity", 412.5),
    ({"budget": "budget: {capacityCoreSeconds: 412.5}"}, "budget.capacity", 412.5),
    ({"budget": "budget: {capacityCoreSeconds: 1, hysteresis: 1ms}"}, "budget.hysteresis", 0.001),
    (
        {"budget": "budget: {capacityCoreSeconds: 1, whileSprinting: Continuous}"},
        "budget.while_sprinting",
        RefillRule.CONTINUOUS,
    ),
    ({"objective": "objective: {responseTime: {}}"}, "statistic", Statistic.MEAN),
    ({"objective": "objective: {responseTime: {statistic: P99}}"}, "statistic", Statistic.P99),
    ({"objective": "objective: {deadline: {after: 30m}}"}, "deadline", 1800.0),
    ({"objective": "objective: {deadline: {after: 30m}}"}, "statistic", None),
    ({"base": "base: {cpu: 0.4}"}, "base.cores", 0.4),
    ({"base": "base: {cpu: '0.4'}"}, "base.cores", 0.4),
    ({"sprint": "sprint: {cpu: 2x}"}, "sprint.cores", 0.8),
    ({"sprint": "sprint: {cpu: 2.5x}"}, "sprint.cores", 1.0),
    ({"sprint": "sprint: {cpu: 2}"}, "sprint.cores", 2.0),
    ({"base": "base: {cpu: 100m}", "sprint": "sprint: {cpu: 3x}"}, "sprint.cores", 0.3),
    ({"sprint": "sprint: {cpu: 1, clock: {maximum: Turbo}}"}, "clock_maximum", "Turbo"),
    ({"sprint": 'sprint: {cpu: 1, clock: {maximum: "80%"}}'}, "clock_maximum", "80%"),
    ({"sprint": "sprint: {cpu: 1, clock: {maximum: 2400MHz}}"}, "clock_maximum", "2400MHz"),
    ({}, "base_clock", "Base"),
    (
        {"base": "base: {cpu: 0.4, clock: 1800MHz}", "sprint": "sprint: {cpu: 1, clock: {maximum: Turbo}}"},
        "base_clock",
        "1800MHz",
    ),
    ({"sprint": "sprint: {cpu: 1, resize: LimitAndRequest}"}, "resize", ResizeRule.LIMIT_AND_REQUEST),
    ({"x": "trigger: {after: Never}"}, "trigger", TriggerRule.NEVER),
    ({"x": "trigger: {after: 0s, clock: Start}"}, "trigger", 0.0),
    ({"x": "trigger: {after: 0}"}, "trigger", 0.0),
    ({"x": "trigger: {after: 1m30s}"}, "trigger", 90.0),
    ({"x": "trigger: {clock: Start}"}, "trigger_clock", TriggerClock.START),
    ({"x": "concurrency: 4"}, "concurrency", 4),
    ({"x": "concurrency: Auto"}, "concurrency", None),
    ({"x": "lease: 2s"}, "lease", 2.0),
    ({"x": "selector: {matchLabels: {app: train}}"}, "selector", {"app": "train"}),
    ({"x": "workload: resnet-small"}, "workload", "resnet-small"),
    ({"x": "container: trainer"}, "container", "trainer"),
]


@pytest.mark.parametrize(("sections", "field", "expected"), GOOD_POLICIES)
def test_a_policy_is_read_with_its_units_and_defaults(
    sections: dict[str, str | None], field: str, expected: Any, tmp_path: Path
) -> None:
    value: Any = policy_of(tmp_path, **sections).value
    for part in field.split("."):
        value = getattr(value, part)
    assert value == (pytest.approx(expected) if isinstance(expected, float) else expected)
    assert type(value) is type(expected)


def test_a_sprint_that_is_no_faster_than_the_base_is_a_warning(tmp_path: Path) -> None:
    same = policy_of(tmp_path, sprint="sprint: {cpu: 1x}")
    assert len(same.warnings) == 1
    assert ":7: spec.sprint.cpu: 400m is no faster than the base" in same.warnings[0]
    assert policy_of(tmp_path, sprint="sprint: {cpu: 1x, clock: {maximum: Turbo}}").warnings == ()


def test_an_object_read_from_a_cluster_is_a_good_file(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    text = (
        policy_text()
        + "metadata: {name: a, uid: U, generation: 4, managedFields: []}\nstatus: {counts: {}}\n"
    )
    file.write_text(text)
    assert load_policy(file).value.name == "a"


GOOD_JOBS: list[tuple[str, str, Any]] = [
    (job(), "arrival", 0.0),
    (job(), "deadline", None),
    (job(), "command", ("true",)),
    (job(), "labels", {}),
    (job(), "env", {}),
    (job(rest="arrival: 0"), "arrival", 0.0),
    (job(rest="arrival: 1.5s"), "arrival", 1.5),
    (job(rest="deadline: 1h"), "deadline", 3600.0),
    (job(rest="labels: {team: a}"), "labels", {"team": "a"}),
    (job(rest='env: {OMP_NUM_THREADS: "1", EMPTY: ""}'), "env", {"OMP_NUM_THREADS": "1", "EMPTY": ""}),
    (job(command='["true", "", "a b", "$HOME"]'), "command", ("true", "", "a b", "$HOME")),
]


@pytest.mark.parametrize(("text", "field", "expected"), GOOD_JOBS)
def test_a_job_is_read_as_it_stands(text: str, field: str, expected: Any, tmp_path: Path) -> None:
    queue = queue_of(tmp_path, text).value
    assert getattr(queue.jobs[0], field) == expected


def test_count_makes_numbered_copies_that_arrive_together_or_one_by_one(tmp_path: Path) -> None:
    together = queue_of(tmp_path, job("a", "count: 3, arrival: 2s")).value
    assert [(j.name, j.arrival) for j in together.jobs] == [("a-0", 2.0), ("a-1", 2.0), ("a-2", 2.0)]
    spread = queue_of(tmp_path, job("a", "count: 3, arrival: 2s, every: 100ms"), job("b", "arrival: 2.05s"))
    assert [(j.name, j.arrival) for j in spread.value.jobs] == [
        ("a-0", 2.0),
        ("b", 2.05),
        ("a-1", 2.1),
        ("a-2", 2.2),
    ]
    assert spread.warnings == ()
    assert [j.name for j in queue_of(tmp_path, job("a", "count: 1")).value.jobs] == ["a-0"]


def test_unsorted_arrivals_are_sorted_with_one_warning_and_ties_keep_their_order(tmp_path: Path) -> None:
    loaded = queue_of(tmp_path, job("a", "arrival: 3s"), job("b", "arrival: 1s"), job("c", "arrival: 1s"))
    assert [j.name for j in loaded.value.jobs] == ["b", "c", "a"]
    assert len(loaded.warnings) == 1
    assert f'{tmp_path / "queue.yaml"}:6: jobs[1].arrival: "b" arrives before' in loaded.warnings[0]


def test_a_policy_that_selects_no_job_is_a_warning() -> None:
    queue = load_queue(EXAMPLES / "queue.yaml").value
    policy = load_policy(EXAMPLES / "policy.yaml").value
    assert selector_warnings(policy, queue) == []
    nobody = QueueSpec(slots=1, jobs=(JobSpec(name="a", kind="k", command=("true",)),))
    assert selector_warnings(policy, nobody) == [
        'policy "example": spec.selector.matchLabels {team: example} matches no job of the queue'
    ]


def test_a_profile_is_read_with_what_was_fitted(tmp_path: Path) -> None:
    file = tmp_path / "profile.yaml"
    status = (
        'status: {samples: 41, work: {cpuTime: 119s, dispersion: "0.08"}, speed: {serialShare: "0.12", '
        'standardErrors: {serialShare: "0.02"}}, model: {schema: 1, basis: GreyBox}, '
        'validRange: {cpu: [400m, "1"]}, observedGeneration: 4}\n'
    )
    file.write_text(profile_text("{cpu: 400m, clock: Base, runs: 3, wall: 301s, cpuTime: 120s}", rest=status))
    (profile,) = load_profiles(file).value
    (point,) = profile.points
    assert (point.cores, point.clock, point.runs, point.wall, point.cpu_time) == (
        0.4,
        "Base",
        3,
        301.0,
        120.0,
    )
    assert profile.fit is not None
    assert (profile.fit.samples, profile.fit.cpu_time, profile.fit.dispersion) == (41, 119.0, 0.08)
    assert (profile.fit.serial_share, profile.fit.work_inflation) == (0.12, None)
    assert (profile.fit.standard_errors, profile.fit.schema) == ({"serialShare": 0.02}, 1)
    assert profile.fit.valid_cores == (0.4, 1.0)


def test_the_examples_are_good_and_would_run() -> None:
    policy = load_policy(EXAMPLES / "policy.yaml")
    queue = load_queue(EXAMPLES / "queue.yaml")
    assert (policy.warnings, queue.warnings) == ((), ())
    assert policy.value.sprint.at_least_as_fast_as(policy.value.base)
    assert [j.name for j in queue.value.jobs] == ["short-0", "long", "short-1", "short-2"]
    assert all(j.command[0] == "python3" and math.isfinite(j.arrival) for j in queue.value.jobs)
