"""Clocks: what is wished for is what the machine can do, and all of it is put back."""

import pytest

from adapters.linux.hardware_contract import restore
from adapters.linux.hardware_machines import ScriptedMachine
from kubesprint.adapters.linux.combined import CombinedHardware
from kubesprint.adapters.linux.cpufreq import ROOT, ClockHardware, names, open_clocks, read_policy, resolve
from kubesprint.adapters.linux.hardware import open_slots
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.adapters.virtual.scripted_cgroups import mount_v2
from kubesprint.adapters.virtual.scripted_cpufreq import ScriptedPolicy
from kubesprint.adapters.virtual.scripted_fs import ScriptedFs
from kubesprint.core.allocation import Allocation
from kubesprint.core.errors import Refused, Unavailable
from kubesprint.core.units import Cores
from kubesprint.engine.keeper_hand import read_back
from kubesprint.engine.ports import Address

TABLE = (1_200_000, 1_800_000, 2_400_000, 3_000_000, 3_500_000)


class Waiting:
    """A clock for reading back."""

    def __init__(self, kernel: ScriptedFs) -> None:
        self._kernel = kernel

    def now(self) -> float:
        return self._kernel.now

    def wait(self, duration: float) -> None:
        self._kernel.sleep(duration)


def machine(lag: float = 0.0) -> tuple[ScriptedFs, ScriptedPolicy, ClockHardware]:
    kernel = ScriptedFs()
    policy = ScriptedPolicy(kernel, 0, TABLE, lag=lag)
    ScriptedPolicy(kernel, 10, TABLE[:4], lag=lag)
    return kernel, policy, open_clocks(PseudoFs(kernel), "1800MHz", "Turbo")


def put(kernel: ScriptedFs, hardware: ClockHardware, knob: str, clock: float | None) -> dict[Address, str]:
    """Give a clock, value by value read back; what was found."""
    found = {}
    for write in hardware.writes(knob, None if clock is None else Allocation(Cores(1), clock)):
        found[write.address] = hardware.read(write.address)
        hardware.write(write)
        assert read_back(Waiting(kernel), hardware, write) == write.value  # type: ignore[arg-type]
    return found


def test_policies_are_taken_as_they_are_named() -> None:
    kernel, _, _ = machine()
    assert names(PseudoFs(kernel)) == ["policy0", "policy10"]


@pytest.mark.parametrize("lag", [0.0, 0.3])
def test_base_and_sprint_hold_and_a_restore_brings_the_first_limits_back(lag: float) -> None:
    kernel, policy, hardware = machine(lag)
    found = put(kernel, hardware, "policy0", None)
    assert policy.limits() == (1_200_000, 1_800_000)
    put(kernel, hardware, "policy0", 3_500_000 / 1_800_000)
    assert policy.limits() == (1_200_000, 3_500_000)
    policy.lag = 0.0
    restore(ScriptedMachine(kernel), found)
    assert policy.limits() == (TABLE[0], TABLE[-1])


def test_a_limit_found_at_the_bound_is_released_not_pinned() -> None:
    kernel, policy, hardware = machine()
    found = put(kernel, hardware, "policy0", None)
    restore(ScriptedMachine(kernel), found)
    policy.table.append(4_000_000)  # boost was switched on afterwards
    assert policy.limits()[1] == 4_000_000


def test_limits_never_cross_on_the_way() -> None:
    kernel, policy, hardware = machine()
    policy.governor = "powersave"  # rests on the lower limit, so both move
    put(kernel, hardware, "policy0", None)
    assert policy.limits() == (1_800_000, 1_800_000)
    up = hardware.writes("policy0", Allocation(Cores(1), 3_000_000 / 1_800_000))
    assert [write.address.name.rpartition("/")[2] for write in up] == ["scaling_max_freq", "scaling_min_freq"]
    put(kernel, hardware, "policy0", 3_000_000 / 1_800_000)
    down = hardware.writes("policy0", None)
    assert [write.address.name.rpartition("/")[2] for write in down] == [
        "scaling_min_freq",
        "scaling_max_freq",
    ]


def test_a_wish_is_clamped_to_bounds_and_table() -> None:
    _, _, hardware = machine()
    given, why = hardware.clamp("policy0", Allocation(Cores(1), 9.0))
    assert round(given.clock * 1_800_000) == 3_500_000
    assert "3500000" in why
    given, why = hardware.clamp("policy0", Allocation(Cores(1), 2_900_000 / 1_800_000))
    assert round(given.clock * 1_800_000) == 2_400_000
    assert "in steps" in why
    wish = Allocation(Cores(1), 3_000_000 / 1_800_000)
    assert hardware.clamp("policy0", wish) == (wish, "")


def test_symbols_are_resolved_per_policy() -> None:
    kernel, _, _ = machine()
    fs = PseudoFs(kernel)
    assert [resolve(read_policy(fs, name), "Turbo") for name in names(fs)] == [3_500_000, 3_000_000]
    assert resolve(read_policy(fs, "policy0"), "70%") == 2_400_000
    assert resolve(read_policy(fs, "policy0"), "2.4GHz") == 2_400_000
    for wish in ("fast", "2400", "-1%"):
        with pytest.raises(Refused, match="one of Base, Turbo"):
            resolve(read_policy(fs, "policy0"), wish)
    with pytest.raises(Refused, match="no base clock"):
        resolve(read_policy(fs, "policy0"), "Base")


def test_a_thrifty_preference_is_lifted_for_a_sprint_and_returns_with_its_end() -> None:
    kernel = ScriptedFs()
    bounds = (800_000, 4_000_000)
    policy = ScriptedPolicy(kernel, 0, bounds, driver="intel_pstate", preference="power", base=2_000_000)
    hardware = open_clocks(PseudoFs(kernel))
    put(kernel, hardware, "policy0", None)
    assert policy.preference == "power"
    put(kernel, hardware, "policy0", 2.0)
    assert (policy.preference, policy.limits()) == ("performance", (800_000, 4_000_000))
    put(kernel, hardware, "policy0", None)
    assert (policy.preference, policy.limits()) == ("power", (800_000, 2_000_000))


def test_a_policy_whose_cpus_are_offline_is_unavailable_not_refused() -> None:
    _, policy, hardware = machine()
    policy.online = False
    with pytest.raises(Unavailable, match="busy"):
        hardware.writes("policy0", None)


def test_a_machine_without_clocks_is_refused_with_the_reason() -> None:
    with pytest.raises(Refused, match="no cpufreq"):
        open_clocks(PseudoFs(ScriptedFs()))


def test_numbers_that_the_kernel_would_misread_are_never_written() -> None:
    kernel, _, hardware = machine()
    write = hardware.writes("policy0", None)[0]
    for value in ("0x249f00", "-1", "4294967295", "2400000 ", ""):
        with pytest.raises(Refused, match="frequency in kHz"):
            hardware.write(type(write)(write.address, value))
    assert [path for path, _ in kernel.written if path.startswith(ROOT)] == []


def test_slots_and_clocks_are_one_machine() -> None:
    kernel = mount_v2(ScriptedFs())
    ScriptedPolicy(kernel, 0, TABLE)
    fs = PseudoFs(kernel)
    slots = open_slots(fs, "run", 1, Allocation(Cores(0.4)), Allocation(Cores(1)))
    both = CombinedHardware([slots, open_clocks(fs, "1800MHz")])
    assert both.knobs() == ["slot-0", "policy0"]
    for write in (*slots.setup_writes(), *both.writes("policy0", None)):
        both.write(write)
        assert both.read(write.address) == write.value
