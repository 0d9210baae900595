"""What will become of the jobs that are here, if the present trigger stays as it is."""

from collections.abc import Mapping
from dataclasses import replace

from kubesprint.core.forecast import Estimate
from kubesprint.core.modeldriven import present_jobs, rules_of, sprint_level
from kubesprint.core.policy import Trigger
from kubesprint.core.simulation import Present, QueueSimulator, SimJob
from kubesprint.core.units import FOREVER, Seconds
from kubesprint.core.view import View
from kubesprint.core.workload import JobView


def predict_responses(
    view: View,
    estimates: Mapping[str, Estimate],
    trigger: Trigger,
    simulate: QueueSimulator,
    *,
    sprints: bool = True,
) -> Mapping[str, Seconds]:
    """Predicted response time (arrival to end) of every running and queued job, by name.

    Jobs that have not arrived are not there: under first come, first served they can only matter
    through the bucket.

    Args:
        view: who is here.
        estimates: by job name.
        trigger: by which jobs sprint.
        simulate: any implementation of the simulator's contract.
        sprints: whether anybody will act on the trigger; if not, every job stays at base.
    """
    waiting = sorted(view.running() + view.queued(), key=lambda job: job.arrival)
    jobs = [
        replace(simulated, trigger=_trigger(job, simulated, trigger) if sprints else FOREVER)
        for job, simulated in zip(waiting, present_jobs(view, estimates), strict=True)
    ]
    rules = replace(rules_of(view, trigger.clock), timeout=trigger.after)
    outcomes = simulate(jobs, rules, view.servers, Present(now=view.now, level=sprint_level(view)))
    return {
        job.name: Seconds(outcome.end - job.arrival) for job, outcome in zip(waiting, outcomes, strict=True)
    }


def _trigger(job: JobView, simulated: SimJob, trigger: Trigger) -> Seconds | None:
    """What holds for this job, as `decide` will see it; None: the time-out for all."""
    if not job.selected:
        return FOREVER
    if trigger.needs_trust and simulated.trigger is not None:
        return simulated.trigger  # not trusted
    return trigger.own[job.name].at if job.name in trigger.own else None
