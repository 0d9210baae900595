"""Many candidates on the same jobs at once: what a search asks, and the plain way to answer it.

A question is put once, and then answered for as many alternatives as the search thinks of. The plain
evaluator below simulates them one after another with any simulator; a compiled one may do all in one
call. They are interchangeable: the same scores, up to rounding.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Protocol

from kubesprint.core.queueing import Summary, summarise
from kubesprint.core.simulation import Present, QueueSimulator, SimJob, SprintRules, TriggerClock
from kubesprint.core.spec import Statistic
from kubesprint.core.units import Seconds

_NONE: Mapping[int, Seconds] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What all alternatives have in common.

    A job that sprints at the present, but whose trigger is still to come, has returned to base: an
    alternative that would trigger it later cannot keep it sprinting meanwhile.
    """

    scenarios: Sequence[Sequence[SimJob]]  # at least one, none empty, each in the order of arrival
    rules: SprintRules  # all but the time-out
    servers: int
    present: Present
    statistic: Statistic  # of the response time


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """A time-out for everybody, and triggers of their own for some jobs, by place in every scenario."""

    timeout: Seconds
    crowd: int = 0
    triggers: Mapping[int, Seconds] = field(default_factory=lambda: _NONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What an alternative comes to."""

    value: Seconds  # the statistic of the response time, averaged over the scenarios
    sprint: Seconds  # sprint seconds, averaged over the scenarios
    longest: Seconds  # of all jobs, from the origin of their trigger clock to their end


Answers = Callable[[Sequence[Alternative]], Sequence[Score]]
"""One score for each alternative, in their order. Pure."""


class Evaluator(Protocol):
    """Takes in a question; what it returns may be called as often as there are alternatives to try."""

    def __call__(self, question: Question) -> Answers:
        """Raises `ValueError` if there is no scenario, or one without jobs."""
        ...


def statistic_of(summary: Summary, statistic: Statistic) -> Seconds:
    """One number of a summary."""
    return {
        Statistic.MEAN: summary.mean,
        Statistic.P50: summary.p50,
        Statistic.P95: summary.p95,
        Statistic.P99: summary.p99,
    }[statistic]


def check_question(question: Question) -> None:
    """What every evaluator requires. Raises `ValueError`."""
    if not question.scenarios or not all(question.scenarios):
        raise ValueError("a question needs a scenario, and every scenario a job")
    if question.servers < 1:
        raise ValueError(f"a queue needs a server, not {question.servers}")


def one_by_one(simulate: QueueSimulator) -> Evaluator:
    """The plain evaluator: one simulation after another. The oracle of the compiled ones."""

    def evaluator(question: Question) -> Answers:
        check_question(question)
        return lambda alternatives: [_score(question, simulate, a) for a in alternatives]

    return evaluator


def _score(question: Question, simulate: QueueSimulator, alternative: Alternative) -> Score:
    values, sprints, longest = [], [], 0.0
    rules = replace(question.rules, timeout=alternative.timeout, crowd=alternative.crowd)
    from_arrival = rules.clock is TriggerClock.ARRIVAL
    for scenario in question.scenarios:
        jobs = _as_chosen(scenario, alternative, rules, question.present)
        outcomes = simulate(jobs, rules, question.servers, question.present)
        summary = summarise(jobs, outcomes)
        values.append(statistic_of(summary, question.statistic))
        sprints.append(summary.sprint)
        waits = (
            o.end - (j.arrival if from_arrival else o.start) for j, o in zip(jobs, outcomes, strict=True)
        )
        longest = max(longest, *waits)
    return Score(
        value=Seconds(sum(values) / len(values)),
        sprint=Seconds(sum(sprints) / len(sprints)),
        longest=Seconds(longest),
    )


def _as_chosen(
    jobs: Sequence[SimJob], alternative: Alternative, rules: SprintRules, present: Present
) -> Sequence[SimJob]:
    """The jobs with the triggers of an alternative; the same list where it changes nothing."""
    if not alternative.triggers and not any(job.sprinting for job in jobs):
        return jobs
    chosen = []
    for place, job in enumerate(jobs):
        trigger = alternative.triggers.get(place, job.trigger)
        changed = job if trigger == job.trigger else replace(job, trigger=trigger)
        if job.sprinting and _instant(changed, rules) > present.now:
            changed = replace(changed, sprinting=False)
        chosen.append(changed)
    return chosen


def _instant(job: SimJob, rules: SprintRules) -> float:
    """The trigger of a job that runs."""
    if job.trigger is not None:
        return job.trigger
    origin = job.arrival if rules.clock is TriggerClock.ARRIVAL or job.started is None else job.started
    return origin + rules.timeout
