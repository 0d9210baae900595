"""A whole `kubesprint run` moves the clocks of a real kernel, and leaves them as found, killed or not."""

from pathlib import Path

import pytest

from kernel.guest_verdicts import expect_ok, told
from machines.guest.machine import Guest

pytestmark = [pytest.mark.guest, pytest.mark.slow, pytest.mark.timeout(900)]

PROGRAM = Path(__file__).parent / "guest_clock_run.py"
CHECKS = (
    "clocks_are_held_at_base_raised_in_sprints_and_put_back_at_the_end",
    "without_a_sprint_the_clocks_stay_at_base",
    "a_killed_engine_leaves_clocks_as_found",
    "a_killed_keeper_leaves_clocks_as_found_and_the_run_ends_well",
    "both_killed_and_restored",
    "a_stopped_engine_loses_its_clock_with_the_lease",
)


@pytest.mark.parametrize("check", CHECKS)
def test_a_run_raises_clocks_and_leaves_them_as_found(guest: Guest, check: str) -> None:
    expect_ok(told(guest, PROGRAM, timeout=300), check)


def test_a_policy_that_this_machine_cannot_keep_is_refused_before_anything_starts(guest: Guest) -> None:
    policy = "/checkout/examples/policy.yaml"
    edit = 's/sprint: {cpu: "1"}/sprint: {cpu: "1", clock: {maximum: Turbo}}/'
    run = "python3 -m kubesprint run --policy /tmp/p.yaml --out /tmp/refused-clock -- true"
    done = guest.run(f"sed '{edit}' {policy} > /tmp/p.yaml; {run}; echo rc $?; ls /tmp/refused-clock")
    assert "rc 2" in done.output
    assert "spec.base.clock Base: policy0: acpi-cpufreq has no base clock to tell; name one" in done.output
    assert "No such file" in done.output
