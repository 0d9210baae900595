"""How the parts of an engine are chosen from what the user asked for."""

import random
from collections.abc import Callable, Mapping, Sequence
from itertools import count

from kubesprint.core.allocation import Allocation
from kubesprint.core.deadline import LeastSprint
from kubesprint.core.errors import Refused
from kubesprint.core.events import simulate_servers
from kubesprint.core.forecast import Basis, Forecaster, KindModel, prior
from kubesprint.core.futures import Dice
from kubesprint.core.modeldriven import ModelDriven, SearchSettings
from kubesprint.core.policy import FixedTimeout, Strategy
from kubesprint.core.simulation import SimJob
from kubesprint.core.spec import Policy, ProfilePoint, ProfileSpec, TriggerRule
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
) -> tuple[str, Strategy]:
    """The strategy that a policy names, or `--strategy` instead, and what to call it.

    Args:
        policy: its trigger and objective decide when `name` is None.
        name: one of `STRATEGIES`.
        forecaster: the model-driven strategy asks it for kinds; None to learn the name only.
        seed: of the dice that sample future arrivals.
        parse_duration: reads the duration of `timeout:DURATION`.
        announced: the true future, for the labelled clairvoyant bound only.

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
    return name, ModelDriven(
        simulate_servers, _models_of(forecaster), _new_dice_each_time(seed), settings, announced
    )


def _strategy_name(policy: Policy) -> str:
    if policy.trigger is TriggerRule.NEVER:
        return "never"
    if isinstance(policy.trigger, TriggerRule):
        return "model-driven" if policy.deadline is None else "least-sprint"
    return "always" if policy.trigger <= 0 else f"timeout:{policy.trigger:g}s"


def kind_models(
    profiles: Sequence[ProfileSpec], base: Allocation, sprint: Allocation
) -> Mapping[str, KindModel]:
    """The measured profiles as models of their kinds.

    Where a point was measured at an allocation it is used as it is; elsewhere the white box that the
    points were fitted to answers. A profile without points says nothing, and its kind stays unknown.
    """
    models = {}
    for profile in profiles:
        if not profile.points:
            continue
        fitted = fit(
            [
                Measured(
                    allocation=Allocation(p.cores), wall=p.wall, cpu=CoreSeconds(p.cpu_time), runs=p.runs
                )
                for p in profile.points
            ]
        )
        wall_base, wall_sprint = (_wall(profile, fitted, allocation) for allocation in (base, sprint))
        spread = profile.fit.dispersion if profile.fit is not None else None
        models[profile.workload] = KindModel(
            kind=profile.workload,
            work=wall_base,
            deviation=Seconds(wall_base * (UNKNOWN_DISPERSION if spread is None else spread)),
            cpu=_cpu(profile, fitted, base),
            rate=max(1.0, wall_base / wall_sprint),
            basis=Basis.PROFILE,
            samples=0,
        )
    return models


def _wall(profile: ProfileSpec, fitted: SpeedFit, allocation: Allocation) -> Seconds:
    point = _point(profile, allocation)
    return point.wall if point is not None else Seconds(fitted.work * fitted.model.time(allocation))


def _cpu(profile: ProfileSpec, fitted: SpeedFit, allocation: Allocation) -> CoreSeconds:
    point = _point(profile, allocation)
    return fitted.work if point is None else CoreSeconds(point.cpu_time)


def _point(profile: ProfileSpec, allocation: Allocation) -> ProfilePoint | None:
    """The measured point at this many cores."""
    near = [p for p in profile.points if max(p.cores / allocation.cores, allocation.cores / p.cores) <= NEAR]
    return min(near, key=lambda p: abs(p.cores - allocation.cores), default=None)


def _new_dice_each_time(seed: int) -> Callable[[], Dice]:
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
