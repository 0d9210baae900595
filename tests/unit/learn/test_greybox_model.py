"""The grey box against a machine whose truth is known: what it finds, what it drops, what it says."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from greybox_bed import KINDS, Q2, T40, Nature, bed
from kubesprint.core.dataset import Dataset, Mechanism, Run, Split
from kubesprint.core.simulation import SprintRules
from kubesprint.learn.card import card_text
from kubesprint.learn.course import Bench, Numbers
from kubesprint.learn.greybox import GreyBox
from kubesprint.learn.learning import Part, Study
from kubesprint.learn.predictor import Case, View, case_of
from kubesprint.learn.residual import LONG, SETTING_FEATURES, Codes, find_root, setting_features
from kubesprint.learn.whitebox import WhiteBox, fit_white_box

FEW = ["kind0", "kind3", "kind6"]
PLAIN = Nature(serial_tail=0.0)


@cache
def quiet() -> Dataset:
    """Without drift or noise: whatever is wrong is the model's fault."""
    return bed(Nature(drift=0.0, noise=0.0, serial_tail=0.0), train=4, test=3, kinds=FEW)


@cache
def usual(tail: float = 0.25) -> Dataset:
    return bed(Nature(serial_tail=tail), train=8, test=6, kinds=FEW, seed=2)


@cache
def white(tail: float = 0.25) -> WhiteBox:
    return fit_white_box(usual(tail).training)


def errors(predictor: GreyBox, dataset: Dataset, view: View) -> list[float]:
    return [
        abs(predictor.predict(case_of(run, view)).mean / run.measured.mean - 1.0) for run in dataset.scored
    ]


def test_a_machine_without_noise_is_predicted_as_it_is() -> None:
    model = GreyBox("g", Part.NOTHING)
    model.fit(quiet().training)
    for view in View:
        assert np.median(errors(model, quiet(), view)) < 0.003
        assert max(errors(model, quiet(), view)) < 0.02


def test_work_inflation_and_speed_are_found_with_honest_errors() -> None:
    found = fit_white_box(usual(0.0).training)
    for (mechanism, kind), one in found.kinds.items():
        log_error = math.log(one.work.work / KINDS[kind])
        drift = found.drift_spread[mechanism] / math.sqrt(8) + one.work.work_error
        assert abs(log_error) < 4.0 * drift, (mechanism, kind)
        assert abs(math.log(one.work.inflation / 1.05)) < 4.0 * one.work.inflation_error
        assert one.speed.base_rate == pytest.approx((0.4 if mechanism == "t40" else 0.6) * 0.97, rel=0.02)
        assert not one.guessed


def test_drift_of_a_run_is_told_from_the_size_of_kinds() -> None:
    """A profile that was measured on a slow afternoon does not make jobs large."""
    slow = tuple(replace(row, cpu=row.cpu * 1.2, wall=row.wall * 1.2) for row in quiet().training.profile)
    found = fit_white_box(replace(quiet().training, profile=slow))
    for (_, kind), one in found.kinds.items():
        assert one.work.work == pytest.approx(KINDS[kind], rel=0.03)
        assert one.work.inflation == pytest.approx(1.05, rel=0.02)
    run = quiet().training.runs[0]
    jobs = tuple(
        replace(job, cpu=job.cpu * 1.1, sprint_cpu=(job.sprint_cpu or 0.0) * 1.1) for job in run.jobs
    )
    drifted = Dataset(runs=(replace(run, jobs=jobs), *quiet().training.runs[1:]))
    drifts = fit_white_box(drifted).drifts
    others = [
        value for name, value in drifts.items() if name != run.setting.run and name[0] == run.setting.run[0]
    ]
    assert drifts[run.setting.run] - np.mean(others) == pytest.approx(math.log(1.1), rel=0.2)


def test_the_drift_of_a_run_is_taken_out_where_it_is_told() -> None:
    model = GreyBox("g", Part.NOTHING)
    model.fit(usual(0.0).training)
    raw, told, sizes = (float(np.median(errors(model, usual(0.0), view))) for view in View)
    assert told < 0.03
    assert sizes < 0.02
    assert told < raw


def test_the_forest_is_used_where_unseen_runs_say_so_and_else_dropped_with_its_reason() -> None:
    """Two threads with a serial tail: a late sprint is slower than the profile says."""
    tail = bed(
        Nature(serial_tail=0.5, noise=0.02, drift=0.02), train=14, test=6, kinds=FEW, seed=5, mechanisms=(Q2,)
    )
    chosen, plain = GreyBox(), GreyBox("g", Part.NOTHING)
    chosen.fit(tail.training)
    plain.fit(tail.training)
    assert chosen.learned.part is not Part.NOTHING
    assert "helps" in str(chosen.card["reason"])
    assert np.mean(errors(chosen, tail, View.KNOWN_SIZES)) < np.mean(errors(plain, tail, View.KNOWN_SIZES))
    straight = bed(Nature(serial_tail=0.0), train=8, test=4, kinds=FEW, seed=4, mechanisms=(T40,))
    chosen.fit(straight.training)
    assert chosen.learned.part is Part.NOTHING
    assert "does not help" in str(chosen.card["reason"])
    assert chosen.learned.model.job is None


