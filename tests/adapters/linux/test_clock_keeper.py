"""A keeper with slots and clocks on a kernel in memory: raised by leases, and put back as found."""

import errno

import pytest

from adapters.linux.test_clocks import TABLE, Waiting
from kubesprint.adapters.linux.combined import CombinedHardware
from kubesprint.adapters.linux.cpufreq import ROOT, open_clocks
from kubesprint.adapters.linux.hardware import hardware_for_restore, open_slots
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.adapters.virtual.hardware import MemoryJournal
from kubesprint.adapters.virtual.scripted_cgroups import mount_v2
from kubesprint.adapters.virtual.scripted_cpufreq import ScriptedBoost, ScriptedPolicy
from kubesprint.adapters.virtual.scripted_fs import ScriptedFs
from kubesprint.core.allocation import Allocation
from kubesprint.core.errors import Gone, Refused
from kubesprint.core.lease import Directive, Grant
from kubesprint.core.reasons import Reason
from kubesprint.core.units import Cores
from kubesprint.engine.keeper import NodeKeeper
from kubesprint.engine.keeper_restore import put_back
from kubesprint.engine.ports import Report

RAISED = 3_500_000 / 1_800_000


class Machine:
    """One slot and one clock, found at limits that are not the bounds."""

    def __init__(self, *, lag: float = 0.0, boost: bool = False, sprint: str = "Turbo") -> None:
        self.kernel = mount_v2(ScriptedFs())
        self.policy = ScriptedPolicy(self.kernel, 0, TABLE, lag=lag)
        self.boost = ScriptedBoost(self.kernel, {self.policy: (4_000_000, 4_200_000)}) if boost else None
        self.kernel.write(f"{ROOT}/policy0/scaling_max_freq", "3000000")
        self.kernel.write(f"{ROOT}/policy0/scaling_min_freq", "1800000")
        self.kernel.now += 1.0
        self.found = self.kernel.tree()
        self.journal = MemoryJournal()
        fs = PseudoFs(self.kernel)
        slots = open_slots(fs, "run", 1, Allocation(Cores(0.4)), Allocation(Cores(1)))
        clocks = open_clocks(fs, "1800MHz", sprint, slots.sprint_cpus("slot-0"))
        self.clocks = clocks
        self.keeper = NodeKeeper(Waiting(self.kernel), CombinedHardware([clocks, slots]), self.journal, "run")
        first = clocks.setup_writes()
        self.keeper.open([*first, *slots.setup_writes()], moved=[write.address for write in first])

    def grant(self, clock: float, sequence: int = 1) -> Report:
        both = (
            Grant(grant="g", knob="slot-0", allocation=Allocation(Cores(1)), lease=5.0),
            Grant(grant="g", knob="policy0", allocation=Allocation(Cores(1), clock), lease=5.0),
        )
        self.keeper.receive(Directive(run="run", epoch=1, sequence=sequence, grants=both))
        return self.keeper.step()


@pytest.mark.parametrize("lag", [0.0, 0.12])
def test_a_clock_is_at_base_raised_by_a_lease_and_back_at_its_end(lag: float) -> None:
    machine = Machine(lag=lag)
    assert machine.policy.limits() == (1_200_000, 1_800_000)
    report = machine.grant(RAISED)
    assert {knob: r.outcome for knob, r in report.knobs.items()} == dict.fromkeys(
        ("policy0", "slot-0"), Reason.APPLIED
    )
    assert machine.policy.limits()[1] == 3_500_000
    machine.kernel.now += 6.0
    report = machine.keeper.step()
    assert report.knobs["policy0"].outcome is Reason.LEASE_ENDED
    assert machine.policy.limits() == (1_200_000, 1_800_000)
    assert report.knobs["policy0"].at <= report.knobs["slot-0"].at  # who pays is charged until both are back


def test_everything_is_put_back_exactly_by_the_keeper() -> None:
    machine = Machine()
    machine.grant(RAISED)
    machine.keeper.release()
    assert machine.keeper.restore().complete
    assert machine.kernel.tree() == machine.found


@pytest.mark.parametrize("boost", [False, True])
def test_everything_is_put_back_exactly_from_the_journal_alone(boost: bool) -> None:
    machine = Machine(boost=boost)
    machine.grant(RAISED)
    hardware = hardware_for_restore(PseudoFs(machine.kernel), machine.journal.found())
    assert put_back(Waiting(machine.kernel), hardware, machine.journal).complete
    assert machine.kernel.tree() == machine.found


def test_boost_is_on_while_the_run_lasts_and_the_limits_hold_the_base() -> None:
    machine = Machine(boost=True)
    assert machine.boost is not None
    assert machine.boost.on
    assert machine.policy.limits() == (1_200_000, 1_800_000)
    assert machine.clocks.plan.sprints == {"policy0": 4_200_000}
    machine.grant(4_200_000 / 1_800_000)
    assert machine.policy.limits()[1] == 4_200_000
    machine.keeper.release()
    assert machine.keeper.restore().complete
    assert not machine.boost.on
    assert machine.kernel.tree() == machine.found


@pytest.mark.parametrize(("wish", "on"), [("2400MHz", False), ("80%", False), ("4000MHz", True)])
def test_boost_is_left_alone_where_the_sprint_clock_does_without(wish: str, on: bool) -> None:
    machine = Machine(boost=True, sprint=wish)
    assert machine.boost is not None
    assert machine.boost.on is on


