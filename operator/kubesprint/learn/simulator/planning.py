"""Many policies on one trace: what each comes to. For planning, where nothing runs yet."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kubesprint.core.batch import Alternative, Answers, Evaluator, Question, Score, check_question
from kubesprint.core.simulation import Present, SimJob, SprintRules, TriggerClock
from kubesprint.core.spec import Statistic
from kubesprint.core.units import Seconds
from kubesprint.learn.simulator.arrays import Floats
from kubesprint.learn.simulator.lane_arrays import (
    G_GAP,
    LANES,
    STRIDE,
    V_BACKLOG,
    V_RESPONSE,
    V_SPRINT,
    Trace,
    can_run_in_lanes,
    lane_arrays,
    policy_rows,
    trace_of,
)

Serve = Callable[[Any, Any, Any, Any, Any], None]
"""`lane_kernels.serve`, or the same in numpy."""

WORTH_LANES = 256
"""Jobs. Fewer are as quickly simulated event by event, without another kernel to load."""

SHARES = {Statistic.P50: 0.5, Statistic.P95: 0.95, Statistic.P99: 0.99}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What one policy comes to on one trace. Times are seconds; attainment is None without an objective."""

    mean: float
    p50: float
    p95: float
    p99: float
    sprint: float
    attainment: float | None  # share of the jobs whose response is within the objective


def means(
    serve: Serve,
    trace: Trace,
    policies: Sequence[SprintRules],
    present: Present,
    precision: Any = np.float64,
) -> tuple[Floats, Floats]:
    """Mean response and sprint seconds of each policy, as arrays: the cheapest way to compare many.

    In single precision twice as many policies fit a second, and the means are good to some 1e-4: for
    screening, after which the best are simulated again in double.
    """
    found = [_run(serve, trace, rows, precision, keep=False)[0] for rows in _blocks(trace, policies, present)]
    sums = np.concatenate(found, axis=1).astype(np.float64)
    return sums[V_RESPONSE] / len(trace.jobs), sums[V_SPRINT]


def standings(
    serve: Serve,
    jobs: Sequence[SimJob],
    policies: Sequence[SprintRules],
    present: Present,
    objective: Seconds | None = None,
) -> list[Standing]:
    """All statistics of each policy; all see the same jobs.

    Args:
        serve: compiled or not.
        jobs: of one server, in the order of arrival; `can_run_in_lanes`.
        policies: at least one.
        present: when the server and the bucket begin.
        objective: the response time that the jobs should keep to.
    """
    trace, answers = trace_of(jobs), list[Standing]()
    for rows in _blocks(trace, policies, present):
        sums, responses = _run(serve, trace, rows, np.float64, keep=True)
        within = None if objective is None else np.mean(responses <= objective, axis=0)
        quantiles = np.quantile(responses, (0.5, 0.95, 0.99), axis=0)
        answers += [
            Standing(
                mean=float(sums[V_RESPONSE, lane]) / len(jobs),
                p50=float(quantiles[0, lane]),
                p95=float(quantiles[1, lane]),
                p99=float(quantiles[2, lane]),
                sprint=float(sums[V_SPRINT, lane]),
                attainment=None if within is None else float(within[lane]),
            )
            for lane in range(rows.shape[1])
        ]
    return answers


def planning_evaluator(serve: Callable[[], Serve], otherwise: Evaluator) -> Evaluator:
    """In lanes what can run in lanes and is long enough to be worth it; `otherwise` the rest.

    Args:
        serve: asked for once there is something for it, because it may have to be compiled.
        otherwise: answers everything else.
    """

    def evaluator(question: Question) -> Answers:
        check_question(question)
        rules, servers, present = question.rules, question.servers, question.present
        fitting = all(can_run_in_lanes(jobs, rules, servers, present) for jobs in question.scenarios)
        if not fitting or sum(map(len, question.scenarios)) < WORTH_LANES:
            return otherwise(question)
        lanes, traces = serve(), [trace_of(jobs) for jobs in question.scenarios]

        def answers(alternatives: Sequence[Alternative]) -> list[Score]:
            if any(alternative.triggers or alternative.crowd for alternative in alternatives):
                return list(otherwise(question)(alternatives))
            return _scores(lanes, traces, question, alternatives)

        return answers

    return evaluator


def _scores(
    serve: Serve, traces: Sequence[Trace], question: Question, alternatives: Sequence[Alternative]
) -> list[Score]:
    policies = [replace(question.rules, timeout=a.timeout, crowd=0) for a in alternatives]
    by_trace = [_of_trace(serve, trace, question, policies) for trace in traces]
    values, sprints = (np.mean([found[part] for found in by_trace], axis=0) for part in (0, 1))
    longest = np.max([found[2] for found in by_trace], axis=0)
    return [
        Score(value=Seconds(float(value)), sprint=Seconds(float(sprint)), longest=Seconds(float(wait)))
        for value, sprint, wait in zip(values, sprints, longest, strict=True)
    ]


def _of_trace(serve: Serve, trace: Trace, question: Question, policies: Sequence[SprintRules]) -> Floats:
    """[value, sprint seconds, longest wait] by policy."""
    parts = []
    for rows in _blocks(trace, policies, question.present):
        sums, responses = _run(serve, trace, rows, np.float64, keep=True)
        if question.statistic is Statistic.MEAN:
            values = sums[V_RESPONSE] / len(responses)
        else:
            values = np.quantile(responses, SHARES[question.statistic], axis=0)
        parts.append(np.array([values, sums[V_SPRINT], _longest(trace, rows, responses, question.rules)]))
    return np.concatenate(parts, axis=1)


def _longest(trace: Trace, rows: Floats, responses: Floats, rules: SprintRules) -> Floats:
    """The longest time from the origin of the trigger clock to the end of a job."""
    if rules.clock is TriggerClock.ARRIVAL:
        return np.asarray(responses.max(axis=0))
    free = np.concatenate([rows[V_BACKLOG : V_BACKLOG + 1], responses[:-1]])
    waits = np.maximum(free - trace.jobs[:, G_GAP : G_GAP + 1], 0.0)
    return np.asarray((responses - waits).max(axis=0))


def _blocks(trace: Trace, policies: Sequence[SprintRules], present: Present) -> list[Floats]:
    if any(rules.crowd or rules.toggle for rules in policies):
        raise ValueError("lanes know neither crowds nor toggles")
    rows = policy_rows(policies, present, trace.first)
    return [rows[:, at : at + LANES] for at in range(0, rows.shape[1], LANES)]


def _run(serve: Serve, trace: Trace, rows: Floats, precision: Any, *, keep: bool) -> tuple[Floats, Floats]:
    """Sums by policy after the last job (`V_...`), and with `keep` the responses [job, policy]."""
    width = rows.shape[1]
    v, cycles = lane_arrays(rows, trace.rates, precision)
    jobs = trace.jobs if trace.jobs.dtype == precision else trace.jobs.astype(precision)
    responses = np.empty((len(jobs) if keep else 0, LANES), dtype=precision)
    serve(jobs, trace.kinds, cycles, v, responses)
    return v.reshape(-1, STRIDE)[: V_SPRINT + 1, :width], responses[:, :width]
