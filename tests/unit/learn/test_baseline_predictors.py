"""Predictors beside the grey box: exact where the truth is theirs, honest where it is not."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kubesprint.adapters.files.dataset_reader import read_dataset
from kubesprint.core.dataset import AloneAt, Dataset, JobRow, Knob, Mechanism, ProfileRun, Run, Setting, Split
from kubesprint.core.units import Cores, CoreSeconds, Seconds
from kubesprint.learn.baselines import Belief, Simulated
from kubesprint.learn.baselines_direct import BOOSTING, FOREST, MLP, NEIGHBOURS, Direct, Learner, folds_of
from kubesprint.learn.baselines_features import FeatureMaker
from kubesprint.learn.baselines_formula import Formula
from kubesprint.learn.baselines_rates import nominal_speedup, read_rates
from kubesprint.learn.evaluation import error_of
from kubesprint.learn.evaluation_entrants import entrants
from kubesprint.learn.predictor import Predictor, View, case_of
from synthetic_dataset import KINDS, Synthetic


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """No noise, no drift: the white box is the truth."""
    return read_dataset(Synthetic(folder=tmp_path_factory.mktemp("clean")).write()).dataset


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Sizes and the machine vary."""
    made = Synthetic(folder=tmp_path_factory.mktemp("noisy"), size_noise=0.15, drift=0.1)
    return read_dataset(made.write()).dataset


def fitted(predictor: Predictor, dataset: Dataset) -> Predictor:
    predictor.fit(dataset.training)
    return predictor


def errors(predictor: Predictor, dataset: Dataset, view: View) -> list[float]:
    return [error_of(predictor.predict(case_of(run, view)).mean, run.measured.mean) for run in dataset.scored]


# --- rates ------------------------------------------------------------------------------------------


def test_rates_are_the_truth_that_made_the_data(clean: Dataset) -> None:
    table = read_rates(clean.training, refreshed=True)
    for (mechanism, kind), rates in table.known.items():
        truth = KINDS[mechanism][kind]
        assert rates.work == pytest.approx(truth.work)
        assert rates.speedup == pytest.approx(truth.speedup)
        assert rates.inflation == pytest.approx(truth.inflation)
        assert rates.base_rate == pytest.approx(clean.mechanisms[mechanism].base_cores)
        assert not rates.guessed


def test_without_a_profile_rates_are_read_from_the_jobs(clean: Dataset) -> None:
    table = read_rates(replace(clean.training, profile=()), refreshed=False)
    for (mechanism, kind), rates in table.known.items():
        truth = KINDS[mechanism][kind]
        assert rates.base_rate == pytest.approx(clean.mechanisms[mechanism].base_cores)
        assert rates.speedup == pytest.approx(truth.speedup, rel=0.05)
        assert rates.work == pytest.approx(truth.work, rel=0.05)


def test_sprint_cpu_that_nobody_recorded_is_inferred(clean: Dataset) -> None:
    training = replace(
        clean.training,
        profile=(),
        runs=tuple(
            replace(
                run,
                jobs=tuple(replace(job, sprint_cpu=None) if job.sprint > 0 else job for job in run.jobs),
            )
            for run in clean.training.runs
        ),
    )
    for (mechanism, kind), rates in read_rates(training, refreshed=False).known.items():
        assert rates.speedup == pytest.approx(KINDS[mechanism][kind].speedup, rel=0.1)


MECHANISM = Mechanism(name="m", knob=Knob.QUOTA, threads=1, base_cores=Cores(0.4), sprint_cores=Cores(2.0))


def tiny(*jobs: JobRow, profile: tuple[ProfileRun, ...] = ()) -> Dataset:
    setting = Setting(run="r", setting="s", split=Split.TRAIN, mechanism=MECHANISM)
    return Dataset(runs=(Run(setting=setting, jobs=jobs),), profile=profile)


def job(kind: str, cpu: float, wall: float, arrival: float = 0.0) -> JobRow:
    return JobRow(
        kind=kind,
        arrival=Seconds(arrival),
        start=Seconds(arrival),
        end=Seconds(arrival + wall),
        cpu=CoreSeconds(cpu),
    )


