"""Deadlines: the least sprint that still meets them.

A job that will be on time at base speed never sprints. One that will not be waits until the last
instant at which sprinting all the rest of the way still meets its deadline: a lucky job then never
needs it. What cannot be met even so is said, and gets no budget.
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


def _limits(view: View, estimates: Mapping[str, Estimate]) -> dict[str, Seconds]:
    """The instant by which each running job must be over: its own deadline, or that of one behind it.

    The queue is dealt to the servers in the order in which they come free at base speed; a job's limit
    is the latest end that leaves every later job of its server time to finish at sprint speed.
    """
    chains: dict[str, list[JobView]] = {job.name: [job] for job in view.running()}
    ends = {job.name: view.now + _left(estimates, job) for job in view.running()}
    for job in view.queued():
        if not ends or job.name not in estimates:
            break
        first = min(ends, key=lambda name: ends[name])
        chains[first].append(job)
        ends[first] += _left(estimates, job)
    return {name: _latest_end(chain, estimates) for name, chain in chains.items()}


def _left(estimates: Mapping[str, Estimate], job: JobView) -> float:
    return estimates[job.name].remaining if job.name in estimates else 0.0


def _latest_end(chain: Sequence[JobView], estimates: Mapping[str, Estimate]) -> Seconds:
    latest = float(FOREVER)
    for job in reversed(chain[1:]):
        latest = min(latest, FOREVER if job.deadline is None else job.deadline)
        estimate = estimates[job.name]
        latest -= estimate.remaining / (estimate.rate if estimate.trusted else 1.0)
    head = chain[0].deadline
    return Seconds(min(latest, FOREVER if head is None else head))


def _job_trigger(view: View, job: JobView, estimate: Estimate, limit: Seconds, safety: float) -> JobTrigger:
    if limit == FOREVER:
        return JobTrigger(at=FOREVER, reason=Reason.ON_TIME, sentence=f"{job.name} has no deadline to meet.")
    work = estimate.remaining + safety * min(estimate.deviation, estimate.remaining)
    at_base, at_sprint = view.now + work, view.now + work / estimate.rate
    whose = "its deadline" if limit == job.deadline else "a deadline behind it"
    if at_base <= limit:
        sentence = f"{job.name} meets {whose} at base speed with {limit - at_base:.2f} s to spare."
        return JobTrigger(at=FOREVER, reason=Reason.ON_TIME, sentence=sentence)
    if view.now + estimate.remaining / estimate.rate > limit:
        late = view.now + estimate.remaining / estimate.rate - limit
        sentence = f"{job.name} cannot meet {whose}: sprinting all the way it would be {late:.2f} s late."
        return JobTrigger(at=FOREVER, reason=Reason.CANNOT_MEET_DEADLINE, sentence=sentence)
    # A sprint that has begun goes on: stopping it now would only miss the deadline.
    at = view.now if job.name in view.grants else Seconds(max(view.now, limit - (at_sprint - view.now)))
    sentence = (
        f"{job.name} would miss {whose} by {at_base - limit:.2f} s at base speed; "
        f"sprinting from {max(0.0, at - view.now):.2f} s from now meets it."
    )
    return JobTrigger(at=at, reason=Reason.DEADLINE_AT_RISK, sentence=sentence)
