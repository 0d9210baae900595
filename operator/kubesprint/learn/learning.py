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

EIGHTY_PERCENT = 1.2815515655446004
"""Standard deviations from the middle to the end of an 80 % interval."""


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


def learn(
    training: Dataset, wanted: Part | None = None, *, simulator: QueueSimulator = plain_simulator
) -> Learned:
    """Fit to training runs.

    Args:
        training: runs without repeats, at least one, and the profile.
        wanted: the part to use, whether it helps or not; None: the one that helps, if any.
        simulator: of queues.
    """
    candidates = tuple(Part) if wanted is None else (wanted,)
    tried = _cross_validate(training, candidates, simulator)
    part, reason = (wanted, "asked for") if wanted is not None else _choose(tried)
    white = fit_white_box(training)
    model, notes = _with_part(training, white, part, simulator)
    if part is not Part.NOTHING and model.setting is None and model.job is None:
        reason = f"{part.value}: {notes['dropped']}"
        part = Part.NOTHING
    errors = {one.value: float(np.mean(np.abs(logs))) for one, (logs, _) in tried.items() if len(logs)}
    logs, models = tried.get(part, (np.zeros(0), []))
    doubt = _doubt(training, logs, models)
    return Learned(model=replace(model, doubt=doubt), part=part, reason=reason, errors=errors, notes=notes)


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


_Tried = dict[Part, tuple[Floats, list[GreyModel]]]


def _cross_validate(training: Dataset, parts: Sequence[Part], simulator: QueueSimulator) -> _Tried:
    """Signed log errors of the mean response on unseen runs (sizes known), and the models that made them.

    Both are in the order of the runs; empty where there are too few runs.
    """
    if len(training.runs) < ENOUGH_RUNS:
        return {part: (np.zeros(0), []) for part in parts}
    logs: dict[Part, dict[str, float]] = {part: {} for part in parts}
    models: dict[Part, dict[str, GreyModel]] = {part: {} for part in parts}
    for fold in folds_of(training.runs):
        inner = training.without(fold)
        white = fit_white_box(inner)
        for part in parts:
            model, _ = _with_part(inner, white, part, simulator)
            for run in fold:
                predicted = model.predict(case_of(run, View.KNOWN_SIZES), intervals=False).mean
                logs[part][run.setting.run] = _log_error(predicted, run)
                models[part][run.setting.run] = model
    order = [run.setting.run for run in training.runs]
    return {
        part: (np.array([logs[part][run] for run in order]), [models[part][run] for run in order])
        for part in parts
    }


def folds_of(runs: Sequence[Run]) -> list[list[Run]]:
    """Whole runs, dealt out mechanism by mechanism so that every fold leaves some of each."""
    ordered = sorted(runs, key=lambda run: (run.setting.mechanism.name, run.setting.run))
    count = min(FOLDS, len(ordered))
    return [ordered[start::count] for start in range(count)]


def _log_error(predicted: float, run: Run) -> float:
    return math.log(max(predicted, 1e-9) / max(run.measured.mean, 1e-9))


def _choose(tried: _Tried) -> tuple[Part, str]:
    """The learned part that helps most on unseen runs, if it helps by more than chance would."""
    without = np.abs(tried[Part.NOTHING][0])
    if len(without) == 0:
        return Part.NOTHING, f"fewer than {ENOUGH_RUNS} training runs cannot say whether a forest helps"
    reasons, best, best_gain = [], Part.NOTHING, 0.0
    for part in (Part.SETTING, Part.JOB):
        gains = without - np.abs(tried[part][0])
        gain, error = float(gains.mean()), float(gains.std(ddof=1)) / math.sqrt(len(gains))
        helps = gain > error
        verdict = "helps" if helps else "does not help"
        reasons.append(
            f"{part.value} {verdict}: mean error {float(np.abs(tried[part][0]).mean()):.2%} against "
            f"{float(without.mean()):.2%} on unseen runs, difference {gain:.2%} ± {error:.2%}"
        )
        if helps and gain > best_gain:
            best, best_gain = part, gain
    return best, "; ".join(reasons)


def _doubt(training: Dataset, logs: Floats, models: Sequence[GreyModel]) -> Doubt:
    """How wide intervals must be to hold what was measured on unseen runs."""
    if len(logs) < ENOUGH_RUNS:
        return Doubt()
    spread = 1.4826 * float(np.median(np.abs(logs)))
    widening = {}
    for view in View:
        scores = []
        for run, model in zip(training.runs, models, strict=True):
            judged = replace(model, doubt=Doubt(model=spread))
            draws = np.log(np.maximum(judged.spread_of_mean(case_of(run, view)), 1e-12))
            low, middle, high = np.quantile(draws, [0.1, 0.5, 0.9])
            measured = math.log(max(run.measured.mean, 1e-9))
            half = (high - middle) if measured > middle else (middle - low)
            scores.append(abs(measured - middle) / max(1e-6, float(half)))
        needed = float(np.quantile(scores, 0.8))
        widening[view] = min(WIDENINGS[1], max(WIDENINGS[0], needed))
    return Doubt(model=spread, widening=MappingProxyType(widening))