def test_a_run_that_switched_boost_caps_nobody_who_switches_it_later() -> None:
    kernel = ScriptedFs()
    policy = ScriptedPolicy(kernel, 0, TABLE)
    boost = ScriptedBoost(kernel, {policy: (4_200_000,)})
    journal, clocks = MemoryJournal(), open_clocks(PseudoFs(kernel), "1800MHz")
    first = clocks.setup_writes()
    keeper = NodeKeeper(Waiting(kernel), clocks, journal, "run")
    keeper.open(first, moved=[write.address for write in first])
    assert keeper.restore().complete
    assert not boost.on
    kernel.write(f"{ROOT}/boost", "1")
    assert policy.limits()[1] == 4_200_000


def test_heat_clamps_a_sprint_and_the_report_says_so() -> None:
    machine = Machine()
    machine.policy.thermal = 2_400_000
    report = machine.grant(RAISED)
    assert report.knobs["policy0"].outcome is Reason.CLAMPED
    assert "2400000 instead of 3500000" in report.knobs["policy0"].detail
    assert report.knobs["slot-0"].outcome is Reason.APPLIED  # the cores sprint all the same


def test_somebody_elses_limit_is_left_and_ends_the_clock_only() -> None:
    machine = Machine()
    machine.grant(RAISED)
    machine.kernel.write(f"{ROOT}/policy0/scaling_max_freq", "2400000")
    report = machine.grant(RAISED, sequence=2)
    assert (report.knobs["policy0"].outcome, report.knobs["policy0"].grant) == (Reason.CONFLICT, None)
    assert report.knobs["slot-0"].grant == "g"
    machine.keeper.release()
    left = machine.keeper.restore().left
    assert "scaling_max_freq was set to 2400000 by somebody else" in left[0]
    assert machine.policy.limits()[1] == 2_400_000


def test_a_policy_whose_cpus_went_offline_gives_no_clock_but_the_slot_sprints() -> None:
    machine = Machine()
    machine.policy.online = False
    report = machine.grant(RAISED)
    assert report.knobs["policy0"].grant is None
    assert "busy" in report.knobs["policy0"].detail
    assert report.knobs["slot-0"].grant == "g"


def test_a_refused_boost_undoes_the_opening() -> None:
    kernel = ScriptedFs()
    policy = ScriptedPolicy(kernel, 0, TABLE)
    ScriptedBoost(kernel, {policy: (4_200_000,)})
    clocks = open_clocks(PseudoFs(kernel), "1800MHz")
    found, file = kernel.tree(), kernel.files[f"{ROOT}/boost"]

    def refuse(text: str) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    file.store = refuse
    keeper = NodeKeeper(Waiting(kernel), clocks, MemoryJournal(), "run")
    with pytest.raises(Refused, match="boost"):
        keeper.open(clocks.setup_writes())
    assert kernel.tree() == found


def test_boost_that_nobody_can_size_is_refused_with_the_way_out() -> None:
    kernel = ScriptedFs()
    ScriptedBoost(kernel, {ScriptedPolicy(kernel, 0, TABLE): (4_200_000,)}, told=False)
    with pytest.raises(Refused, match=r"boost, which is off.*switch it on \(.*/boost\).*up to 3500000 kHz"):
        open_clocks(PseudoFs(kernel), "1800MHz")
    assert open_clocks(PseudoFs(kernel), "1800MHz", "3GHz").plan.switches == ()


def test_no_right_to_write_a_clock_is_refused_and_only_where_somebody_will() -> None:
    kernel = ScriptedFs()
    ScriptedPolicy(kernel, 0, TABLE)
    kernel.faults.forbidden = (ROOT,)
    with pytest.raises(Refused, match=r"no right to write .*scaling_max_freq: run as root"):
        open_clocks(PseudoFs(kernel), "1800MHz")
    assert open_clocks(PseudoFs(kernel), "1800MHz", acting=False).knobs() == ("policy0",)


def test_a_sprint_clock_that_is_no_higher_is_refused() -> None:
    kernel = ScriptedFs()
    ScriptedPolicy(kernel, 0, TABLE, driver="intel_pstate", preference="default", base=3_500_000)
    with pytest.raises(Refused, match=r"Turbo \(3500000 kHz\) is not above the base clock Base"):
        open_clocks(PseudoFs(kernel))
    kernel.put("/sys/devices/system/cpu/intel_pstate/no_turbo", "1\n")
    with pytest.raises(Refused, match=r"turbo is off: write 0 to .*no_turbo"):
        open_clocks(PseudoFs(kernel))


def test_only_the_clocks_of_the_cpus_in_use_are_moved() -> None:
    kernel = ScriptedFs()
    for number in (0, 2):
        ScriptedPolicy(kernel, number, TABLE)
    fs = PseudoFs(kernel)
    assert open_clocks(fs, "1800MHz", "Turbo", frozenset({2, 3})).knobs() == ("policy2",)
    with pytest.raises(Gone, match="no cpufreq"):
        open_clocks(fs, "1800MHz", "Turbo", frozenset({3}))


def test_a_policy_whose_cpus_are_offline_is_nobodys_clock() -> None:
    kernel = ScriptedFs()
    ScriptedPolicy(kernel, 0, TABLE)
    ScriptedPolicy(kernel, 1, TABLE).online = False
    assert open_clocks(PseudoFs(kernel), "1800MHz").knobs() == ("policy0",)
