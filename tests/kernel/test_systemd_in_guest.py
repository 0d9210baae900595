"""A whole `kubesprint run` under a real systemd: in a scope of its own, as root and as an ordinary user."""

from pathlib import Path

import pytest

from kernel.guest_verdicts import expect_ok, told
from machines.guest.machine import Guest

pytestmark = [pytest.mark.guest, pytest.mark.slow, pytest.mark.timeout(1800)]

PROGRAM = Path(__file__).parent / "guest_systemd_run.py"
CHECKS = (
    "root_runs_in_a_delegated_scope",
    "a_killed_run_of_root_is_restored_from_outside_its_scope",
    "a_user_without_a_manager_is_refused_with_what_to_do",
    "a_user_runs_in_a_delegated_scope",
    "a_killed_run_of_a_user_is_restored_from_outside_its_scope",
    "doctor_tells_the_way",
)


def test_its_init_is_systemd_and_the_commands_run_in_a_service(systemd_guest: Guest) -> None:
    done = systemd_guest.run("cat /proc/1/comm /proc/self/cgroup; systemctl is-system-running")
    assert done.output.split() == ["systemd", "0::/system.slice/guest.service", "running"]


@pytest.mark.parametrize("check", CHECKS)
def test_a_run_divides_a_scope_of_its_own_and_leaves_nothing(systemd_guest: Guest, check: str) -> None:
    expect_ok(told(systemd_guest, PROGRAM, timeout=1500), check)
