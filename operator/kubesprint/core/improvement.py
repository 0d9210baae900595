"""One step of policy improvement: should the jobs that run now differ from the best rule?

A rule for everybody cannot see what is known now: who runs, how far, and how many wait. That
decides how much a second of sprint is worth: it shortens the response of the job and of everybody
behind it. So, with all others under the best rule, each way to sprint or hold the running jobs is
simulated on the same futures. The best of these is never worse than the rule, in the simulation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from kubesprint.core.batch import Alternative, Answers
from kubesprint.core.policy import JobTrigger
from kubesprint.core.reasons import Reason
from kubesprint.core.search import SearchResult, mean_work, search_answers, search_crowd
from kubesprint.core.simulation import SimJob
from kubesprint.core.units import FOREVER, Seconds
from kubesprint.core.view import View

WORTH_DIFFERING = 1e-6
"""Relative gain below which the rule for all also holds for the running jobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What all candidates of one choice have in common."""

    jobs: Sequence[SimJob]  # that run or queue now, in the order of arrival: the first of every scenario
    scenarios: Sequence[Sequence[SimJob]]  # those and a future each; none where there is no job at all
    answers: Answers  # to the question of these scenarios

    def search(self) -> SearchResult:
        """The best rule for everybody: a time-out, a number of waiting jobs, or both."""
        return search_crowd(self.answers, search_answers(self.answers, mean_work(self.scenarios)))


def improve(view: View, scene: Scene, rule: SearchResult) -> Mapping[str, JobTrigger]:
    """Triggers of their own for the running jobs, if that is better than the rule; else what it says now."""
    running = [job.name for job in view.running()]
    if not running or not scene.scenarios:
        return MappingProxyType({})
    names = [job.name for job in sorted(view.running() + view.queued(), key=lambda job: job.arrival)]
    choices = _choices(running)
    scores = scene.answers(
        [
            Alternative(timeout=rule.timeout, crowd=rule.crowd),
            *(_alternative(scene.jobs, names, running, sprinters, rule, view.now) for sprinters in choices),
        ]
    )
    plain = best = scores[0].value
    chosen: frozenset[str] | None = None
    for sprinters, score in zip(choices, scores[1:], strict=True):
        if score.value < best * (1.0 - WORTH_DIFFERING):
            best, chosen = score.value, sprinters
    if chosen is None:
        return _crowded(view, rule.crowd)
    queued = len(view.queued())
    return {
        name: _own(name, sprints=name in chosen, now=view.now, queued=queued, best=best, plain=plain)
        for name in running
    }


def _choices(running: Sequence[str]) -> list[frozenset[str]]:
    """Which of the running jobs sprint: none, all, and each alone."""
    sets = [frozenset[str](), frozenset(running), *(frozenset({name}) for name in running)]
    return list(dict.fromkeys(sets))


def _alternative(
    jobs: Sequence[SimJob],
    names: Sequence[str],
    running: Sequence[str],
    sprinters: frozenset[str],
    rule: SearchResult,
    now: Seconds,
) -> Alternative:
    """Each running job sprints from now to its end, or stays at base; one with a trigger of its own keeps it.

    That is a job which is not trusted, or not selected.
    """
    return Alternative(
        timeout=rule.timeout,
        crowd=rule.crowd,
        triggers={
            place: now if name in sprinters else FOREVER
            for place, (name, job) in enumerate(zip(names, jobs, strict=True))
            if name in running and job.trigger is None
        },
    )


def _crowded(view: View, crowd: int) -> Mapping[str, JobTrigger]:
    """All that run sprint while enough jobs wait."""
    queued = len(view.queued())
    if not 0 < crowd <= queued:
        return MappingProxyType({})
    sentence = f"{queued} wait, and from {crowd} on it is best that all that run sprint."
    trigger = JobTrigger(at=view.now, reason=Reason.TRIGGER_REACHED, sentence=sentence)
    return {job.name: trigger for job in view.running()}


def _own(name: str, *, sprints: bool, now: Seconds, queued: int, best: float, plain: float) -> JobTrigger:
    behind = f"with {queued} waiting" if queued else "with nobody waiting"
    gain = f"{best:.2f} s in place of {plain:.2f} s by the best rule"
    if sprints:
        sentence = f"{name} is worth sprinting now, {behind}: {gain}."
        return JobTrigger(at=now, reason=Reason.TRIGGER_REACHED, sentence=sentence)
    sentence = f"{name} stays at base for now, {behind}: {gain}."
    return JobTrigger(at=FOREVER, reason=Reason.BEFORE_TRIGGER, sentence=sentence)
