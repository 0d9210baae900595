"""The protocol: who is fitted to what, who sees what, and how errors and the noise floor are counted."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubesprint.adapters.files.dataset_reader import read_dataset
from kubesprint.core.dataset import Dataset, JobRow, Measures, Run, Split
from kubesprint.core.errors import Refused
from kubesprint.core.units import CoreSeconds, Seconds
from kubesprint.learn.baselines_direct import Direct, Learner
from kubesprint.learn.evaluation import (
    Evaluation,
    Spread,
    coverage,
    evaluate,
    median_interval,
    noise_floors,
)
from kubesprint.learn.evaluation_answer import as_json, as_rows, as_text
from kubesprint.learn.evaluation_entrants import chosen, entrants, needs_many_simulations
from kubesprint.learn.greybox import GREY_BOXES
from kubesprint.learn.predictor import Case, Prediction, Predictor, View, case_of
from synthetic_dataset import Synthetic

FAST = ["marginal", "nominal", "no-sprint", "formula", "nearest-runs", "nearest-runs-trace"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    made = Synthetic(
        folder=tmp_path_factory.mktemp("data"), size_noise=0.1, drift=0.1, repeats=2, test=3, jobs=25
    )
    return read_dataset(made.write()).dataset


class Fake:
    """Remembers what it was shown, and answers 10 % too much of the mean that it is told to answer."""

    name = "fake"
    views = frozenset(View)
    card: ClassVar[Mapping[str, object]] = {"kind": "fake"}

    def __init__(self, mean: float = 1.0) -> None:
        self.mean = mean
        self.training: Dataset | None = None
        self.cases: list[Case] = []

    def fit(self, training: Dataset) -> None:
        self.training = training

    def predict(self, case: Case) -> Prediction:
        self.cases.append(case)
        return Prediction(mean=self.mean, p95=2 * self.mean)


# --- who sees what ----------------------------------------------------------------------------------


def test_only_train_runs_that_are_no_repeats_are_fitted_and_each_test_run_is_asked_in_each_view(
    data: Dataset,
) -> None:
    fake = Fake()
    evaluate(data, [lambda: fake])
    assert fake.training is not None
    assert {(run.setting.split, run.setting.repeat) for run in fake.training.runs} == {(Split.TRAIN, 0)}
    assert fake.training.profile == data.profile
    assert len(fake.cases) == 3 * len(data.scored) == 3 * 6
    assert [case.view for case in fake.cases].count(View.RAW) == 6


def test_a_case_holds_what_its_view_permits_and_nothing_else(data: Dataset) -> None:
    """Whoever adds a field to `Case` has to come here and say why it gives nothing away."""
    assert {field.name for field in fields(Case)} == {
        "view",
        "mechanism",
        "servers",
        "rules",
        "process",
        "arrivals",
        "kinds",
        "total_cpu",
        "cpu",
    }
    run = data.scored[0]
    raw, drift, known = (case_of(run, view) for view in View)
    assert (raw.total_cpu, raw.cpu) == (None, None)
    assert (drift.total_cpu, drift.cpu) == (sum(job.cpu for job in run.jobs), None)
    assert (known.total_cpu, known.cpu) == (None, tuple(job.cpu for job in run.jobs))


def scrambled(data: Dataset, dice: random.Random, view: View) -> Dataset:
    """The same dataset with everything of its test runs changed that the view does not permit."""
    return replace(data, runs=tuple(_scrambled(run, dice, view) for run in data.runs))


def _scrambled(run: Run, dice: random.Random, view: View) -> Run:
    if run.setting.split is not Split.TEST:
        return run
    setting = replace(
        run.setting,
        run=f"x{dice.random()}",
        duration=Seconds(dice.uniform(1, 1000)),
        started_at=str(dice.random()),
    )
    cpus = [job.cpu for job in run.jobs]
    if view is View.RAW:
        cpus = [CoreSeconds(dice.uniform(0.1, 9.0)) for _ in cpus]
    if view is View.DRIFT_NORMALISED:
        dice.shuffle(cpus)
    jobs = [_scrambled_job(job, cpu, dice) for job, cpu in zip(run.jobs, cpus, strict=True)]
    return Run(setting=setting, jobs=tuple(jobs))


def _scrambled_job(job: JobRow, cpu: CoreSeconds, dice: random.Random) -> JobRow:
    start = job.arrival + dice.uniform(0, 50)
    sprint = dice.uniform(0, 5)
    return replace(
        job,
        cpu=cpu,
        start=Seconds(start),
        end=Seconds(start + dice.uniform(5, 50)),
        sprint=Seconds(sprint),
        sprint_start=Seconds(start),
        sprint_cpu=CoreSeconds(dice.uniform(0, cpu)),
    )


@pytest.fixture(scope="module")
def fitted(data: Dataset) -> list[Predictor]:
    """Fitted once: to the training runs, which nobody scrambles."""
    predictors = [make() for make in chosen([*FAST, "grey-box"])]
    for predictor in predictors:
        predictor.fit(data.training)
    return predictors


@pytest.mark.parametrize("view", list(View))
def test_what_a_view_forbids_changes_no_prediction(
    data: Dataset, fitted: list[Predictor], view: View
) -> None:
    other = scrambled(data, random.Random(7), view)
    for run, changed in zip(data.scored, other.scored, strict=True):
        assert run.measured != changed.measured
        for predictor in fitted:
            if view in predictor.views:
                one, two = (predictor.predict(case_of(it, view)) for it in (run, changed))
                assert (one.mean, one.p95) == pytest.approx((two.mean, two.p95), rel=1e-9), predictor.name
                assert one.intervals.keys() == two.intervals.keys()
                for level, ends in one.intervals.items():
                    assert ends == pytest.approx(two.intervals[level], rel=1e-9)


def test_no_prediction_depends_on_which_other_test_runs_there_are(data: Dataset) -> None:
    alone = replace(data, runs=(*data.training.runs, data.scored[2]))
    together, single = evaluate(data, chosen(FAST)), evaluate(alone, chosen(FAST))
    for name, entry in together.entries.items():
        for view, answers in entry.answers.items():
            assert single.entries[name].answers[view][0] == answers[2]


class _Counting:
    """Counts the runs that a learner is fitted to, and on which it is asked while parameters are chosen."""

    def __init__(self, seen: list[int]) -> None:
        self.seen = seen

    def fit(self, inputs: Sequence[object], targets: Sequence[object]) -> None:
        self.seen.append(len(inputs))

    def predict(self, inputs: Sequence[object]) -> list[tuple[float, float]]:
        return [(0.0, 0.0)] * len(inputs)


def test_hyper_parameters_are_chosen_on_the_training_runs_alone(data: Dataset) -> None:
    seen: list[int] = []
    learner = Learner(name="counting", grid=[{}, {}], make=lambda _: _Counting(seen))
    Direct(learner, with_trace=False).fit(data.training)
    runs = len(data.training.runs)
    folds = [runs - 3, runs - 3, runs - 2, runs - 2, runs - 2]
    assert seen == [*folds, *folds, runs]


# --- what is counted --------------------------------------------------------------------------------


def timed(run: Run, responses: Sequence[float]) -> Run:
    """The run with these response times."""
    jobs = [
        replace(job, start=job.arrival, end=Seconds(job.arrival + response))
        for job, response in zip(run.jobs, responses, strict=False)
    ]
    return replace(run, jobs=tuple(jobs))


def small(data: Dataset, *means: float, split: Split = Split.TEST) -> Dataset:
    """A dataset whose test runs have these mean response times, all jobs alike; settings s0, s1, ..."""
    base = data.scored[0]
    runs = [
        replace(
            timed(base, [mean] * 4),
            setting=replace(base.setting, run=f"r{i}", setting=f"s{i}", split=split),
        )
        for i, mean in enumerate(means)
    ]
    return replace(data, runs=(*data.training.runs, *runs))


def test_errors_are_absolute_and_relative_to_what_was_measured(data: Dataset) -> None:
    evaluation = evaluate(small(data, 1.0, 2.0, 4.0), [lambda: Fake(mean=2.0)])
    assert evaluation.errors("fake", "mean", View.RAW) == pytest.approx([1.0, 0.0, 0.5])
    assert evaluation.errors("fake", "p95", View.RAW) == pytest.approx([3.0, 1.0, 0.0])
    spread = Spread.of(evaluation.errors("fake", "mean", View.RAW))
    assert spread is not None
    assert (spread.median, spread.p90, spread.worst) == pytest.approx((0.5, 0.9, 1.0))


def test_the_noise_floor_is_the_median_over_ordered_pairs_of_runs_of_a_setting(data: Dataset) -> None:
    base = data.scored[0]
    runs = [
        replace(
            timed(base, [mean] * 3),
            setting=replace(base.setting, run=f"r{i}", setting=setting, repeat=repeat),
        )
        for i, (setting, repeat, mean) in enumerate(
            [("a", 0, 1.0), ("a", 1, 2.0), ("a", 2, 4.0), ("b", 0, 1.0), ("b", 1, 1.1), ("c", 0, 5.0)]
        )
    ]
    floors = noise_floors(replace(data, runs=tuple(runs)))
    # a: 1/2: 0.5, 2/1: 1, 1/4: 0.75, 4/1: 3, 2/4: 0.5, 4/2: 1; b: 0.1/1.1 and 0.1
    assert floors["a"]["mean"] == pytest.approx((0.75 + 1) / 2)
    assert floors["b"]["p95"] == pytest.approx((0.1 + 0.1 / 1.1) / 2)
    assert "c" not in floors


def test_repeats_count_for_the_noise_floor_alone(data: Dataset) -> None:
    evaluation = evaluate(data, [Fake])
    assert len(evaluation.scored) == 6
    assert evaluation.repeated == 6
    floor = evaluation.noise_floor["mean"]
    assert floor is not None
    assert 0 < floor.median <= floor.p90 <= floor.worst


@given(errors=st.lists(st.floats(0, 10), min_size=1, max_size=30))
@settings(max_examples=30, deadline=None)
def test_the_interval_of_a_median_holds_it(errors: list[float]) -> None:
    low, high = median_interval(errors)
    spread = Spread.of(errors)
    assert spread is not None
    assert min(errors) - 1e-9 <= low <= spread.median + 1e-9
    assert spread.median - 1e-9 <= high <= max(errors) + 1e-9
    assert (low, high) == median_interval(errors)


def test_coverage_counts_how_often_the_truth_was_inside(data: Dataset) -> None:
    scored = small(data, 1.0, 2.0, 3.0, 4.0).scored
    answers = [Prediction(mean=2.0, p95=3.0, intervals={0.5: (1.5, 2.5), 0.8: (0.5, 3.5)}) for _ in scored]
    assert coverage(answers, scored) == {0.5: 0.25, 0.8: 0.75}


# --- what is refused, and what is said --------------------------------------------------------------


@pytest.mark.parametrize(
    ("split", "words"), [(Split.TRAIN, "no run to fit to"), (Split.TEST, "no run to score")]
)
def test_without_train_or_test_runs_nothing_is_evaluated(data: Dataset, split: Split, words: str) -> None:
    rest = tuple(run for run in data.runs if run.setting.split is not split)
    with pytest.raises(Refused, match=words):
        evaluate(replace(data, runs=rest), [Fake])


def test_repeats_alone_are_not_enough(data: Dataset) -> None:
    rest = tuple(run for run in data.runs if run.setting.split is Split.TRAIN or run.setting.repeat > 0)
    with pytest.raises(Refused, match="12 are repeats"):
        evaluate(replace(data, runs=rest), [Fake])


def test_a_run_that_took_no_time_is_refused(data: Dataset) -> None:
    with pytest.raises(Refused, match="mean response time of 0"):
        evaluate(small(data, 0.0), [Fake])


@pytest.mark.parametrize("mean", [float("nan"), float("inf"), -1.0])
def test_a_predictor_without_an_answer_is_named(data: Dataset, mean: float) -> None:
    with pytest.raises(Refused, match="predictor fake has no answer for run"):
        evaluate(data, [lambda: Fake(mean=mean)])


def test_missing_kinds_and_a_single_training_run_are_said(data: Dataset) -> None:
    first = data.training.runs[0]
    only = replace(first, jobs=tuple(job for job in first.jobs if job.kind != "mlp"))
    rest = replace(data, runs=(only, *data.scored), profile=())
    evaluation = evaluate(rest, chosen(["marginal"]))
    text = "\n".join(evaluation.warnings)
    assert "only one training run" in text
    assert "no training job of kind mlp under mechanism q" in text
    assert "no setting was run twice" in text
    untrusted = as_json(evaluation)["details"]["untrusted"]
    assert any("mlp" in note for notes in untrusted.values() for note in notes["marginal"])
    assert "Not trusted" in as_text(evaluation)


def test_an_unknown_predictor_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(Refused, match=r"--predictor magic: choose .*marginal"):
        chosen(["marginal", "magic"])


# --- the answer -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def evaluation(data: Dataset) -> Evaluation:
    return evaluate(data, chosen(FAST))


def test_the_json_has_the_promised_shape(evaluation: Evaluation) -> None:
    answer = as_json(evaluation)
    assert set(answer) == {"predictors", "settings", "noise_floor", "details"}
    assert list(answer["predictors"]) == FAST
    marginal = answer["predictors"]["marginal"]
    assert set(marginal) == {"mean", "p95"}
    assert set(marginal["mean"]) == {"raw", "drift_normalised", "known_sizes"}
    assert set(marginal["p95"]["raw"]) == {"median", "p90", "worst"}
    assert set(answer["predictors"]["nearest-runs"]["mean"]) == {"raw"}
    assert set(answer["noise_floor"]["mean"]) == {"median", "p90", "worst"}
    assert len(answer["settings"]) == 6
    for setting in answer["settings"]:
        assert set(setting) == {"setting", "run", "measured", "predicted"}
        assert set(setting["measured"]) == {"mean", "p95"}
        assert set(setting["predicted"]) == set(FAST)


def test_the_errors_of_the_json_follow_from_its_settings(evaluation: Evaluation) -> None:
    answer = as_json(evaluation)
    for name, measures in answer["predictors"].items():
        for measure, views in measures.items():
            for view, spread in views.items():
                errors = [
                    abs(one["predicted"][name][measure][view] / one["measured"][measure] - 1)
                    for one in answer["settings"]
                ]
                assert spread["worst"] == pytest.approx(max(errors))
                assert spread["median"] == pytest.approx(sum(sorted(errors)[2:4]) / 2)


def test_without_repeats_the_noise_floor_is_null(tmp_path: Path) -> None:
    data = read_dataset(Synthetic(folder=tmp_path / "d", train=2, test=1).write()).dataset
    answer = as_json(evaluate(data, chosen(["marginal"])))
    assert answer["noise_floor"]["mean"] == {"median": None, "p90": None, "worst": None}


def test_the_table_and_the_rows_say_the_same(evaluation: Evaluation) -> None:
    text = as_text(evaluation)
    assert all(name in text for name in FAST)
    assert "noise floor" in text
    rows = list(as_rows(evaluation))
    assert len(rows) == 6 * 2 * (4 * 3 + 2)
    worst = max(row[-1] for row in rows if row[2:5] == ("marginal", "raw", "mean"))
    assert f"/ {100 * float(worst):.1f}" in text.replace("  ", " ")


def test_every_promised_predictor_is_there() -> None:
    assert {
        *("marginal", "nominal", "no-sprint", "direct-mlp", "direct-gb", "direct-forest", "formula"),
        *("grey-box", "grey-box-without-forest", "grey-box-per-setting", "grey-box-per-job"),
        *("direct-mlp-trace", "direct-gb-trace", "direct-forest-trace", "nearest-runs"),
    } <= set(entrants())


def test_the_grey_boxes_are_those_of_the_model() -> None:
    """Their names are written down here, too, so that listing them loads no numpy."""
    assert [name for name in entrants() if name.startswith("grey")] == list(GREY_BOXES)
    for name in GREY_BOXES:
        assert entrants()[name].make().name == name
        assert needs_many_simulations(["marginal", name])
    assert needs_many_simulations([])
    assert not needs_many_simulations(FAST)


def test_measures_of_responses() -> None:
    measures = Measures.of([3.0, 1.0, 2.0])
    assert (measures.mean, measures.p95) == pytest.approx((2.0, 2.9))
