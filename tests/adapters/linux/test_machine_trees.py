"""Machines that we do not have here, read from folders."""

from pathlib import Path

import pytest

from kubesprint.adapters.linux import cgroup, cgroup_v2, cpufreq, plan
from kubesprint.adapters.linux.counters import average_clock, clocks, group_cpu_seconds, time_in_state
from kubesprint.adapters.linux.pseudofs import PseudoFs, RealKernel
from kubesprint.core.errors import Refused

TREES = Path(__file__).resolve().parents[2] / "machines" / "trees"


class Captured(RealKernel):
    """A captured tree, and the user that it was captured for."""

    def __init__(self, tree: str, user: int) -> None:
        super().__init__(str(TREES / tree))
        self._user = user

    def uid(self) -> int:
        return self._user


def machine(tree: str, user: int = 0) -> PseudoFs:
    return PseudoFs(Captured(tree, user))


def test_a_captured_virtual_machine_is_hybrid_with_its_controllers_in_v1() -> None:
    view = cgroup.discover(machine("v1-hybrid-vm"))
    assert view.kind == "hybrid"
    assert {name: at.version for name, at in view.controllers.items()} == {
        "cpu": 1,
        "cpuacct": 1,
        "cpuset": 1,
    }
    assert view.controllers["cpu"].own == "/sys/fs/cgroup/cpu"
    assert not view.systemd


def test_a_bare_v2_root_takes_slots_without_a_leaf() -> None:
    fs = machine("v2-root")
    able = plan.capability(fs, cgroup.discover(fs), "quota")
    assert able.place is not None
    assert (able.place.parent, able.place.origin, able.place.leaf) == (
        "/sys/fs/cgroup",
        "/sys/fs/cgroup",
        None,
    )
    assert group_cpu_seconds(fs, "/sys/fs/cgroup") == 1.0


def test_a_delegated_scope_takes_slots_beside_a_leaf_for_what_was_in_it() -> None:
    fs = machine("v2-systemd-user", 1000)
    view = cgroup.discover(fs)
    able = plan.capability(fs, view, "quota", "r")
    assert able.place is not None
    assert able.place.parent.endswith("/app.slice/kubesprint-1.scope")
    assert able.place.leaf == able.place.origin == f"{able.place.parent}/kubesprint-r-rest"
    assert cgroup_v2.delegation_prefix(fs, view, "r") is None, "we are in such a scope already"


def test_the_least_quota_above_us_is_the_limit() -> None:
    fs = machine("v2-systemd-user", 1000)
    assert cgroup_v2.ancestor_limit(fs, cgroup.discover(fs).controllers["cpu"].own) == 1.5


@pytest.mark.parametrize(("user", "words"), [(0, ["systemd-run"]), (1000, ["systemd-run", "--user"])])
def test_outside_of_a_delegated_scope_the_way_into_one_is_told(
    tmp_path: Path, user: int, words: list[str]
) -> None:
    tree = tmp_path / "tree"
    tree.symlink_to(TREES / "v2-systemd-user")
    fs = PseudoFs(Session(str(tree), user))
    view = cgroup.discover(fs)
    assert not plan.capability(fs, view, "quota").possible
    prefix = cgroup_v2.delegation_prefix(fs, view, "r7")
    assert prefix is not None
    assert list(prefix[: len(words)]) == words
    assert "--property=Delegate=yes" in prefix
    assert "--unit=kubesprint-r7" in prefix


class Session(Captured):
    """The same machine, seen from a login session, which belongs to systemd."""

    def read(self, path: str) -> str:
        return "0::/user.slice/user-1000.slice\n" if path == "/proc/self/cgroup" else super().read(path)

    def writable(self, path: str) -> bool:
        return self._user == 0


@pytest.mark.parametrize(
    ("tree", "name", "base", "turbo", "preference", "boost"),
    [
        ("intel-pstate", "policy0", 2_400_000, 4_800_000, "balance_power", None),
        ("intel-pstate", "policy1", 1_800_000, 3_600_000, "balance_power", None),
        ("amd-pstate-epp", "policy0", 3_700_000, 5_000_000, "performance", True),
        ("acpi-cpufreq", "policy2", None, 2_600_000, None, False),
    ],
)
def test_each_driver_tells_what_it_has(
    tree: str, name: str, base: int | None, turbo: int, preference: str | None, boost: bool | None
) -> None:
    policy = cpufreq.read_policy(machine(tree), name)
    assert (policy.base, policy.preference, policy.boost) == (base, preference, boost)
    assert cpufreq.resolve(policy, "Turbo") == turbo


def test_policies_are_read_one_by_one_and_powersave_means_what_the_driver_means() -> None:
    fs = machine("acpi-cpufreq")
    assert cpufreq.names(fs) == ["policy0", "policy2"]
    assert [cpufreq.read_policy(fs, name).follows_minimum for name in cpufreq.names(fs)] == [False, True]
    assert not cpufreq.read_policy(machine("intel-pstate"), "policy0").follows_minimum
    assert clocks(fs) == {"policy0": 3_500_000, "policy2": 2_600_000}


def test_the_mean_clock_comes_from_the_time_in_each_state() -> None:
    now = time_in_state(machine("acpi-cpufreq"), "policy0")
    assert now is not None
    assert average_clock(dict.fromkeys(now, 0.0), now) == round((3_500_000 * 1 + 1_200_000 * 3) / 4)  # type: ignore[arg-type]
    assert average_clock(now, now) is None
    assert time_in_state(machine("acpi-cpufreq"), "policy2") is None


def test_a_machine_without_clocks_says_so() -> None:
    with pytest.raises(Refused, match="no cpufreq"):
        cpufreq.open_clocks(machine("v1-hybrid-vm"))