def test_few_runs_say_nothing_of_a_forest() -> None:
    one = replace(quiet().training, runs=quiet().training.runs[:1])
    model = GreyBox()
    model.fit(one)
    assert model.learned.part is Part.NOTHING
    assert "fewer than 6 training runs" in str(model.card["reason"])
    assert model.predict(case_of(quiet().training.runs[0], View.RAW)).trusted


def test_a_kind_that_was_never_seen_is_guessed_and_not_trusted() -> None:
    model = GreyBox("g", Part.NOTHING)
    model.fit(quiet().training)
    case = case_of(quiet().scored[0], View.RAW)
    unknown = replace(case, kinds=("unheard-of", *case.kinds[1:]))
    answer = model.predict(unknown)
    assert not answer.trusted
    assert "'unheard-of'" in answer.notes[0]
    foreign = model.predict(replace(case, mechanism=replace(case.mechanism, name="foreign")))
    assert not foreign.trusted
    assert "'foreign'" in foreign.notes[0]
    assert 0.2 < foreign.mean / model.predict(case).mean < 5.0


def test_a_kind_seen_elsewhere_is_predicted_from_first_principles_and_not_trusted() -> None:
    """`kind6` never ran on two threads: its work is known, its speed follows from its parallelism."""
    training = quiet().training
    runs = tuple(
        replace(
            run, jobs=tuple(job for job in run.jobs if job.kind != "kind6" or run.setting.mechanism == T40)
        )
        for run in training.runs
    )
    profile = tuple(row for row in training.profile if row.kind != "kind6" or row.mechanism == "t40")
    found = fit_white_box(Dataset(runs=runs, profile=profile)).of(Q2, "kind6")
    assert "'kind6'" in found.guessed
    assert found.work.work == pytest.approx(KINDS["kind6"], rel=0.05)
    assert found.speed.base_rate == pytest.approx(0.6 * 0.97, rel=0.05)
    assert found.speedup >= 1.0


def test_load_above_nine_tenths_is_flagged_as_unreliable() -> None:
    model = GreyBox("g", Part.NOTHING)
    model.fit(quiet().training)
    case = replace(case_of(quiet().scored[0], View.RAW), rules=SprintRules())
    spread = tuple(20.0 * n for n in range(len(case.arrivals)))
    assert not model.predict(replace(case, arrivals=spread)).notes
    crowd = tuple(0.1 * n for n in range(len(case.arrivals)))
    assert "unreliable" in model.predict(replace(case, arrivals=crowd)).notes[-1]


def root_bed(factor: float, run: Run) -> tuple[Run, list[float]]:
    """The run as the simulator would have it if every sprint were `factor` times as fast as believed."""
    mechanism = run.setting.mechanism
    found = white(0.0)
    kinds = [found.of(mechanism, job.kind) for job in run.jobs]
    numbers = Numbers.of(kinds)
    case = case_of(run, View.RAW)
    sizes = np.array([kind.work.work for kind in kinds])
    course = Bench().once(case, numbers, sizes, numbers.speedup * factor)
    jobs = []
    for job, response, size, share, kind in zip(
        run.jobs, course.responses, course.sizes, course.shares, kinds, strict=True
    ):
        fast = size * share * kind.work.inflation
        jobs.append(
            replace(
                job, start=job.arrival, end=job.arrival + response,
                cpu=size * (1.0 - share) + fast, sprint_cpu=fast, sprint=0.0,
            )
        )  # fmt: skip
    return replace(run, jobs=tuple(jobs)), [kind.speedup for kind in kinds]


@pytest.mark.parametrize("factor", [0.7, 0.95, 1.0, 1.3])
def test_the_root_finds_the_factor_that_made_a_run(factor: float) -> None:
    """Also below 1, which only a fit may use; several roots: any that explains the run, the nearest to 1."""
    checked = 0
    for run in usual(0.0).training.runs:
        made, _ = root_bed(factor, run)
        kinds = [white(0.0).of(run.setting.mechanism, job.kind) for job in run.jobs]
        root = find_root(made, kinds, Bench())
        if root.idle:
            continue
        assert root.factor is not None
        assert abs(math.log(root.factor)) <= abs(math.log(factor)) + 0.01
        numbers = Numbers.of(kinds)
        sizes = np.array([kind.work.work for kind in kinds])
        again = Bench().once(case_of(made, View.RAW), numbers, sizes, numbers.speedup * root.factor)
        if root.elasticity > 0.05:
            assert again.responses.mean() == pytest.approx(made.measured.mean, rel=0.02)
            checked += 1
    assert checked >= 3


