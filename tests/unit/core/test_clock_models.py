"""What a clock does to forecasts: measured where a profile has it, nominal where nobody measured."""

from dataclasses import replace

import pytest

from engine_bench import finished, running
from kubesprint.apps.wiring import kind_models
from kubesprint.core.allocation import Allocation
from kubesprint.core.forecast import Forecaster, Lesson, estimate_job, fit_kind
from kubesprint.core.profiling import profiles_from
from kubesprint.core.records import JobRecord
from kubesprint.core.spec import ProfilePoint, ProfileSpec
from kubesprint.core.workload import JobState

BASE, SPRINT = Allocation(0.5), Allocation(1.0, 1.5)
CLOCKS = {"Base": 1.0, "Turbo": 1.5}.get
SLOW = ProfilePoint(cores=0.5, wall=20.0, cpu_time=10.0)
FAST = ProfilePoint(cores=1.0, clock="Turbo", wall=8.0, cpu_time=8.0)


def test_a_point_measured_at_the_sprint_clock_is_used_as_it_is() -> None:
    model = kind_models([ProfileSpec(workload="f", points=(SLOW, FAST))], BASE, SPRINT, CLOCKS)["f"]
    assert model.rate == pytest.approx(20.0 / 8.0)
    assert model.sprint_cpu == pytest.approx(10.0 / 8.0)  # a CPU second of a sprint did more


def test_a_point_at_another_clock_is_not_taken_for_one_at_this() -> None:
    other = ProfilePoint(cores=1.0, wall=10.0, cpu_time=10.0)
    model = kind_models([ProfileSpec(workload="f", points=(SLOW, other))], BASE, SPRINT, CLOCKS)["f"]
    assert model.rate == pytest.approx(2.0 * 1.5)  # the white box, all of whose time scales


def test_the_white_box_uses_a_measured_compute_share() -> None:
    """Half of the time scales with the clock: 20 s at half a core become 20 * (0.5 / 1.5 + 0.5) s."""
    half = ProfilePoint(cores=0.5, clock="Turbo", wall=20.0 * (0.5 / 1.5 + 0.5), cpu_time=8.0)
    model = kind_models([ProfileSpec(workload="f", points=(SLOW, half))], BASE, SPRINT, CLOCKS)["f"]
    assert model.rate == pytest.approx(2.0 / (0.5 / 1.5 + 0.5))


def test_points_whose_clock_is_unknown_here_do_not_count() -> None:
    model = kind_models([ProfileSpec(workload="f", points=(SLOW, FAST))], BASE, Allocation(1.0))["f"]
    assert model.rate == pytest.approx(2.0)
    assert kind_models([ProfileSpec(workload="f", points=(FAST,))], BASE, Allocation(1.0)) == {}


def test_a_kind_that_nobody_measured_is_taken_to_scale_with_the_clock() -> None:
    assert Forecaster({}, BASE, SPRINT).model("new").rate == pytest.approx(3.0)


def test_history_counts_the_cpu_seconds_of_a_sprint_for_more() -> None:
    """10 CPU seconds at base, 10 at 1.5 times the clock: a work of 25, at speeds of 0.5 and 1.5."""
    job = finished(running("a"), end=30.0, cpu=20.0)
    seen = replace(job, sprint=10.0, sprint_cpu=10.0)
    model = fit_kind("fit", None, [Lesson(seen)], 3.0, 1.5)
    assert (model.cpu, model.work, model.rate) == pytest.approx((25.0, 50.0, 3.0))


def test_what_is_left_counts_them_too() -> None:
    model = kind_models([ProfileSpec(workload="fit", points=(SLOW, FAST))], BASE, SPRINT, CLOCKS)["fit"]
    job = running("a", cpu=6.0, sprint=4.0, sprint_cpu=4.0, state=JobState.RUNNING)
    assert estimate_job(job, model).remaining == pytest.approx(20.0 * (1 - (6.0 + 0.25 * 4.0) / 10.0))


def test_a_profile_run_names_the_clock_that_it_measured() -> None:
    def record(name: str, end: float) -> JobRecord:
        return JobRecord(
            run="r", setting="profile", kind="f", arrival=0.0, start=0.0, end=end, cpu=end / 2, sprint=0.0,
            sprint_start=None, sprint_cpu=0.0, name=name, exit=0, predicted_response=None,
        )  # fmt: skip

    (profile,), _ = profiles_from([record("f-base", 20.0), record("f-sprint", 8.0)], BASE, SPRINT, "Turbo")
    assert [point.clock for point in profile.points] == ["Base", "Turbo"]
    assert profile.fit is not None
    assert profile.fit.compute_share == pytest.approx((8.0 / 10.0 - 1) / (1 / 1.5 - 1))
