"""What is believed of a kind, how finished jobs correct it, and what is left of a running job."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine_bench import BASE, SPRINT, finished, measured, queued, running
from kubesprint.core.drift import PRIOR, Drift, Surprise, drift_of
from kubesprint.core.forecast import (
    HALF_LIFE,
    PROFILE_WEIGHT,
    STALE_AFTER,
    TRUSTED_AFTER,
    Basis,
    Forecaster,
    KindModel,
    Lesson,
    estimate_job,
    fit_kind,
    prior,
)
from kubesprint.core.workload import JobView, Reading
from storyboards import view


def lessons(*jobs: JobView) -> list[Lesson]:
    """Without drift."""
    return [Lesson(job) for job in jobs]


def done(name: str, cpu: float, wall: float, sprint: float = 0.0, sprint_cpu: float = 0.0) -> JobView:
    """A finished job that started at 0."""
    return replace(finished(running(name), wall, cpu), sprint=sprint, sprint_cpu=sprint_cpu)


def test_what_is_left_is_the_mean_less_what_the_cpu_seconds_show() -> None:
    model = measured(work=20.0)
    assert estimate_job(queued("a"), model).remaining == 20.0
    assert estimate_job(running("a", cpu=5.0), model).remaining == pytest.approx(15.0)


def test_cpu_seconds_count_by_share_whatever_the_kind_uses_a_second() -> None:
    model = replace(measured(work=20.0), cpu=8.0)  # 0.4 of a core
    assert estimate_job(running("a", cpu=4.0), model).remaining == pytest.approx(10.0)


def test_a_job_that_outlived_its_kind_has_a_little_left_never_nothing() -> None:
    certain, spread = measured(work=20.0), measured(work=20.0, deviation=8.0)
    assert estimate_job(running("a", cpu=30.0), certain).remaining == pytest.approx(2.0)
    assert estimate_job(running("a", cpu=30.0), spread).remaining == pytest.approx(4.0)


@given(st.floats(0.0, 1e6), st.floats(0.01, 1e4), st.floats(0.0, 1e4))
def test_what_is_left_is_above_zero_and_never_more_than_the_mean_or_half_a_deviation(
    cpu: float, work: float, deviation: float
) -> None:
    left = estimate_job(running("a", cpu=cpu), measured(work=work, deviation=deviation)).remaining
    assert 0.0 < left <= max(work, 0.5 * deviation) * (1 + 1e-9)


def test_a_reading_that_is_missing_or_old_is_stale_and_so_not_trusted() -> None:
    model = measured()
    missing = estimate_job(running("a", cpu=None), model)
    old = estimate_job(_aged(STALE_AFTER + 0.1), model)
    fresh = estimate_job(_aged(STALE_AFTER), model)
    assert [(e.stale, e.trusted) for e in (missing, old, fresh)] == [
        (True, False),
        (True, False),
        (False, True),
    ]


def _aged(age: float) -> JobView:
    return replace(running("a"), cpu=Reading(value=1.0, age=age))


def test_a_queued_job_needs_no_reading() -> None:
    estimate = estimate_job(queued("a"), measured())
    assert (estimate.stale, estimate.trusted) == (False, True)


def test_a_profile_is_trusted_a_prior_never_and_history_from_the_third_job_on() -> None:
    history = [done(f"d{n}", 10.0, 10.0) for n in range(TRUSTED_AFTER)]
    trusted = [fit_kind("fit", None, lessons(*history[:n]), 2.0).trusted for n in range(TRUSTED_AFTER + 1)]
    assert trusted == [False, False, False, True]
    assert fit_kind("fit", measured(), [], 2.0).trusted
    assert prior("fit", 2.0).basis is Basis.PRIOR


def test_a_prior_never_believes_in_a_sprint_that_is_slower() -> None:
    assert prior("fit", 0.5).rate == 1.0


def test_finished_jobs_move_a_profile_by_their_weight() -> None:
    corrected = fit_kind("fit", measured(work=10.0, deviation=1.0), lessons(done("a", 20.0, 20.0)), 2.0)
    expected = (PROFILE_WEIGHT * 10.0 + 20.0) / (PROFILE_WEIGHT + 1)
    assert (corrected.cpu, corrected.work) == (pytest.approx(expected), pytest.approx(expected))
    assert corrected.deviation == pytest.approx(expected / 10.0)
    assert (corrected.rate, corrected.basis, corrected.samples) == (2.0, Basis.PROFILE, 1)


def test_history_measures_both_speeds() -> None:
    """10 s at base for 4 CPU seconds; 4 s sprinting for 4: two and a half times as fast."""
    history = [done("a", 8.0, 14.0, sprint=4.0, sprint_cpu=4.0), done("b", 8.0, 20.0)]
    model = fit_kind("fit", None, lessons(*history), 3.0)
    assert model.rate == pytest.approx(2.5)
    assert (model.cpu, model.work) == (8.0, pytest.approx(20.0))


def test_history_without_a_sprint_takes_the_nominal_speed_up() -> None:
    assert fit_kind("fit", None, lessons(done("a", 8.0, 20.0)), 3.0).rate == 3.0


def test_history_that_always_sprinted_takes_base_speed_from_the_nominal_speed_up() -> None:
    model = fit_kind("fit", None, lessons(done("a", 8.0, 8.0, sprint=8.0, sprint_cpu=8.0)), 2.0)
    assert (model.rate, model.work) == (pytest.approx(2.0), pytest.approx(16.0))


def test_the_spread_of_one_job_is_its_size() -> None:
    assert fit_kind("fit", None, lessons(done("a", 8.0, 8.0)), 2.0).deviation == pytest.approx(8.0)
    two = fit_kind("fit", None, lessons(done("a", 8.0, 8.0), done("b", 10.0, 10.0)), 2.0)
    assert two.deviation == pytest.approx(2.0**0.5, rel=0.01)


def forecaster(*models: KindModel) -> Forecaster:
    return Forecaster({model.kind: model for model in models}, BASE, SPRINT)


def test_every_job_that_is_not_over_gets_an_estimate() -> None:
    seen = view(finished(running("a"), 1.0), running("b"), queued("c"))
    assert set(forecaster(measured()).forecast(seen)) == {"b", "c"}


def test_a_job_teaches_once_and_only_if_it_succeeded_and_was_measured() -> None:
    teacher = forecaster()
    good = done("a", 8.0, 8.0)
    nothing = replace(done("b", 8.0, 8.0), cpu=None)
    failed = replace(done("c", 1.0, 1.0), succeeded=False)
    for _ in range(3):
        teacher.forecast(view(good, nothing, failed))
    model = teacher.model("fit")
    assert (model.samples, model.cpu, model.basis) == (1, 8.0, Basis.HISTORY)
    teacher.forecast(view(good, done("d", 10.0, 10.0)))
    assert (teacher.model("fit").samples, teacher.model("fit").cpu) == (2, pytest.approx(9.0, rel=0.01))


def test_an_unknown_kind_has_the_nominal_speed_up_of_the_allocations() -> None:
    assert forecaster().model("unheard-of").rate == SPRINT.cores / BASE.cores


def test_recent_jobs_of_a_kind_count_more() -> None:
    """A kind that has become half as large is believed to be so after a few half-lives."""
    old = [done(f"o{n}", 10.0, 10.0) for n in range(50)]
    new = [done(f"n{n}", 5.0, 5.0) for n in range(int(3 * HALF_LIFE))]
    before = fit_kind("fit", measured(), lessons(*old), 2.0)
    after = fit_kind("fit", measured(), lessons(*old, *new), 2.0)
    turned = fit_kind("fit", measured(), lessons(*new, *old), 2.0)
    assert before.cpu == pytest.approx(10.0)
    assert 5.0 < after.cpu < 6.0
    assert turned.cpu > 8.0


def _slow_afternoon(kinds: Sequence[str], jobs: int, factor: float) -> list[JobView]:
    """Jobs of these kinds in turn, each in need of `factor` times the 10 CPU seconds of its profile."""
    return [
        replace(done(f"d{n}", 10.0 * factor, 10.0 * factor + n), kind=kinds[n % len(kinds)])
        for n in range(jobs)
    ]


def test_drift_is_what_all_kinds_have_in_common_and_reaches_a_kind_that_did_not_run() -> None:
    teacher = forecaster(*(measured(kind, deviation=0.5) for kind in ("a", "b", "c", "rested")))
    teacher.forecast(view(*_slow_afternoon(["a", "b", "c"], 12, 1.2)))
    rested = teacher.model("rested")
    assert rested.drift == pytest.approx(1.2, rel=0.05)
    assert rested.work == pytest.approx(10.0 * rested.drift)
    assert teacher.model("a").work == pytest.approx(12.0, rel=0.03)
    assert teacher.model("a").work / teacher.model("a").drift < 10.8  # the kind itself is hardly larger
    queue = teacher.forecast(view(*_slow_afternoon(["a", "b", "c"], 12, 1.2), queued("q", kind="rested")))
    assert queue["q"].drift == rested.drift
    assert queue["q"].remaining == rested.work


def test_one_job_hardly_moves_the_drift_and_many_settle_it() -> None:
    one, many = (forecaster(measured("a", deviation=2.0)) for _ in range(2))
    one.forecast(view(*_slow_afternoon(["a"], 1, 1.2)))
    many.forecast(view(*_slow_afternoon(["a"], 30, 1.2)))
    assert 1.0 < one.drift.factor < 1.06
    assert many.drift.variance < one.drift.variance < Drift().variance
    assert (one.drift.jobs, many.drift.jobs) == (1, 30)


def test_a_drift_that_is_over_is_forgotten() -> None:
    teacher = forecaster(*(measured(kind, deviation=0.5) for kind in "abc"))
    slow = _slow_afternoon("abc", 12, 1.3)
    fast = [
        replace(job, name=f"later-{n}", cpu=Reading(value=10.0, age=0.0), end=1000.0 + n)
        for n, job in enumerate(slow * 4)
    ]
    teacher.forecast(view(*slow))
    assert teacher.drift.factor > 1.2
    teacher.forecast(view(*slow, *fast))
    assert teacher.drift.factor == pytest.approx(1.0, abs=0.06)


def test_jobs_that_nobody_could_expect_say_nothing_of_the_node() -> None:
    teacher = forecaster()
    teacher.forecast(view(*_slow_afternoon(["new"], TRUSTED_AFTER, 1.3)))
    assert teacher.drift == Drift()
    assert teacher.model("unheard-of").drift == 1.0


class _Halves:
    """A learned model that knows one kind."""

    def factor(self, job: JobView, model: KindModel) -> float | None:
        return 0.8 if job.kind == "known" else None


def test_a_learned_factor_is_used_where_it_knows_and_named() -> None:
    profiles = {kind: measured(kind, rate=2.0) for kind in ("known", "other")}
    teacher = Forecaster(profiles, BASE, SPRINT, _Halves())
    seen = teacher.forecast(view(queued("a", kind="known"), queued("b", kind="other")))
    assert (seen["a"].rate, seen["a"].learned) == (pytest.approx(1.6), 0.8)
    assert (seen["b"].rate, seen["b"].learned) == (2.0, 1.0)


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(0, 3)), max_size=60))
def test_the_drift_stays_sane_whatever_a_single_job_does(jobs: list[tuple[float, float]]) -> None:
    surprises = [Surprise(ratio, spread) for ratio, spread in jobs]
    drift = drift_of(surprises)
    assert 0.5 <= drift.factor <= 2.0
    assert 0.0 < drift.variance <= PRIOR**2
    assert drift_of([Surprise(0.1, 0.05)] * 9).variance < drift_of([Surprise(0.1, 0.05)] * 3).variance
