"""What a policy's sprint clock means on a machine: moved, only said, or refused with the remedy."""

from dataclasses import replace

import pytest

from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.adapters.virtual.scripted_cpufreq import ROOT, ScriptedPolicy
from kubesprint.adapters.virtual.scripted_fs import ScriptedFs
from kubesprint.apps.clocks import base_clock_only, choose_clocks
from kubesprint.core.allocation import Allocation
from kubesprint.core.budget import Budget
from kubesprint.core.errors import Refused
from kubesprint.core.spec import Mode, Policy, Statistic
from kubesprint.core.units import Cores, CoreSeconds

POLICY = Policy(
    name="p",
    mode=Mode.ENFORCE,
    statistic=Statistic.MEAN,
    base=Allocation(Cores(0.4)),
    sprint=Allocation(Cores(1.0)),
    base_clock="2GHz",
    clock_maximum="Turbo",
    budget=Budget(capacity=CoreSeconds(10.0), refill=Cores(0.0)),
)
SLOTS = {"slot-0": frozenset({0}), "slot-1": frozenset({0, 1})}


def machine() -> ScriptedFs:
    kernel = ScriptedFs(cpus=2)
    ScriptedPolicy(kernel, 0, (1_000_000, 2_000_000, 4_000_000))
    ScriptedPolicy(kernel, 1, (1_000_000, 2_000_000, 3_000_000))
    return kernel


def test_the_sprint_has_the_mean_clock_and_each_slot_the_domains_of_its_cpus() -> None:
    choice = choose_clocks(PseudoFs(machine()), POLICY, SLOTS)
    assert choice.policy.sprint == Allocation(Cores(1.0), 1.75)
    assert choice.clocks is not None
    assert [[d.knob for d in domains] for domains in choice.clocks.use.values()] == [
        ["policy0"],
        ["policy0", "policy1"],
    ]
    assert choice.clocks.wishes == ("2GHz", "Turbo")
    assert choice.clocks.document()["policy1"] == {
        "cpus": [1],
        "base_khz": 2_000_000,
        "sprint_khz": 3_000_000,
    }


def test_a_profiles_clocks_are_told_relative_to_the_base() -> None:
    clocks = choose_clocks(PseudoFs(machine()), POLICY, SLOTS).clocks
    assert clocks is not None
    assert [clocks.ratio(text) for text in ("Base", "Turbo", "50%")] == [1.0, 1.75, 0.75]
    assert clocks.ratio("nonsense") is None
    assert [base_clock_only(text) for text in ("Base", "Turbo")] == [1.0, None]


def test_without_cpufreq_sprints_raise_cores_only_and_say_so() -> None:
    choice = choose_clocks(PseudoFs(ScriptedFs()), POLICY, SLOTS)
    assert (choice.policy, choice.clocks) == (POLICY, None)
    assert "spec.sprint.clock: Turbo" in choice.warnings[0]
    assert "no cpufreq" in choice.warnings[0]
    assert "cores only" in choice.warnings[0]


def test_without_cpufreq_a_sprint_of_the_clock_alone_is_refused() -> None:
    with pytest.raises(Refused, match=r"spec\.sprint\.clock: Turbo.*no cpufreq.*raises nothing else"):
        choose_clocks(PseudoFs(ScriptedFs()), replace(POLICY, sprint=POLICY.base), SLOTS)


def test_a_base_that_the_driver_does_not_tell_is_refused_with_field_and_remedy() -> None:
    with pytest.raises(Refused, match=r"spec\.base\.clock Base: policy0: acpi-cpufreq.*2400MHz or 80%"):
        choose_clocks(PseudoFs(machine()), replace(POLICY, base_clock="Base"), SLOTS)


def test_no_right_is_refused_under_enforce_and_does_not_matter_to_who_observes() -> None:
    kernel = machine()
    kernel.faults.forbidden = (ROOT,)
    with pytest.raises(Refused, match="run as root"):
        choose_clocks(PseudoFs(kernel), POLICY, SLOTS)
    watched = choose_clocks(PseudoFs(kernel), replace(POLICY, mode=Mode.RECOMMEND), SLOTS)
    assert watched.policy.sprint.clock == 1.75


def test_who_observes_is_warned_of_what_would_be_refused() -> None:
    watched = choose_clocks(PseudoFs(machine()), replace(POLICY, mode=Mode.OBSERVE, base_clock="Base"), SLOTS)
    assert watched.policy.sprint.clock == 1.0
    assert "no base clock" in watched.warnings[0]


@pytest.mark.parametrize("wish", [None, "Base"])
def test_no_sprint_clock_leaves_clocks_alone(wish: str | None) -> None:
    asked = replace(POLICY, clock_maximum=wish)
    choice = choose_clocks(PseudoFs(machine()), asked, SLOTS)
    assert (choice.policy, choice.clocks, choice.warnings) == (asked, None, ())
