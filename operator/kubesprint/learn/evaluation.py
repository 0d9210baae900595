"""Fits predictors to the train runs of a dataset and scores them on its test runs.

Errors are |predicted - measured| / measured, one a test run. Repeats are neither fitted nor scored:
they give the noise floor, how far apart the same setting lands when it is run again.
"""

import math
import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

from kubesprint.core.dataset import Dataset, Measures, Run, Split
from kubesprint.core.errors import Refused
from kubesprint.core.queueing import quantile
from kubesprint.learn.predictor import Prediction, Predictor, View, case_of

MEASURES = ("mean", "p95")

RESAMPLES = 2000
SEED = 20180423


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How errors are distributed, as fractions."""

    median: float
    p90: float
    worst: float

    @classmethod
    def of(cls, errors: Sequence[float]) -> "Spread | None":
        """The spread of errors; None if there are none."""
        if not errors:
            return None
        ordered = sorted(errors)
        return cls(median=quantile(ordered, 0.5), p90=quantile(ordered, 0.9), worst=ordered[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One predictor's answers, by view: one a scored run, in their order."""

    answers: Mapping[View, Sequence[Prediction]]
    card: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What came of it."""

    training: int  # runs fitted to
    scored: Sequence[Run]
    entries: Mapping[str, Entry]  # by predictor
    noise_floor: Mapping[str, Spread | None]  # by measure; None: no setting was run twice
    repeated: int  # settings that were run more than once
    warnings: Sequence[str]

    def errors(self, name: str, measure: str, view: View) -> list[float]:
        """The errors of a predictor on the scored runs, in their order."""
        answers = self.entries[name].answers[view]
        return [
            error_of(value(answer, measure), value(run.measured, measure))
            for answer, run in zip(answers, self.scored, strict=True)
        ]


def value(measures: Measures | Prediction, measure: str) -> float:
    """The mean or the p95."""
    return measures.mean if measure == "mean" else measures.p95


def error_of(predicted: float, measured: float) -> float:
    """Absolute relative error."""
    return abs(predicted - measured) / measured


def evaluate(
    dataset: Dataset,
    predictors: Sequence[Callable[[], Predictor]],
    progress: Callable[[str], None] = lambda _: None,
) -> Evaluation:
    """Fit every predictor to the training runs and let it answer every view of every scored run.

    Args:
        dataset: with train and test runs.
        predictors: makers of unfitted predictors.
        progress: told what is being done.

    Raises:
        Refused: nothing to fit to, nothing to score, or a measured response time of 0.
    """
    training, scored = dataset.training, dataset.scored
    _check(dataset)
    entries: dict[str, Entry] = {}
    for number, make in enumerate(predictors, start=1):
        predictor = make()
        progress(f"[{number}/{len(predictors)}] {predictor.name}: fitting to {len(training.runs)} runs")
        predictor.fit(training)
        answers = {
            view: [_answer(predictor, run, view) for run in scored]
            for view in View
            if view in predictor.views
        }
        entries[predictor.name] = Entry(answers=answers, card=predictor.card)
    floors = noise_floors(dataset)
    return Evaluation(
        training=len(training.runs),
        scored=scored,
        entries=entries,
        noise_floor={
            measure: Spread.of([floor[measure] for floor in floors.values()]) for measure in MEASURES
        },
        repeated=len(floors),
        warnings=_warnings(training, scored, floors),
    )


def _check(dataset: Dataset) -> None:
    for split, runs in ((Split.TRAIN, dataset.training.runs), (Split.TEST, dataset.scored)):
        if not runs:
            repeats = sum(1 for run in dataset.runs if run.setting.split is split)
            more = f" ({repeats} are repeats, which count as neither)" if repeats else ""
            need = "fit to" if split is Split.TRAIN else "score"
            raise Refused(
                f"settings.jsonl: split: no run to {need}{more}; "
                f'write "split": "{split.value}" with "repeat": 0 for at least one run'
            )
    for run in dataset.scored:
        if run.measured.mean <= 0:
            raise Refused(
                f"jobs.csv: run {run.setting.run!r} has a mean response time of 0, "
                "so no relative error exists; leave it out"
            )


def _answer(predictor: Predictor, run: Run, view: View) -> Prediction:
    answer = predictor.predict(case_of(run, view))
    for measure in MEASURES:
        if not (math.isfinite(value(answer, measure)) and value(answer, measure) >= 0):
            raise Refused(
                f"predictor {predictor.name} has no answer for run {run.setting.run!r}: "
                f"its {measure} came out as {value(answer, measure)}"
            )
    return answer


def noise_floors(dataset: Dataset) -> dict[str, dict[str, float]]:
    """For each setting that ran more than once: the median over ordered pairs of |m_i - m_j| / m_j."""
    by_setting: defaultdict[str, list[Measures]] = defaultdict(list)
    for run in dataset.runs:
        by_setting[run.setting.setting].append(run.measured)
    return {
        setting: {measure: _floor([value(one, measure) for one in runs]) for measure in MEASURES}
        for setting, runs in by_setting.items()
        if len(runs) > 1 and all(one.mean > 0 for one in runs)
    }


def _floor(measured: Sequence[float]) -> float:
    return quantile(sorted(error_of(one, other) for one, other in permutations(measured, 2)), 0.5)


def _warnings(
    training: Dataset, scored: Sequence[Run], floors: Mapping[str, Mapping[str, float]]
) -> list[str]:
    """What a reader of the figures has to know."""
    warnings = []
    seen = {(run.setting.mechanism.name, job.kind) for run in training.runs for job in run.jobs}
    seen |= {(row.mechanism, row.kind) for row in training.profile}
    for run in scored:
        name = run.setting.mechanism.name
        missing = sorted({job.kind for job in run.jobs if (name, job.kind) not in seen})
        if missing:
            warnings.append(
                f"run {run.setting.run!r}: no training job of kind {', '.join(missing)} under mechanism "
                f"{name}: predicted from what else is known of the mechanism, not trusted"
            )
    if len(training.runs) == 1:
        warnings.append("only one training run: nothing that learns from settings can tell them apart")
    if len(scored) < 8:
        warnings.append(f"only {len(scored)} scored runs: the 90th percentile and the worst say little")
    if not floors:
        warnings.append("no setting was run twice, so the noise floor is not known")
    return warnings


def median_interval(errors: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Where the median error lies, by bootstrap over the runs; the dice are fixed."""
    dice = random.Random(SEED)
    medians = sorted(quantile(sorted(dice.choices(errors, k=len(errors))), 0.5) for _ in range(RESAMPLES))
    return quantile(medians, (1 - level) / 2), quantile(medians, (1 + level) / 2)


def coverage(answers: Sequence[Prediction], scored: Sequence[Run]) -> dict[float, float]:
    """How often the measured mean lay in the interval that was claimed for a probability."""
    levels = sorted({level for answer in answers for level in answer.intervals})
    found: dict[float, float] = {}
    for level in levels:
        hits = [
            answer.intervals[level][0] <= run.measured.mean <= answer.intervals[level][1]
            for answer, run in zip(answers, scored, strict=True)
            if level in answer.intervals
        ]
        found[level] = sum(hits) / len(hits)
    return found
