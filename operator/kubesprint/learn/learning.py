"""Fits the grey box: the white box, the learned parts, and whether these are worth using.

Needs scikit-learn where a forest is grown. What is decided here is decided on training runs only, by
cross-validation that leaves whole runs out.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType
from typing import Any

import numpy as np

from kubesprint.core.dataset import Dataset, Run
from kubesprint.core.simulation import QueueSimulator
from kubesprint.learn.course import Bench, plain_simulator
from kubesprint.learn.observations import Floats
from kubesprint.learn.predictor import View, case_of
from kubesprint.learn.residual import (
    JOB_FEATURES,
    SETTING_FEATURES,
    Codes,
    JobResidual,
    SettingResidual,
    job_rows,
    setting_rows,
)
from kubesprint.learn.serving import Doubt, GreyModel
from kubesprint.learn.whitebox import WhiteBox, fit_white_box

FOLDS = 7
ENOUGH_RUNS = 6
"""Fewer training runs than this say nothing of whether a forest helps."""

ENOUGH_ROOTS = 5
ENOUGH_SPRINTS = 30

SETTING_LEAF = 3
JOB_LEAF = 5
TREES = 100

WIDENINGS = (1.0, 3.0)
"""By how much intervals are widened for what the model was off by on unseen runs, at least and at most."""

WORTH = 0.1
"""A forest has to take away this share of the error on unseen runs: every part needs its keep."""

DOUBT_DRAWS = 60
NORMAL = 1.4826
"""Standard deviation over median absolute value, of a normal distribution."""


class Part(Enum):
    """What is learned beyond the white box."""

    NOTHING = "nothing"
    SETTING = "per setting"
    JOB = "per job"


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """A fitted model, and how it came about."""

    model: GreyModel
    part: Part
    reason: str  # why this part and no other
    errors: Mapping[str, float]  # mean |log error| of the mean response on unseen runs, by part
    notes: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


class Study:
    """One training set, and what was already found out about it; several models may ask."""

    def __init__(self, training: Dataset, simulator: QueueSimulator = plain_simulator) -> None:
        self.training = training
        self._simulator = simulator
        self._white = fit_white_box(training)
        self._folds = _folds(training)
        self._tried: dict[Part, _Tried] = {}

    def learn(self, wanted: Part | None = None) -> Learned:
        """A fitted model with one learned part, whether it helps or not; None: the one that helps, if any."""
        if wanted is None:
            part, reason = _choose({part: self._try(part) for part in Part})
        else:
            part, reason = wanted, "asked for"
        model, notes = _with_part(self.training, self._white, part, self._simulator)
        if part is not Part.NOTHING and model.setting is None and model.job is None:
            part, reason = Part.NOTHING, f"{part.value}: {notes['dropped']}"
        tried = self._try(part)
        return Learned(
            model=replace(model, doubt=_doubt(tried)),
            part=part,
            reason=reason,
            errors={
                one.value: float(np.mean(np.abs(found.logs)))
                for one, found in self._tried.items()
                if len(found.logs)
            },
            notes=notes,
        )

    def _try(self, part: Part) -> "_Tried":
        if part not in self._tried:
            self._tried[part] = _try(self._folds, part, self._simulator)
        return self._tried[part]


def learn(
    training: Dataset, wanted: Part | None = None, *, simulator: QueueSimulator = plain_simulator
) -> Learned:
    """Fit to training runs: at least one, without repeats, and the profile. See `Study.learn`."""
    return Study(training, simulator).learn(wanted)


def _with_part(
    training: Dataset, white: WhiteBox, part: Part, simulator: QueueSimulator
) -> tuple[GreyModel, dict[str, Any]]:
    """The model with one learned part; without it, and a note why, if there is too little to learn from."""
    model = GreyModel(white=white, simulator=simulator)
    if part is Part.SETTING:
        setting, notes = fit_setting(training, white, simulator)
        return replace(model, setting=setting), notes
    if part is Part.JOB:
        job, notes = fit_job(training, white)
        return replace(model, job=job), notes
    return model, {}


def fit_setting(
    training: Dataset, white: WhiteBox, simulator: QueueSimulator
) -> tuple[SettingResidual | None, dict[str, Any]]:
    """The effective rate by setting, from the roots of the recorded runs."""
    codes = Codes.of(white)
    roots, rows, targets, weights = setting_rows(training, white, Bench(simulator=simulator), codes)
    notes: dict[str, Any] = {
        "runs_with_root": len(targets),
        "runs_without_root": sum(root.factor is None and not root.idle for root in roots),
        "runs_that_did_not_depend_on_it": len(roots) - len(targets)
        - sum(root.factor is None and not root.idle for root in roots),
    }  # fmt: skip
    if len(targets) < ENOUGH_ROOTS:
        return None, notes | {"dropped": f"{len(targets)} runs with a root, {ENOUGH_ROOTS} are needed"}
    from kubesprint.learn.regressor import grow  # scikit-learn is loaded when something is fitted

    forest = grow(rows, targets, weights, SETTING_FEATURES, trees=TREES, leaf=SETTING_LEAF)
    notes["effective_over_marginal"] = {
        "lowest": float(targets.min()),
        "median": float(np.median(targets)),
        "highest": float(targets.max()),
    }
    residual = SettingResidual(
        forest=forest,
        codes=codes,
        roots=len(targets),
        dropped=notes["runs_without_root"],
        idle=notes["runs_that_did_not_depend_on_it"],
    )
    return residual, notes


def fit_job(training: Dataset, white: WhiteBox) -> tuple[JobResidual | None, dict[str, Any]]:
    """The speed of sprints by the progress of jobs, from every finished job that sprinted."""
    codes = Codes.of(white)
    rows, targets, weights = job_rows(training, white, codes)
    notes: dict[str, Any] = {"sprints": len(targets)}
    if len(targets) < ENOUGH_SPRINTS:
        return None, notes | {"dropped": f"{len(targets)} measured sprints, {ENOUGH_SPRINTS} are needed"}
    from kubesprint.learn.regressor import grow  # scikit-learn is loaded when something is fitted

    forest = grow(rows, targets, weights, JOB_FEATURES, trees=TREES, leaf=JOB_LEAF)
    return JobResidual(forest=forest, codes=codes, jobs=len(targets)), notes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Fold:
    """Runs that were left out, what was left, and the white box fitted to that."""

    outer: Sequence[Run]
    inner: Dataset
    white: WhiteBox


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Tried:
    """How one part did on unseen runs, and the models that did it; empty where there are too few runs."""

    logs: Floats  # signed log errors of the mean response, sizes known
    runs: Sequence[Run]
    models: Sequence[GreyModel]


def _folds(training: Dataset) -> list[_Fold]:
    if len(training.runs) < ENOUGH_RUNS:
        return []
    folds = []
    for outer in folds_of(training.runs):
        inner = training.without(outer)
        folds.append(_Fold(outer=outer, inner=inner, white=fit_white_box(inner)))
    return folds


def _try(folds: Sequence[_Fold], part: Part, simulator: QueueSimulator) -> _Tried:
    logs: list[float] = []
    runs: list[Run] = []
    models: list[GreyModel] = []
    for fold in folds:
        model, _ = _with_part(fold.inner, fold.white, part, simulator)
        for run in fold.outer:
            predicted = model.predict(case_of(run, View.KNOWN_SIZES), intervals=False).mean
            logs.append(_log_error(predicted, run))
            runs.append(run)
            models.append(model)
    return _Tried(logs=np.array(logs), runs=runs, models=models)


def folds_of(runs: Sequence[Run]) -> list[list[Run]]:
    """Whole runs, dealt out mechanism by mechanism so that every fold leaves some of each."""
    ordered = sorted(runs, key=lambda run: (run.setting.mechanism.name, run.setting.run))
    count = min(FOLDS, len(ordered))
    return [ordered[start::count] for start in range(count)]


def _log_error(predicted: float, run: Run) -> float:
    return math.log(max(predicted, 1e-9) / max(run.measured.mean, 1e-9))


def _choose(tried: Mapping[Part, _Tried]) -> tuple[Part, str]:
    """The part that helps most on unseen runs, if by more than chance would and enough to be worth it."""
    without = np.abs(tried[Part.NOTHING].logs)
    if len(without) == 0:
        return Part.NOTHING, f"fewer than {ENOUGH_RUNS} training runs cannot say whether a forest helps"
    reasons, best, best_gain = [], Part.NOTHING, 0.0
    for part in (Part.SETTING, Part.JOB):
        errors = np.abs(tried[part].logs)
        gains = without - errors
        gain, doubt = float(gains.mean()), float(gains.std(ddof=1)) / math.sqrt(len(gains))
        helps = gain > doubt and gain > WORTH * float(without.mean())
        reasons.append(
            f"{part.value} {'helps' if helps else 'does not help'}: "
            f"mean error {float(errors.mean()):.2%} against {float(without.mean()):.2%} on unseen runs, "
            f"difference {gain:.2%} ± {doubt:.2%}"
        )
        if helps and gain > best_gain:
            best, best_gain = part, gain
    return best, "; ".join(reasons)


def _doubt(tried: _Tried) -> Doubt:
    """How wide intervals must be to hold what was measured on unseen runs."""
    if len(tried.logs) == 0:
        return Doubt()
    spread = NORMAL * float(np.median(np.abs(tried.logs)))
    widening = {}
    for view in View:
        scores = [
            _score(replace(model, doubt=Doubt(model=spread)), run, view)
            for run, model in zip(tried.runs, tried.models, strict=True)
        ]
        needed = float(np.quantile(scores, 0.8))
        widening[view] = min(WIDENINGS[1], max(WIDENINGS[0], needed))
    return Doubt(model=spread, widening=MappingProxyType(widening))


def _score(model: GreyModel, run: Run, view: View) -> float:
    """How far the measured mean is from the middle, in halves of the 80 % interval."""
    draws = np.log(np.maximum(model.spread_of_mean(case_of(run, view), DOUBT_DRAWS), 1e-12))
    low, middle, high = np.quantile(draws, [0.1, 0.5, 0.9])
    measured = math.log(max(run.measured.mean, 1e-9))
    half = high - middle if measured > middle else middle - low
    return abs(measured - float(middle)) / max(1e-6, float(half))
