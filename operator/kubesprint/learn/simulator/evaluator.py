"""The compiled simulator behind the contracts of the core."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kubesprint.core.batch import Alternative, Answers, Evaluator, Question, Score, check_question
from kubesprint.core.simulation import Outcome, Present, QueueSimulator, SimJob, SprintRules
from kubesprint.core.spec import Statistic
from kubesprint.core.units import Seconds
from kubesprint.learn.simulator.arrays import (
    B_CROWD,
    B_TIMEOUT,
    IF_TRIGGERED,
    J_SPRINTING,
    O_END,
    O_FIRST,
    O_SPRINT,
    O_START,
    Floats,
    Places,
    crowd_of,
    jobs_array,
    rules_array,
)

SHARES = {Statistic.MEAN: -1.0, Statistic.P50: 0.5, Statistic.P95: 0.95, Statistic.P99: 0.99}

Evaluate = Callable[..., None]
"""`batch_kernels.evaluate`, compiled or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """A question as arrays."""

    evaluate: Evaluate
    jobs: Floats
    bounds: Places
    rules: Floats
    servers: int
    share: float
    rows: int
    most: int

    def run(self, timeouts: Floats, crowds: Floats, own: Floats) -> tuple[Floats, Floats]:
        """A row of scores for each alternative, and the outcomes of the last simulation."""
        scores, out = np.zeros((len(timeouts), 3)), np.empty((self.most, O_FIRST + 1))
        self.evaluate(
            self.jobs,
            self.bounds,
            self.rules,
            self.servers,
            self.share,
            timeouts,
            crowds,
            own,
            self.rows,
            scores,
            out,
        )
        return scores, out


def _batch(evaluate: Evaluate, question: Question) -> _Batch:
    scenarios, servers = question.scenarios, question.servers
    sizes = [len(jobs) for jobs in scenarios]
    running = max(sum(job.started is not None for job in jobs) for jobs in scenarios)
    return _Batch(
        evaluate=evaluate,
        jobs=jobs_array([job for jobs in scenarios for job in jobs]),
        bounds=np.cumsum([0, *sizes], dtype=np.int64),
        rules=rules_array(question.rules, question.present),
        servers=servers,
        share=SHARES[question.statistic],
        rows=max(1, min(max(sizes), max(servers, running))),
        most=max(sizes),
    )


def batch_evaluator(evaluate: Evaluate) -> Evaluator:
    """All alternatives of one request in one call."""

    def evaluator(question: Question) -> Answers:
        check_question(question)
        batch = _batch(evaluate, question)
        sprinting = batch.jobs[:, J_SPRINTING]
        sprinting[sprinting > 0] = IF_TRIGGERED
        return lambda alternatives: _scores(batch, question.rules, alternatives)

    return evaluator


def _scores(batch: _Batch, rules: SprintRules, alternatives: Sequence[Alternative]) -> list[Score]:
    timeouts = np.array([a.timeout for a in alternatives], dtype=np.float64)
    crowds = np.array([crowd_of(rules, a.crowd) for a in alternatives], dtype=np.float64)
    width = max((place + 1 for a in alternatives for place in a.triggers), default=0)
    own = np.full((len(alternatives), width), math.nan)
    for row, alternative in enumerate(alternatives):
        for place, trigger in alternative.triggers.items():
            own[row, place] = trigger
    scores, _ = batch.run(timeouts, crowds, own)
    return [
        Score(value=Seconds(value), sprint=Seconds(sprint), longest=Seconds(longest))
        for value, sprint, longest in scores.tolist()
    ]


def queue_simulator(evaluate: Evaluate) -> QueueSimulator:
    """One simulation, job by job."""

    def simulate(
        jobs: Sequence[SimJob], rules: SprintRules, servers: int, present: Present
    ) -> Sequence[Outcome]:
        if not jobs:
            return []
        question = Question(
            scenarios=[jobs], rules=rules, servers=servers, present=present, statistic=Statistic.MEAN
        )
        check_question(question)
        batch = _batch(evaluate, question)
        b = batch.rules
        _, out = batch.run(b[B_TIMEOUT : B_TIMEOUT + 1], b[B_CROWD : B_CROWD + 1], np.empty((1, 0)))
        return _outcomes(out)

    return simulate


def _outcomes(out: Floats) -> list[Outcome]:
    rows: Any = out[:, [O_START, O_END, O_SPRINT, O_FIRST]].tolist()
    return [
        Outcome(
            start=Seconds(start),
            end=Seconds(end),
            sprint=Seconds(sprint),
            sprint_start=None if math.isnan(first) else Seconds(first),
        )
        for start, end, sprint, first in rows
    ]
