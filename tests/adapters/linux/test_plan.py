"""What is refused, and what it says; what is chosen, and why."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesprint.adapters.linux import cpulist
from kubesprint.adapters.linux.addresses import Target
from kubesprint.adapters.linux.hardware import open_slots
from kubesprint.adapters.linux.plan import SlotPlan
from kubesprint.adapters.linux.pseudofs import PseudoFs, translate
from kubesprint.adapters.virtual.scripted_cgroups import mount_v1, mount_v2
from kubesprint.adapters.virtual.scripted_fs import ScriptedFs
from kubesprint.apps.doctor import examine
from kubesprint.core.allocation import Allocation
from kubesprint.core.errors import Gone, Refused, Unavailable
from kubesprint.core.units import Cores
from kubesprint.engine.ports import Address


def cores(number: float) -> Allocation:
    return Allocation(Cores(number))


def no_right(kernel: ScriptedFs) -> ScriptedFs:
    kernel.faults.forbidden = ("/sys/fs/cgroup",)
    return kernel


@pytest.mark.parametrize("mount", [mount_v1, mount_v2])
def test_a_share_of_a_core_without_the_right_is_refused_and_says_how_to_get_it(mount: object) -> None:
    kernel = no_right(mount(ScriptedFs()))  # type: ignore[operator]
    with pytest.raises(Refused, match=r"no right to write /sys/fs/cgroup.*run as root.*whole cores"):
        open_slots(PseudoFs(kernel), "r", 1, cores(0.4), cores(1))


def test_whole_cores_without_the_right_fall_back_to_affinity_and_say_so() -> None:
    slots = open_slots(PseudoFs(no_right(mount_v1(ScriptedFs()))), "r", 1, cores(1), cores(2))
    assert slots.plan.mechanism == "affinity"
    assert ["no right to write" in note and "affinity" in note for note in slots.notes] == [True]


def test_a_read_only_mount_is_named() -> None:
    kernel = mount_v1(ScriptedFs())
    mounts = kernel.files["/proc/self/mountinfo"]
    mounts.text = mounts.text.replace(" rw,nosuid ", " ro,nosuid ")
    with pytest.raises(Refused, match="/sys/fs/cgroup/cpu is mounted read-only"):
        open_slots(PseudoFs(kernel), "r", 1, cores(0.4), cores(1))


def test_a_sprint_beyond_the_machine_is_cut_with_a_note_and_refused_when_nothing_is_left() -> None:
    fs = PseudoFs(mount_v2(ScriptedFs(cpus=2)))
    slots = open_slots(fs, "r", 1, cores(0.4), cores(4))
    assert slots.plan.sprint == 2
    assert "2 CPUs" in slots.notes[0]
    with pytest.raises(Refused, match="no room to sprint"):
        open_slots(fs, "r", 1, cores(2), cores(4))


@pytest.mark.parametrize("run_id", ["", "../up", "a b", "a/b", "x" * 65])
def test_a_run_id_that_is_no_name_is_refused(run_id: str) -> None:
    with pytest.raises(Refused, match="run id"):
        open_slots(PseudoFs(mount_v1(ScriptedFs())), run_id, 1, cores(0.4), cores(1))


def test_only_groups_of_ours_can_be_addressed() -> None:
    name = "group:/sys/fs/cgroup/system.slice from /sys/fs/cgroup"
    with pytest.raises(Refused, match="not ours"):
        Target.of(Address("slot-0", name))


def test_a_plan_survives_the_way_to_another_process() -> None:
    plan = open_slots(PseudoFs(mount_v1(ScriptedFs())), "r", 3, cores(0.4), cores(9)).plan
    assert SlotPlan.from_json(plan.to_json()) == plan


@given(st.frozensets(st.integers(0, 200)))
def test_a_list_of_cpus_is_read_as_it_is_spelled(cpus: frozenset[int]) -> None:
    assert cpulist.parse(cpulist.spell(cpus)) == cpus


@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 6), st.integers(0, 5))
def test_more_cores_of_a_slot_include_the_fewer(cpus: int, sprint: int, base: int, slot: int) -> None:
    base, sprint = min(base, cpus), min(max(base, sprint), cpus)
    fs = PseudoFs(ScriptedFs(cpus=cpus))
    slots = open_slots(fs, "r", 6, cores(base), cores(sprint), mechanism="affinity")
    few = cpulist.parse(slots.writes(f"slot-{slot}", None)[0].value)
    many = cpulist.parse(slots.writes(f"slot-{slot}", cores(sprint))[0].value)
    assert (len(few), len(many)) == (base, sprint)
    assert few <= many


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        (errno.EACCES, Refused, "run as root"),
        (errno.EROFS, Refused, "/sys/fs/cgroup is mounted read-only"),
        (errno.EINVAL, Refused, "does not take this value"),
        (errno.ENOENT, Gone, "does not offer it"),
        (errno.EBUSY, Unavailable, "try again"),
    ],
)
def test_errors_of_the_kernel_say_what_to_do(code: int, kind: type[Exception], said: str) -> None:
    kernel = mount_v2(ScriptedFs())
    kernel.faults.writes = {1: code}
    path = "/sys/fs/cgroup/cgroup.subtree_control"
    with pytest.raises(kind, match=said) as caught:
        PseudoFs(kernel).write(path, "+cpu")
    assert path in str(caught.value)
    assert type(caught.value) is type(translate(OSError(code, ""), path, ""))


def test_doctor_gives_every_capability_with_its_reason_and_changes_nothing() -> None:
    kernel = no_right(mount_v1(ScriptedFs()))
    before = kernel.tree()
    findings = {finding.name: finding for finding in examine(PseudoFs(kernel))}
    assert all(finding.reason for finding in findings.values())
    assert not findings["quota"].possible
    assert findings["affinity"].possible
    assert not findings["cpufreq"].possible
    assert {"cgroups", "cpuset", "delegation", "pressure", "pidfd", "state folder"} <= findings.keys()
    assert kernel.tree() == before
