"""SprintPolicy: what may be sped up, how far, when, and what it may cost."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from kubesprint.adapters.wire.base import (
    Clock,
    Cpu,
    CpuOrMultiple,
    CpuOrZero,
    Document,
    Duration,
    Labels,
    Metadata,
    Name,
    Number,
    Version,
    Wire,
    one_of,
)
from kubesprint.adapters.wire.problems import validate
from kubesprint.adapters.wire.quantities import (
    Multiple,
    format_cpu,
    format_cpu_or_multiple,
    parse_duration,
    quote,
)
from kubesprint.core.allocation import Allocation
from kubesprint.core.budget import Budget, RefillRule
from kubesprint.core.simulation import TriggerClock
from kubesprint.core.spec import Invalid, Mode, Policy, Problem, ResizeRule, Statistic, TriggerRule
from kubesprint.core.units import Cores, CoreSeconds, Seconds

FILE_LEASE = Seconds(5.0)  # on one machine; a cluster's controller fills in 30 s


class Selector(Wire):
    """Which jobs; in a file: by the jobs' labels."""

    match_labels: Labels = Field(default_factory=dict)


class ResponseTime(Wire):
    """Finish jobs sooner: minimise one statistic of the response time."""

    statistic: Annotated[Statistic, one_of(Statistic)] = Statistic.MEAN


class DeadlineTarget(Wire):
    """Finish each job within a time from its arrival, with the least sprint."""

    after: Annotated[Duration, Field(examples=["30m"])]


class Objective(Wire):
    """Exactly one of the two."""

    response_time: ResponseTime | None = None
    deadline: DeadlineTarget | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.response_time is None) == (self.deadline is None):
            given = "neither" if self.deadline is None else "both"
            raise ValueError(f"write exactly one of responseTime and deadline; {given} is given")
        return self


class Base(Wire):
    """What a job has while it does not sprint."""

    cpu: Annotated[Cpu, Field(examples=["400m"])]
    clock: Annotated[Clock, Field(examples=["2400MHz"])] = "Base"


class ClockLimit(Wire):
    """How far the clock may go while a job sprints."""

    maximum: Annotated[Clock, Field(examples=["Turbo"])]


class Sprint(Wire):
    """What a job has while it sprints."""

    cpu: Annotated[CpuOrMultiple, Field(examples=['"1"'])]
    resize: Annotated[ResizeRule, one_of(ResizeRule)] = ResizeRule.LIMIT_ONLY
    clock: ClockLimit | None = None


def _read_trigger(value: object) -> TriggerRule | Seconds:
    words = [str(rule) for rule in TriggerRule]
    if isinstance(value, str) and value in words:
        return TriggerRule(value)
    try:
        return parse_duration(value)
    except ValueError as error:
        if "is not a duration" not in str(error):
            raise
        raise ValueError(f"{quote(value)} is neither Auto, Never nor a duration such as 90s") from None


class Trigger(Wire):
    """When a job starts to sprint."""

    after: Annotated[
        TriggerRule | Seconds,
        BeforeValidator(_read_trigger),
        WithJsonSchema({"type": "string", "maxLength": 32}),
    ] = TriggerRule.AUTO
    clock: Annotated[TriggerClock, one_of(TriggerClock)] = TriggerClock.ARRIVAL


class BudgetRules(Wire):
    """What all sprints of the policy may cost, in extra core-seconds."""

    capacity_core_seconds: Annotated[Number, Field(examples=["600"])]
    refill_cores: CpuOrZero = Cores(0.0)
    while_sprinting: Annotated[RefillRule, one_of(RefillRule)] = RefillRule.PAUSED
    hysteresis: Duration = Seconds(0.2)


def _read_concurrency(value: object) -> Literal["Auto"] | int:
    if value == "Auto":
        return "Auto"
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise ValueError(f"{quote(value)} is neither Auto nor a whole number of 1 or more")


class PolicySpec(Wire):
    """The specification, the same in a file and in a cluster."""

    mode: Annotated[Mode, one_of(Mode)] = Mode.OBSERVE
    paused: bool = False
    selector: Selector = Selector()
    workload: Name | None = None
    container: Name | None = None
    objective: Annotated[Objective, Field(examples=["{responseTime: {statistic: Mean}}"])]
    base: Base | None = None
    sprint: Annotated[Sprint, Field(examples=['{cpu: "1"}'])]
    trigger: Trigger = Trigger()
    budget: BudgetRules | None = None
    concurrency: Annotated[
        Literal["Auto"] | int,
        BeforeValidator(_read_concurrency),
        WithJsonSchema({"x-kubernetes-int-or-string": True}),
    ] = "Auto"
    lease: Duration | None = None
    resize_timeout: Duration = Seconds(30.0)


