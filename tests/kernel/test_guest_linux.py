"""The Linux adapters on a real kernel with cgroup v2 and cpufreq.

The checks run inside the guest, many in one program, because starting a program there is what costs time.
Here each of them is a test of its own.
"""

from functools import cache
from pathlib import Path

import pytest

from adapters.linux.hardware_contract import CHECKS as CONTRACT
from kernel.guest_linux import CHECKS as CLOCKS
from machines.guest.machine import CompletedGuest, Guest, GuestError

pytestmark = [pytest.mark.guest, pytest.mark.timeout(900)]

HERE = Path(__file__).parent
MECHANISMS = ("quota", "cpuset", "affinity")
PLACES = {"root": "", "nested": "box"}  # our group: the true root, or a group in it as in a container


def contract(group: str) -> str:
    """The command that checks the hardware contract."""
    return f"python3 -m adapters.linux.contract_main {group}"


@cache
def done(guest: Guest, command: str | Path) -> CompletedGuest:
    """The one run of a program, by the first test that asks for it. One without end is not tried again."""
    try:
        return guest.run(command, timeout=240)
    except GuestError as problem:
        return CompletedGuest(rc=-1, output=f"{problem.output}\n{problem}")


def passed(told: CompletedGuest, check: str) -> None:
    """Fail with what the program said, unless it said that this check is well."""
    if f"ok {check}" not in told.output.splitlines():
        pytest.fail(told.output[max(told.output.find(f"failed {check}"), 0) :], pytrace=False)


@pytest.mark.parametrize("check", [check.__name__ for check in CONTRACT])
@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("place", PLACES)
def test_cgroup_v2_keeps_the_hardware_contract(guest: Guest, place: str, mechanism: str, check: str) -> None:
    passed(done(guest, contract(PLACES[place])), f"{mechanism} {check}")


@pytest.mark.parametrize("check", [check.__name__ for check in CLOCKS])
def test_cpufreq_takes_our_values_and_gets_its_own_back(guest: Guest, check: str) -> None:
    passed(done(guest, HERE / "guest_linux.py"), check)


def test_nothing_is_left_in_the_guest(guest: Guest) -> None:
    for group in PLACES.values():
        assert done(guest, contract(group)).rc == 0
    left = guest.run("cat /sys/fs/cgroup/cgroup.subtree_control; find /sys/fs/cgroup -mindepth 1 -type d")
    assert left.output.split() == []
