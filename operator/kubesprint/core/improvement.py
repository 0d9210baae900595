"""One step of policy improvement: should the jobs that run now differ from the best time-out?

A time-out cannot see the queue. Whether anybody waits behind a job is known now, though, and that is
what decides how much a second of sprint is worth: it shortens the response of the job and of everybody
behind it. So, with all others under the best time-out, each way to sprint or hold the running jobs is
simulated on the same futures. The best of these is never worse than the time-out, in the simulation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from kubesprint.core.policy import JobTrigger
from kubesprint.core.reasons import Reason
from kubesprint.core.search import SearchResult, evaluate, search_timeout
from kubesprint.core.simulation import Present, QueueSimulator, SimJob, SprintRules
from kubesprint.core.spec import Statistic
from kubesprint.core.units import FOREVER, Seconds
from kubesprint.core.view import View

WORTH_DIFFERING = 1e-6
"""Relative gain below which the time-out that holds for all also holds for the running jobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What all candidates of one choice have in common."""

    rules: SprintRules  # all but the time-out
    servers: int
    simulate: QueueSimulator
    present: Present
    statistic: Statistic
    jobs: Sequence[SimJob]  # that run or queue now, in the order of arrival
    futures: Sequence[Sequence[SimJob]]

    def search(self) -> SearchResult:
        """The best time-out for everybody."""
        return search_timeout(
            [[*self.jobs, *future] for future in self.futures],
            self.rules,
            self.servers,
            self.simulate,
            present=self.present,
            statistic=self.statistic,
        )

    def value(self, jobs: Sequence[SimJob], timeout: Seconds) -> float:
        """The objective if `jobs` stand for the present ones, under `timeout` where a job has no trigger."""
        return evaluate(
            [[*jobs, *future] for future in self.futures],
            replace(self.rules, timeout=timeout),
            self.servers,
            self.simulate,
            present=self.present,
            statistic=self.statistic,
        ).value


def improve(view: View, scene: Scene, timeout: Seconds) -> Mapping[str, JobTrigger]:
    """Triggers of their own for the running jobs, if that is better than the time-out; else none."""
    running = [job.name for job in view.running()]
    if not running or not scene.futures:
        return MappingProxyType({})
    names = [job.name for job in sorted(view.running() + view.queued(), key=lambda job: job.arrival)]
    plain = best = scene.value(scene.jobs, timeout)
    chosen: frozenset[str] | None = None
    for sprinters in _choices(running):
        jobs = [
            _with_choice(job, sprints=name in sprinters, now=view.now) if name in running else job
            for name, job in zip(names, scene.jobs, strict=True)
        ]
        value = scene.value(jobs, timeout)
        if value < best * (1.0 - WORTH_DIFFERING):
            best, chosen = value, sprinters
    if chosen is None:
        return MappingProxyType({})
    queued = len(view.queued())
    return {
        name: _own(name, sprints=name in chosen, now=view.now, queued=queued, best=best, plain=plain)
        for name in running
    }


def _choices(running: Sequence[str]) -> list[frozenset[str]]:
    """Which of the running jobs sprint: none, all, and each alone."""
    sets = [frozenset[str](), frozenset(running), *(frozenset({name}) for name in running)]
    return list(dict.fromkeys(sets))


def _with_choice(job: SimJob, *, sprints: bool, now: Seconds) -> SimJob:
    """A running job that sprints from now to its end, or stays at base."""
    if job.trigger is not None:  # not trusted, or not selected
        return job
    return replace(job, trigger=now if sprints else FOREVER)


def _own(name: str, *, sprints: bool, now: Seconds, queued: int, best: float, plain: float) -> JobTrigger:
    behind = f"with {queued} waiting" if queued else "with nobody waiting"
    gain = f"{best:.2f} s in place of {plain:.2f} s by the best time-out"
    if sprints:
        sentence = f"{name} is worth sprinting now, {behind}: {gain}."
        return JobTrigger(at=now, reason=Reason.TRIGGER_REACHED, sentence=sentence)
    sentence = f"{name} stays at base for now, {behind}: {gain}."
    return JobTrigger(at=FOREVER, reason=Reason.BEFORE_TRIGGER, sentence=sentence)