def test_threads_limit_the_nominal_ratio() -> None:
    assert nominal_speedup(MECHANISM) == pytest.approx(1.0 / 0.4)
    assert nominal_speedup(replace(MECHANISM, threads=2)) == pytest.approx(2.0 / 0.4)


def test_a_sprint_that_nobody_saw_is_nominal_and_said_to_be() -> None:
    rates = read_rates(tiny(job("x", 2.0, 5.0)), refreshed=False).known["m", "x"]
    assert (rates.work, rates.base_rate, rates.speedup) == pytest.approx((2.0, 0.4, 2.5))
    assert "no sprint was measured" in rates.doubt(sprints=True)
    assert not rates.doubt(sprints=False)


def test_an_unknown_kind_is_what_its_mechanism_suggests_and_not_trusted() -> None:
    table = read_rates(tiny(job("x", 2.0, 5.0), job("y", 4.0, 10.0)), refreshed=False)
    rates = table.of(MECHANISM, "new")
    assert (rates.work, rates.base_rate) == pytest.approx((3.0, 0.4))
    assert "'new'" in rates.guessed


def test_an_unknown_mechanism_is_nominal_with_the_work_of_the_kind_elsewhere() -> None:
    other = replace(MECHANISM, name="other", base_cores=Cores(1.0), threads=2)
    rates = read_rates(tiny(job("x", 2.0, 5.0)), refreshed=False).of(other, "x")
    assert (rates.work, rates.base_rate, rates.speedup) == pytest.approx((2.0, 1.0, 2.0))
    assert "'other'" in rates.guessed


def test_refreshing_averages_the_work_over_training_jobs() -> None:
    profile = (
        ProfileRun(
            mechanism="m", kind="x", allocation=AloneAt.BASE, wall=Seconds(10.0), cpu=CoreSeconds(4.0)
        ),
    )
    data = tiny(job("x", 2.0, 5.0), profile=profile)
    assert read_rates(data, refreshed=False).known["m", "x"].work == pytest.approx(4.0)
    assert read_rates(data, refreshed=True).known["m", "x"].work == pytest.approx(3.0)


# --- simulated --------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", list(View))
def test_without_noise_the_marginal_rate_is_exact_in_every_view(clean: Dataset, view: View) -> None:
    assert max(errors(fitted(Simulated("m", Belief.MEASURED), clean), clean, view)) < 1e-5


