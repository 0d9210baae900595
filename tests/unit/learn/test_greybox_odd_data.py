"""Data that is odd but not wrong: an answer with its doubts, never a traceback, never a silent number."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest

from greybox_bed import Q2, T40, Nature, bed
from kubesprint.core.dataset import Dataset, JobRow, Run
from kubesprint.core.simulation import TriggerClock
from kubesprint.core.units import FOREVER
from kubesprint.learn.greybox import GreyBox
from kubesprint.learn.learning import Part
from kubesprint.learn.predictor import View, case_of

FEW = ["kind0", "kind5"]


@cache
def usual() -> Dataset:
    return bed(Nature(serial_tail=0.0), train=7, test=2, kinds=FEW, seed=21, mechanisms=(T40,), duration=25.0)


def every_job(dataset: Dataset, change: Callable[[JobRow], JobRow]) -> Dataset:
    return replace(
        dataset,
        runs=tuple(replace(run, jobs=tuple(change(job) for job in run.jobs)) for run in dataset.runs),
    )


def every_setting(dataset: Dataset, **changes: object) -> Dataset:
    return replace(
        dataset, runs=tuple(replace(run, setting=replace(run.setting, **changes)) for run in dataset.runs)
    )


def never(dataset: Dataset) -> Dataset:
    """Nothing ever sprinted, and nobody measured a sprint."""
    quiet = every_job(dataset, lambda job: replace(job, sprint=0.0, sprint_start=None, sprint_cpu=0.0))
    return replace(every_setting(quiet, timeout=FOREVER, capacity=0.0), profile=())


ODD: dict[str, Callable[[Dataset], Dataset]] = {
    "no profile": lambda d: replace(d, profile=()),
    "never sprinted": never,
    "sprint CPU time not recorded": lambda d: every_job(d, lambda j: replace(j, sprint_cpu=None)),
    "sprint start not recorded": lambda d: every_job(d, lambda j: replace(j, sprint_start=None)),
    "one training run": lambda d: replace(d, runs=(d.training.runs[0], *d.scored)),
    "one job a run": lambda d: replace(d, runs=tuple(replace(r, jobs=r.jobs[:1]) for r in d.runs)),
    "one kind": lambda d: every_job(d, lambda j: replace(j, kind="only")),
    "all arrive at once": lambda d: every_job(d, lambda j: replace(j, arrival=0.0)),
    "no time at all in a job": lambda d: every_job(
        d, lambda j: replace(j, start=j.end, sprint=0.0, sprint_cpu=0.0) if j.kind == "kind0" else j
    ),
    "from the start": lambda d: every_setting(d, clock=TriggerClock.START),
    "two servers": lambda d: every_setting(d, servers=2),
    "profile at base alone": lambda d: replace(
        d, profile=tuple(row for row in d.profile if row.allocation.value == "base")
    ),
    "identical sizes": lambda d: every_job(
        d, lambda j: replace(j, cpu=1.0, sprint_cpu=min(j.sprint_cpu or 0, 1))
    ),
}


@pytest.mark.parametrize("part", [None, Part.SETTING])
@pytest.mark.parametrize("odd", list(ODD))
def test_odd_data_get_an_answer(odd: str, part: Part | None) -> None:
    dataset = ODD[odd](usual())
    model = GreyBox("g", part)
    model.fit(dataset.training)
    for run in dataset.scored:
        for view in View:
            answer = model.predict(case_of(run, view))
            assert 0.0 < answer.mean < 1e4
            assert 0.0 < answer.p95 < 1e4
            for low, high in answer.intervals.values():
                assert 0.0 < low <= high < math.inf
    assert model.card["learned"] in {part.value for part in Part}


def test_what_was_assumed_is_said() -> None:
    dataset = never(usual())
    model = GreyBox("g", Part.NOTHING)
    model.fit(dataset.training)
    answer = model.predict(case_of(dataset.scored[0], View.RAW))
    assert not answer.trusted
    assert "no speed at sprint was measured: nominal ratio" in answer.notes
    assert "t40/kind0" in str(model.card["guessed"])


def test_a_mechanism_without_training_runs_is_predicted_and_not_trusted() -> None:
    model = GreyBox("g", Part.NOTHING)
    model.fit(usual().training)
    run = usual().scored[0]
    foreign = Run(setting=replace(run.setting, mechanism=Q2), jobs=run.jobs)
    answer = model.predict(case_of(foreign, View.RAW))
    assert not answer.trusted
    assert 0.0 < answer.mean < 1e3