def test_runs_without_a_root_are_dropped_and_counted() -> None:
    training = usual().training
    late = tuple(
        replace(run, jobs=tuple(replace(job, end=job.end + 60.0) for job in run.jobs))
        if run.setting.run.endswith("-0")
        else run
        for run in training.runs
    )
    learned = Study(replace(training, runs=late)).learn(Part.SETTING)
    assert learned.notes["runs_without_root"] >= 1
    total = sum(
        learned.notes[key]
        for key in ("runs_with_root", "runs_without_root", "runs_that_did_not_depend_on_it")
    )
    assert total == len(training.runs)


def test_a_setting_outside_the_training_range_is_left_to_the_white_box() -> None:
    model, plain = GreyBox("s", Part.SETTING), GreyBox("n", Part.NOTHING)
    model.fit(usual().training)
    plain.fit(usual().training)
    case = case_of(usual().training.runs[1], View.KNOWN_SIZES)
    far = replace(case, rules=replace(case.rules, refill=7.0))
    answer = model.predict(far)
    assert answer.mean == plain.predict(far).mean
    assert "outside the training range" in answer.notes[0]


def _features(case: Case) -> Sequence[float]:
    kinds = [white().of(case.mechanism, kind) for kind in case.kinds]
    return list(setting_features(case, kinds, Codes.of(white()))[0])


def test_features_of_a_setting_are_finite_even_for_never_and_for_one_job() -> None:
    case = case_of(usual().training.runs[0], View.RAW)
    never = _features(replace(case, rules=SprintRules()))
    assert never[SETTING_FEATURES.index("timeout")] == LONG
    one = replace(case, arrivals=case.arrivals[:1], kinds=case.kinds[:1])
    assert all(math.isfinite(value) for value in [*never, *_features(one)])
    unknown = replace(
        case, mechanism=Mechanism(name="x", knob=T40.knob, threads=1, base_cores=0.4, sprint_cores=1.0)
    )
    assert _features(unknown)[0] == -1.0


def test_intervals_widen_with_what_is_not_told_and_hold_the_middle() -> None:
    model = GreyBox("g", Part.NOTHING)
    model.fit(usual().training)
    for run in usual().scored[:4]:
        widths = {}
        for view in View:
            answer = model.predict(case_of(run, view))
            low50, high50 = answer.intervals[0.5]
            low95, high95 = answer.intervals[0.95]
            assert low95 < low50 < high50 < high95
            widths[view] = math.log(high95 / low95)
        assert widths[View.RAW] > widths[View.KNOWN_SIZES]


@pytest.mark.slow
def test_intervals_hold_what_they_promise_on_held_out_runs() -> None:
    """Counted over many runs of a machine with drift and noise; the promise is a frequency."""
    held = {0.5: 0, 0.8: 0, 0.95: 0}
    asked = 0
    for seed in range(4):
        dataset = bed(Nature(serial_tail=0.0), train=8, test=8, kinds=FEW, seed=50 + seed)
        model = GreyBox("g", Part.NOTHING)
        model.fit(dataset.training)
        for run in dataset.scored:
            for level, (low, high) in model.predict(case_of(run, View.RAW)).intervals.items():
                held[level] += low <= run.measured.mean <= high
            asked += 1
    assert 0.30 <= held[0.5] / asked <= 0.75
    assert 0.65 <= held[0.8] / asked <= 0.95
    assert held[0.95] / asked >= 0.85


def test_the_same_question_has_the_same_answer() -> None:
    first, second = GreyBox("g", Part.JOB), GreyBox("g", Part.JOB)
    for model in (first, second):
        model.fit(usual().training)
    for view in View:
        case = case_of(usual().scored[0], view)
        assert first.predict(case) == second.predict(case) == first.predict(case)
    assert usual().scored[0].setting.split is Split.TEST


def test_the_card_says_what_was_fitted_dropped_and_assumed() -> None:
    learned = Study(usual().training).learn(Part.SETTING)
    text = card_text(learned)
    assert "Fitted to 16 runs of 2 mechanisms" in text
    assert (
        f"from {learned.notes['runs_with_root']} runs; dropped: {learned.notes['runs_without_root']}" in text
    )
    assert "| q2/kind3 |" in text
    one = replace(quiet().training, runs=quiet().training.runs[:1], profile=())
    alone = card_text(Study(one).learn())
    assert "fewer than 6 training runs" in alone
    assert "nothing is known of its error" in alone