def test_with_known_sizes_noise_and_drift_are_gone(noisy: Dataset) -> None:
    """The profile is noisy, so speeds are nearly but not quite the truth."""
    predictor = fitted(Simulated("m", Belief.MEASURED), noisy)
    known = errors(predictor, noisy, View.KNOWN_SIZES)
    raw = errors(predictor, noisy, View.RAW)
    assert sorted(known)[len(known) // 2] < 0.02
    assert sorted(raw)[len(raw) // 2] > 0.03


def test_one_factor_takes_out_the_drift_of_a_run(tmp_path: Path) -> None:
    data = read_dataset(Synthetic(folder=tmp_path / "drift", drift=0.15).write()).dataset
    predictor = fitted(Simulated("m", Belief.MEASURED), data)
    assert max(errors(predictor, data, View.DRIFT_NORMALISED)) < 1e-4
    assert max(errors(predictor, data, View.RAW)) > 0.05


@pytest.mark.parametrize("belief", [Belief.NOMINAL, Belief.NOTHING])
def test_a_wrong_belief_about_sprints_costs_accuracy(clean: Dataset, belief: Belief) -> None:
    assert max(errors(fitted(Simulated("m", belief), clean), clean, View.RAW)) > 0.1


def test_where_nothing_sprints_all_beliefs_agree(tmp_path: Path) -> None:
    data = read_dataset(Synthetic(folder=tmp_path / "never", never=True).write()).dataset
    for belief in Belief:
        assert max(errors(fitted(Simulated("m", belief), data), data, View.RAW)) < 1e-9


def test_a_sprint_that_nobody_saw_is_no_doubt_where_nothing_sprints(clean: Dataset, tmp_path: Path) -> None:
    never = Synthetic(folder=tmp_path / "never", never=True, profile_runs=0).write()
    data = read_dataset(never).dataset
    predictor = fitted(Simulated("m", Belief.MEASURED), data)
    assert predictor.predict(case_of(data.scored[0], View.RAW)).trusted
    assert not predictor.predict(case_of(clean.scored[0], View.RAW)).trusted


def test_a_kind_that_training_does_not_have_is_predicted_but_not_trusted(clean: Dataset) -> None:
    training = replace(
        clean.training,
        profile=tuple(row for row in clean.profile if row.kind != "mlp"),
        runs=tuple(
            replace(run, jobs=tuple(job for job in run.jobs if job.kind != "mlp"))
            for run in clean.training.runs
        ),
    )
    for name in ("marginal", "nominal", "no-sprint", "formula", "nearest-runs"):
        predictor = entrants()[name].make()
        predictor.fit(training)
        answer = predictor.predict(case_of(clean.scored[0], View.RAW))
        assert math.isfinite(answer.mean), predictor.name
        assert not answer.trusted, predictor.name
        assert any("mlp" in note for note in answer.notes), predictor.name


# --- formula ----------------------------------------------------------------------------------------


def test_the_formula_is_that_of_an_m_g_1_queue_when_nothing_sprints() -> None:
    """Kingman is exact for Poisson arrivals: here the variation of the gaps is set to 1 by construction."""
    gaps = [-math.log(1 - (index + 0.5) / 400) for index in range(400)]
    arrivals = [4.0 * sum(gaps[: index + 1]) for index in range(400)]
    jobs = tuple(job("x", 0.8, 2.0, arrival) for arrival in arrivals)
    data = tiny(*jobs)
    predictor = Formula()
    predictor.fit(data)
    answer = predictor.predict(case_of(data.runs[0], View.RAW))
    load, service = 0.5, 2.0
    assert answer.mean == pytest.approx(service + load / (1 - load) * service / 2, rel=0.03)


def test_the_formula_answers_above_saturation() -> None:
    data = tiny(*(job("x", 0.8, 2.0, 0.5 * index) for index in range(50)))
    predictor = Formula()
    predictor.fit(data)
    assert math.isfinite(predictor.predict(case_of(data.runs[0], View.RAW)).p95)


# --- direct -----------------------------------------------------------------------------------------

SMALL = [
    replace(MLP, grid=MLP.grid[:1], final={}),
    replace(BOOSTING, grid=[{**point, "n_estimators": 15} for point in BOOSTING.grid[:2]]),
    replace(FOREST, grid=[{**FOREST.grid[0], "n_estimators": 15}], final={}),
    NEIGHBOURS,
]


@pytest.mark.parametrize("learner", SMALL, ids=lambda learner: learner.name)
@pytest.mark.parametrize("with_trace", [False, True])
def test_direct_learners_answer_raw_only_and_the_same_every_time(
    noisy: Dataset, learner: Learner, with_trace: bool
) -> None:
    answers = []
    for _ in range(2):
        predictor = Direct(learner, with_trace=with_trace)
        predictor.fit(replace(noisy.training, runs=noisy.training.runs[3:9]))
        answers.append([predictor.predict(case_of(run, View.RAW)).mean for run in noisy.scored])
    assert answers[0] == answers[1]
    assert len(set(answers[0])) > 1
    assert Direct(learner, with_trace=with_trace).views == {View.RAW}


@pytest.mark.parametrize("learner", SMALL, ids=lambda learner: learner.name)
@pytest.mark.parametrize("count", [1, 2, 4])
def test_direct_learners_take_what_training_there_is(noisy: Dataset, learner: Learner, count: int) -> None:
    few = replace(noisy.training, runs=noisy.training.runs[:count])
    predictor = Direct(learner, with_trace=True)
    predictor.fit(few)
    answer = predictor.predict(case_of(noisy.scored[0], View.RAW))
    assert answer.mean > 0
    if count == 1:
        (run,) = few.runs
        assert predictor.predict(case_of(run, View.RAW)).mean == pytest.approx(run.measured.mean, rel=0.02)
    assert (predictor.card["log_error"] is None) == (count < 4)


def test_direct_learners_say_which_kind_or_mechanism_they_do_not_know(clean: Dataset) -> None:
    predictor = Direct(NEIGHBOURS, with_trace=False)
    predictor.fit(replace(clean.training, runs=clean.training.runs[:6]))
    case = case_of(clean.scored[-1], View.RAW)
    answer = predictor.predict(replace(case, kinds=("new", *case.kinds[1:])))
    assert not answer.trusted
    assert any("new" in note for note in answer.notes)
    assert any("mechanism 'c'" in note for note in answer.notes)


def test_an_answer_stays_within_reach_of_the_training(clean: Dataset) -> None:
    """A network extrapolates linearly, and its target is a logarithm: without a limit it can overflow."""
    predictor = Direct(SMALL[0], with_trace=False)
    predictor.fit(clean.training)
    case = case_of(clean.scored[0], View.RAW)
    dense = replace(case, arrivals=tuple(Seconds(arrival * 1e-9) for arrival in case.arrivals))
    assert math.isfinite(predictor.predict(dense).mean)


def test_folds_hold_every_run_once_and_keep_settings_together(noisy: Dataset) -> None:
    runs = noisy.training.runs
    twins = [
        *runs,
        *(replace(run, setting=replace(run.setting, run=f"{run.setting.run}x")) for run in runs[:3]),
    ]
    folds = folds_of(twins)
    assert sorted(run.setting.run for fold in folds for run in fold) == sorted(
        run.setting.run for run in twins
    )
    for setting in {run.setting.setting for run in twins}:
        assert sum(any(run.setting.setting == setting for run in fold) for fold in folds) == 1


@pytest.mark.parametrize("with_trace", [False, True])
def test_features_are_finite_for_the_oddest_runs(noisy: Dataset, with_trace: bool) -> None:
    maker = FeatureMaker.fitted(noisy.training, with_trace=with_trace)
    case = case_of(noisy.scored[0], View.RAW)
    odd = [
        replace(case, arrivals=case.arrivals[:1], kinds=case.kinds[:1]),
        replace(case, arrivals=(Seconds(3.0),) * len(case.arrivals)),
        replace(case, kinds=("new",) * len(case.kinds)),
        replace(case, rules=replace(case.rules, timeout=Seconds(math.inf), capacity=Seconds(math.inf))),
    ]
    lengths = set()
    for one in odd:
        row = maker.row(one)
        assert all(math.isfinite(number) for number in row.features)
        lengths.add(len(row.features))
    assert len(lengths) == 1


MAKERS: dict[str, Callable[[], Predictor]] = {
    "marginal": lambda: Simulated("m", Belief.MEASURED),
    "formula": Formula,
    "nearest": lambda: Direct(NEIGHBOURS, with_trace=True),
}


@pytest.mark.parametrize("name", MAKERS)
def test_the_oddest_runs_get_a_finite_answer(noisy: Dataset, name: str) -> None:
    predictor = fitted(MAKERS[name](), noisy)
    case = case_of(noisy.scored[0], View.RAW)
    for odd in (
        replace(case, arrivals=case.arrivals[:1], kinds=case.kinds[:1]),
        replace(case, arrivals=(Seconds(0.0),) * len(case.arrivals)),
        replace(case, rules=replace(case.rules, capacity=Seconds(math.inf), timeout=Seconds(0.0))),
        replace(case, rules=replace(case.rules, capacity=Seconds(0.0))),
    ):
        answer = predictor.predict(odd)
        assert 0 < answer.mean <= answer.p95 * 1.001 or name == "nearest"
        assert math.isfinite(answer.p95)


@pytest.mark.parametrize("name", MAKERS)
def test_a_predictor_that_was_not_fitted_says_so(noisy: Dataset, name: str) -> None:
    with pytest.raises(ValueError, match="not fitted"):
        MAKERS[name]().predict(case_of(noisy.scored[0], View.RAW))
