"""`kubesprint run --dry-run`: the real engine on a virtual machine says what is to be expected."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from kubesprint.adapters.virtual.machine import VirtualJob, VirtualMachine
from kubesprint.apps.session import Request
from kubesprint.core.budget import Bucket
from kubesprint.core.clocks import ClockDomain
from kubesprint.core.forecast import Forecaster, KindModel
from kubesprint.core.policy import Strategy
from kubesprint.core.spec import JobSpec, Mode, Policy, QueueSpec
from kubesprint.core.units import Seconds
from kubesprint.core.workload import JobView
from kubesprint.engine.engine import Engine, EngineSettings


def virtual_jobs(
    jobs: Sequence[JobSpec], forecaster: Forecaster, deadline: Seconds | None
) -> list[VirtualJob]:
    """The queue as its kinds' models expect it."""
    result = []
    for job in jobs:
        model = forecaster.model(job.kind)
        after = job.deadline if job.deadline is not None else deadline
        result.append(
            VirtualJob(
                name=job.name,
                kind=job.kind,
                arrival=job.arrival,
                work=model.work,
                rate=model.rate,
                cpu_per_work=model.cpu / model.work,
                deadline=None if after is None else Seconds(job.arrival + after),
            )
        )
    return result


def rehearse(request: Request) -> list[JobView]:
    """Run the request on a virtual machine; returns its jobs as they would end."""
    return rehearse_queue(
        request.queue,
        request.policy,
        request.models,
        request.strategy,
        request.bucket.at_instant(Seconds(0.0)),
        request.clocks.use if request.clocks is not None else {},
    )


def rehearse_queue(
    queue: QueueSpec,
    policy: Policy,
    models: Mapping[str, KindModel],
    strategy: Callable[[Forecaster], Strategy],
    bucket: Bucket,
    clocks: Mapping[str, Sequence[ClockDomain]] = MappingProxyType({}),
) -> list[JobView]:
    """The real engine on a virtual machine whose jobs are what their kinds' models expect."""
    forecaster = Forecaster(models, policy.base, policy.sprint)
    machine = VirtualMachine(virtual_jobs(queue.jobs, forecaster, policy.deadline), queue.slots, policy.base)
    engine = Engine(
        EngineSettings(
            run="rehearsal",
            epoch=1,
            mode=Mode.ENFORCE,
            base=policy.base,
            sprint=policy.sprint,
            servers=queue.slots,
            lease=policy.lease,
            clocks=clocks,
        ),
        clock=machine,
        workloads=machine,
        nodes=machine,
        purse=machine,
        recorder=machine,
        forecaster=forecaster,
        strategy=strategy(forecaster),
        bucket=bucket,
    )
    return machine.run(engine)


def describe(request: Request) -> str:
    """What a run would do, for people."""
    policy, queue = request.policy, request.queue
    lines = [
        f"{len(queue.jobs)} jobs in {queue.slots} slots, policy {policy.name} ({policy.mode.value}), "
        f"strategy {request.setting}",
        f"base {policy.base.cores:g} cores, sprint {policy.sprint.cores:g} cores, "
        f"budget {request.bucket.level:g} of {policy.budget.capacity:g} core-seconds",
        *(f"warning: {warning}" for warning in request.warnings),
    ]
    if request.hardware is None:
        lines.append("jobs would be started plainly; nothing on this machine would change")
    else:
        plan = request.hardware.plan
        lines.append(f"cores by {plan.mechanism}; groups below {plan.parent or 'none'}, removed at the end")
        lines += list(plan.notes)
        lines += [request.clocks.describe()] if request.clocks is not None else []
    unknown = sorted({job.kind for job in queue.jobs} - set(request.models))
    if unknown:
        lines.append(
            f"no profile for {', '.join(unknown)}: nothing to predict from; measure with `kubesprint profile`"
        )
        return "\n".join(lines)
    jobs = rehearse(request)
    responses = [job.response for job in jobs if job.response is not None]
    sprint = sum(job.sprint for job in jobs)
    lines.append(
        f"predicted: mean response {sum(responses) / len(responses):.2f} s, {sprint:.1f} s sprinted, "
        f"the queue empty after {max(job.end or 0.0 for job in jobs):.1f} s"
    )
    return "\n".join(lines)
