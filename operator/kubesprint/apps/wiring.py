"""How the parts of an engine are chosen from what the user asked for."""

import random
from collections.abc import Callable, Mapping, Sequence
from itertools import count

from kubesprint.apps.simulators import PLAIN
from kubesprint.core.allocation import Allocation
from kubesprint.core.batch import Evaluator
from kubesprint.core.deadline import LeastSprint
from kubesprint.core.errors import Refused
from kubesprint.core.forecast import Basis, Forecaster, KindModel, prior
from kubesprint.core.futures import Dice
from kubesprint.core.modeldriven import ModelDriven, SearchSettings
from kubesprint.core.policy import FixedTimeout, Strategy
from kubesprint.core.simulation import SimJob
from kubesprint.core.spec import Policy, ProfileSpec, TriggerRule
from kubesprint.core.speedup import Measured, SpeedFit, fit
from kubesprint.core.units import FOREVER, CoreSeconds, Seconds

STRATEGIES = "never, always, timeout:DURATION, model-driven"
UNKNOWN_DISPERSION = 0.2  # of a kind whose profile does not say
NEAR = 1.05  # allocations closer than this are the same point of a profile


def strategy_for(
    policy: Policy,
    name: str | None,
    forecaster: Forecaster | None,
    seed: int,
    parse_duration: Callable[[str], Seconds],
    announced: Sequence[SimJob] | None = None,
    evaluator: Evaluator = PLAIN.evaluator,
) -> tuple[str, Strategy]:
    """The strategy that a policy names, or `--strategy` instead, and what to call it.

    Args:
        policy: its trigger and objective decide when `name` is None.
        name: one of `STRATEGIES`.
        forecaster: the model-driven strategy asks it for kinds; None to learn the name only.
        seed: of the dice that sample future arrivals.
        parse_duration: reads the duration of `timeout:DURATION`.
        announced: the true future, for the labelled clairvoyant bound only.
        evaluator: simulates the candidates of the model-driven strategy.

    Raises:
        Refused: the name is none of `STRATEGIES`.
    """
    clock = policy.trigger_clock
    if name is None:
        name = _strategy_name(policy)
    if name == "never":
        return name, FixedTimeout(FOREVER, clock)
    if name == "always":
        return name, FixedTimeout(Seconds(0.0), clock)
    if name.startswith("timeout:"):
        return name, FixedTimeout(parse_duration(name.removeprefix("timeout:")), clock)
    if name == "least-sprint":
        return name, LeastSprint()
    if name != "model-driven":
        raise Refused(f'--strategy: "{name}" is not a strategy; choose one of {STRATEGIES}')
    settings = (
        SearchSettings(clock=clock)
        if policy.statistic is None
        else SearchSettings(clock=clock, statistic=policy.statistic)
    )
    return name, ModelDriven(evaluator, _models_of(forecaster), new_dice_each_time(seed), settings, announced)


def _strategy_name(policy: Policy) -> str:
    if policy.trigger is TriggerRule.NEVER:
        return "never"
    if isinstance(policy.trigger, TriggerRule):
        return "model-driven" if policy.deadline is None else "least-sprint"
    return "always" if policy.trigger <= 0 else f"timeout:{policy.trigger:g}s"


def kind_models(
    profiles: Sequence[ProfileSpec],
    base: Allocation,
    sprint: Allocation,
    clock_of: Callable[[str], float | None] = {"Base": 1.0}.get,
) -> Mapping[str, KindModel]:
    """The measured profiles as models of their kinds.

    Where a point was measured at an allocation it is used as it is; elsewhere the white box that the
    points were fitted to answers. A profile without points says nothing, and its kind stays unknown.

    Args:
        profiles: as their documents have them.
        base: the policy's.
        sprint: the policy's, with the clock that it means here.
        clock_of: a point's clock relative to the base clock; points where that is None do not count.
    """
    models = {}
    for profile in profiles:
        measured = _measured(profile, clock_of)
        if not measured:
            continue
        fitted = fit(measured)
        wall_base, wall_sprint = (_wall(measured, fitted, allocation) for allocation in (base, sprint))
        spread = profile.fit.dispersion if profile.fit is not None else None
        models[profile.workload] = KindModel(
            kind=profile.workload,
            work=wall_base,
            deviation=Seconds(wall_base * (UNKNOWN_DISPERSION if spread is None else spread)),
            cpu=_cpu(measured, fitted, base),
            rate=max(1.0, wall_base / wall_sprint),
            basis=Basis.PROFILE,
            samples=0,
            sprint_cpu=_clock_gain(measured, fitted, base, sprint),
        )
    return models


def _measured(profile: ProfileSpec, clock_of: Callable[[str], float | None]) -> list[Measured]:
    """The points whose clock means something here."""
    return [
        Measured(allocation=Allocation(p.cores, clock), wall=p.wall, cpu=CoreSeconds(p.cpu_time), runs=p.runs)
        for p in profile.points
        if (clock := clock_of(p.clock)) is not None
    ]


def _wall(points: Sequence[Measured], fitted: SpeedFit, allocation: Allocation) -> Seconds:
    point = _point(points, allocation)
    return point.wall if point is not None else Seconds(fitted.work * fitted.model.time(allocation))


def _cpu(points: Sequence[Measured], fitted: SpeedFit, allocation: Allocation) -> CoreSeconds:
    point = _point(points, allocation)
    return fitted.work if point is None else point.cpu


def _clock_gain(points: Sequence[Measured], fitted: SpeedFit, base: Allocation, sprint: Allocation) -> float:
    """Work that a CPU second of a sprint does for its clock: as measured, else by the white box."""
    if sprint.clock == base.clock:
        return 1.0
    slow, fast = _point(points, base), _point(points, sprint)
    if slow is not None and fast is not None and slow.cpu > 0 and fast.cpu > 0:
        return slow.cpu / fast.cpu
    return fitted.model.speedup(Allocation(sprint.cores, base.clock), sprint)


def _point(points: Sequence[Measured], allocation: Allocation) -> Measured | None:
    """The measured point at this many cores and this clock."""

    def distance(point: Measured) -> float:
        own = point.allocation
        return max(
            own.cores / allocation.cores,
            allocation.cores / own.cores,
            own.clock / allocation.clock,
            allocation.clock / own.clock,
        )

    return min((p for p in points if distance(p) <= NEAR), key=distance, default=None)


def new_dice_each_time(seed: int) -> Callable[[], Dice]:
    """Other samples for every choice, the same for every run of a seed.

    Within one choice all candidates see the same samples. From choice to choice they must differ: the
    bias of a few samples, kept, would push every choice of a run the same way.
    """
    choices = count()
    return lambda: random.Random(f"{seed}/{next(choices)}").random


def _models_of(forecaster: Forecaster | None) -> Callable[[str], KindModel]:
    if forecaster is not None:
        return forecaster.model
    return lambda kind: prior(kind, 1.0)
