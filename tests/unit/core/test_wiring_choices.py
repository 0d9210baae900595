"""Which strategy a policy or a name means, and what a profile says of a kind."""

from dataclasses import replace

import pytest

from kubesprint.apps.wiring import kind_models, strategy_for
from kubesprint.core.allocation import Allocation
from kubesprint.core.budget import Budget
from kubesprint.core.deadline import LeastSprint
from kubesprint.core.errors import Refused
from kubesprint.core.forecast import Basis
from kubesprint.core.modeldriven import ModelDriven
from kubesprint.core.policy import FixedTimeout
from kubesprint.core.simulation import TriggerClock
from kubesprint.core.spec import Policy, ProfileFit, ProfilePoint, ProfileSpec, Statistic, TriggerRule
from kubesprint.core.units import FOREVER

POLICY = Policy(
    name="p",
    statistic=Statistic.MEAN,
    base=Allocation(0.4),
    sprint=Allocation(1.0),
    budget=Budget(capacity=10.0, refill=0.0),
    trigger_clock=TriggerClock.START,
)
DEADLINE = replace(POLICY, statistic=None, deadline=30.0)


def chosen(policy: Policy = POLICY, name: str | None = None) -> tuple[str, object]:
    return strategy_for(policy, name, None, 1, lambda text: float(text.removesuffix("s")))


def test_a_policy_names_its_strategy() -> None:
    never = replace(POLICY, trigger=TriggerRule.NEVER)
    assert chosen(never) == ("never", FixedTimeout(FOREVER, TriggerClock.START))
    assert chosen(replace(POLICY, trigger=0.0)) == ("always", FixedTimeout(0.0, TriggerClock.START))
    assert chosen(replace(POLICY, trigger=2.5)) == ("timeout:2.5s", FixedTimeout(2.5, TriggerClock.START))
    name, strategy = chosen(POLICY)
    assert name == "model-driven"
    assert isinstance(strategy, ModelDriven)
    assert chosen(DEADLINE) == ("least-sprint", LeastSprint())


def test_a_name_wins_over_the_policy() -> None:
    assert chosen(DEADLINE, "always") == ("always", FixedTimeout(0.0, TriggerClock.START))
    assert chosen(DEADLINE, "timeout:3s") == ("timeout:3s", FixedTimeout(3.0, TriggerClock.START))
    name, strategy = chosen(DEADLINE, "model-driven")  # a deadline names no statistic: the mean it is
    assert (name, type(strategy)) == ("model-driven", ModelDriven)


def test_an_unknown_name_is_refused_with_what_would_be_taken() -> None:
    with pytest.raises(Refused, match=r'"sometimes" is not a strategy; choose one of never, always'):
        chosen(POLICY, "sometimes")


def test_a_point_that_was_measured_is_used_as_it_is() -> None:
    profile = ProfileSpec(
        workload="f",
        points=(
            ProfilePoint(cores=0.4, runs=2, wall=10.0, cpu_time=4.0),
            ProfilePoint(cores=1.0, runs=2, wall=5.0, cpu_time=4.4),
        ),
        fit=ProfileFit(dispersion=0.3),
    )
    model = kind_models([profile], POLICY.base, POLICY.sprint)["f"]
    assert (model.work, model.cpu, model.rate) == (10.0, 4.0, 2.0)
    assert (model.deviation, model.basis, model.trusted) == (pytest.approx(3.0), Basis.PROFILE, True)


def test_elsewhere_the_white_box_answers() -> None:
    profile = ProfileSpec(workload="f", points=(ProfilePoint(cores=1.0, wall=4.0, cpu_time=4.0),))
    model = kind_models([profile], Allocation(0.5), Allocation(1.0))["f"]
    assert (model.work, model.rate) == (pytest.approx(8.0), pytest.approx(2.0))
    assert model.deviation == pytest.approx(0.2 * 8.0)


def test_a_sprint_that_was_measured_slower_counts_as_no_faster() -> None:
    profile = ProfileSpec(
        workload="f",
        points=(
            ProfilePoint(cores=1.0, wall=4.0, cpu_time=4.0),
            ProfilePoint(cores=2.0, wall=5.0, cpu_time=9.0),
        ),
    )
    assert kind_models([profile], Allocation(1.0), Allocation(2.0))["f"].rate == 1.0


def test_a_profile_without_points_leaves_its_kind_unknown() -> None:
    assert kind_models([ProfileSpec(workload="f")], POLICY.base, POLICY.sprint) == {}