class SprintPolicy(Wire):
    """The whole document."""

    api_version: Version
    kind: Literal["SprintPolicy"]
    metadata: Metadata = Metadata()
    spec: Annotated[PolicySpec, Field(examples=["{base: {...}, sprint: {...}, objective: {...}}"])]
    status: dict[str, Any] | None = None


def parse_policy(document: Document, default_name: str = "policy") -> tuple[Policy, list[Problem]]:
    """The policy of a file, and warnings.

    Raises:
        Invalid: every problem that was found.
    """
    wire = validate(SprintPolicy, "SprintPolicy", document)
    spec = wire.spec
    if spec.base is None:
        raise Invalid([Problem(("spec", "base"), "required in a file; write for example {cpu: 400m}")])
    base = Allocation(spec.base.cpu)
    sprint = Allocation(_resolve(spec.sprint.cpu, base.cores))
    speeds = [*_speed_problems(spec, base, sprint), *_clock_problems(spec)]
    if problems := [*speeds, *_budget_problems(spec)]:
        raise Invalid(problems)
    policy = Policy(
        name=wire.metadata.name or default_name,
        mode=spec.mode,
        paused=spec.paused,
        selector=dict(spec.selector.match_labels),
        workload=spec.workload,
        container=spec.container,
        statistic=spec.objective.response_time.statistic if spec.objective.response_time else None,
        deadline=spec.objective.deadline.after if spec.objective.deadline else None,
        base=base,
        sprint=sprint,
        base_clock=spec.base.clock,
        clock_maximum=spec.sprint.clock.maximum if spec.sprint.clock else None,
        resize=spec.sprint.resize,
        trigger=spec.trigger.after,
        trigger_clock=spec.trigger.clock,
        budget=_budget(spec.budget),
        concurrency=None if spec.concurrency == "Auto" else spec.concurrency,
        lease=FILE_LEASE if spec.lease is None else spec.lease,
        resize_timeout=spec.resize_timeout,
    )
    return policy, _warnings(policy)


def _resolve(cpu: Cores | Multiple, base: Cores) -> Cores:
    return Cores(round(cpu.factor * base, 9)) if isinstance(cpu, Multiple) else cpu


def _budget(rules: BudgetRules | None) -> Budget:
    if rules is None:
        return Budget(capacity=CoreSeconds(0.0), refill=Cores(0.0))
    return Budget(
        capacity=CoreSeconds(rules.capacity_core_seconds),
        refill=rules.refill_cores,
        while_sprinting=rules.while_sprinting,
        hysteresis=rules.hysteresis,
    )


def _speed_problems(spec: PolicySpec, base: Allocation, sprint: Allocation) -> list[Problem]:
    if sprint.at_least_as_fast_as(base):
        return []
    cpu = spec.sprint.cpu
    least = '"1x" or more' if isinstance(cpu, Multiple) else f"{format_cpu(base.cores)} or more"
    written = format_cpu_or_multiple(cpu)
    message = f"{written} is slower than spec.base.cpu {format_cpu(base.cores)}; write {least}"
    return [Problem(("spec", "sprint", "cpu"), message)]


def _clock_problems(spec: PolicySpec) -> list[Problem]:
    """A base clock is held for the sake of a sprint clock above it, and not otherwise."""
    if spec.base is None or spec.base.clock == "Base" or spec.sprint.clock is not None:
        return []
    message = (
        f"{spec.base.clock} needs spec.sprint.clock beside it; write for example {{maximum: Turbo}} there"
    )
    return [Problem(("spec", "base", "clock"), message)]


def _budget_problems(spec: PolicySpec) -> list[Problem]:
    if spec.mode is not Mode.ENFORCE:
        return []
    if spec.budget is None:
        example = "{capacityCoreSeconds: 600, refillCores: 50m}"
        return [Problem(("spec", "budget"), f"required with mode Enforce; write for example {example}")]
    if spec.budget.capacity_core_seconds > 0:
        return []
    message = "0 allows no sprint, and mode is Enforce; write a capacity above 0, or mode Observe"
    return [Problem(("spec", "budget", "capacityCoreSeconds"), message)]


def _warnings(policy: Policy) -> list[Problem]:
    raises_clock = policy.clock_maximum not in (None, "Base")
    if raises_clock or not policy.base.at_least_as_fast_as(policy.sprint):
        return []
    message = f"{format_cpu(policy.sprint.cores)} is no faster than the base: no job will gain from a sprint"
    return [Problem(("spec", "sprint", "cpu"), message)]
