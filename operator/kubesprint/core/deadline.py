"""Deadlines: the least sprint that still meets them.

A job that will be on time at base speed never sprints. One that will not be waits until the last
instant at which sprinting all the rest of the way still meets its deadline: a lucky job then never
needs it. What cannot be met even so is said, and gets no budget; a sprint that has begun goes on until
its deadline has passed, for to stop just short of it would have wasted all of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kubesprint.core.forecast import Estimate
from kubesprint.core.policy import JobTrigger, Trigger
from kubesprint.core.reasons import Reason
from kubesprint.core.simulation import TriggerClock
from kubesprint.core.units import FOREVER, Seconds
from kubesprint.core.view import View
from kubesprint.core.workload import JobView

SAFETY = 1.0  # deviations of the remaining work that are planned for

EARLY = Seconds(0.1)
"""A sprint is planned to end this much before its deadline: a turn, a write and a read-back take time."""


@dataclass(frozen=True, slots=True)
class LeastSprint:
    """The strategy of a policy whose objective is a deadline."""

    safety: float = SAFETY

    def choose(self, view: View, estimates: Mapping[str, Estimate], *, hurry: bool) -> Trigger:
        """A trigger for every running job that has a deadline, or that stands before one that has."""
        limits = _limits(view, estimates)
        own = {
            job.name: _job_trigger(view, job, estimates[job.name], limits[job.name], self.safety)
            for job in view.running()
            if job.name in estimates
        }
        return Trigger(
            after=FOREVER,
            clock=TriggerClock.ARRIVAL,
            needs_trust=True,
            basis="WhiteBox",
            sentence="Sprint as little as the deadlines allow.",
            own=own,
        )


def _limits(view: View, estimates: Mapping[str, Estimate]) -> dict[str, list[Seconds]]:
    """The instants by which each running job should be over: for its own deadline, and for those behind it.

    The queue is dealt to the servers in the order in which they come free at base speed; a deadline behind
    a job limits it to the latest end that leaves every job up to that one time to finish at sprint speed.
    """
    chains: dict[str, list[JobView]] = {job.name: [] for job in view.running()}
    ends = {job.name: view.now + _left(estimates, job) for job in view.running()}
    for job in view.queued():
        if not ends or job.name not in estimates:
            break
        first = min(ends, key=lambda name: ends[name])
        chains[first].append(job)
        ends[first] += _left(estimates, job)
    return {job.name: _chain_limits(job, chains[job.name], estimates) for job in view.running()}


def _left(estimates: Mapping[str, Estimate], job: JobView) -> float:
    return estimates[job.name].remaining if job.name in estimates else 0.0


def _chain_limits(
    head: JobView, behind: Sequence[JobView], estimates: Mapping[str, Estimate]
) -> list[Seconds]:
    limits = [] if head.deadline is None else [head.deadline]
    ahead = 0.0
    for job in behind:
        estimate = estimates[job.name]
        ahead += estimate.remaining / (estimate.rate if estimate.trusted else 1.0)
        if job.deadline is not None:
            limits.append(Seconds(job.deadline - ahead))
    return limits


def _job_trigger(
    view: View, job: JobView, estimate: Estimate, limits: Sequence[Seconds], safety: float
) -> JobTrigger:
    """By the tightest limit that can be met: a deadline that is lost must not cost another one."""
    if not limits:
        return JobTrigger(at=FOREVER, reason=Reason.ON_TIME, sentence=f"{job.name} has no deadline to meet.")
    sprinting = job.name in view.grants
    soonest = view.now + estimate.remaining / estimate.rate
    can_be_met = [limit for limit in limits if (view.now if sprinting else soonest) <= limit]
    if not can_be_met:
        limit = max(limits)
        sentence = (
            f"{job.name} cannot meet {_whose(job, limit)}: "
            f"sprinting all the way it would be {soonest - limit:.2f} s late."
        )
        return JobTrigger(at=FOREVER, reason=Reason.CANNOT_MEET_DEADLINE, sentence=sentence)
    limit = min(can_be_met)
    work = estimate.remaining + safety * min(estimate.deviation, estimate.remaining)
    late = view.now + work - limit
    if late <= 0:
        sentence = f"{job.name} meets {_whose(job, limit)} at base speed with {-late:.2f} s to spare."
        return JobTrigger(at=FOREVER, reason=Reason.ON_TIME, sentence=sentence)
    latest = limit - EARLY - work / estimate.rate
    at = view.now if sprinting else Seconds(max(view.now, latest))
    sentence = (
        f"{job.name} would miss {_whose(job, limit)} by {late:.2f} s at base speed; "
        f"it needs a sprint from {at - view.now:.2f} s from now on."
    )
    return JobTrigger(at=at, reason=Reason.DEADLINE_AT_RISK, sentence=sentence)


def _whose(job: JobView, limit: Seconds) -> str:
    return "its deadline" if limit == job.deadline else "a deadline behind it"
