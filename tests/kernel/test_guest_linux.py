"""Our Linux adapters on the real cpufreq of a real kernel.

The checks run inside the guest, all in one program, because starting a program there is what costs time. Here
each of them is a test of its own.
"""

from functools import cache
from pathlib import Path

import pytest

from kernel.guest_linux import CHECKS
from machines.guest.machine import CompletedGuest, Guest, GuestError

pytestmark = [pytest.mark.guest, pytest.mark.timeout(900)]

PROGRAM = Path(__file__).parent / "guest_linux.py"


@cache
def told(guest: Guest) -> CompletedGuest:
    """The one run of the program, by the first test that asks for it. One without end is not tried again."""
    try:
        return guest.run(PROGRAM, timeout=120)
    except GuestError as problem:
        return CompletedGuest(rc=-1, output=f"{problem.output}\n{problem}")


@pytest.mark.parametrize("check", [check.__name__ for check in CHECKS])
def test_cpufreq_takes_our_values_and_gets_its_own_back(guest: Guest, check: str) -> None:
    output = told(guest).output
    if f"ok {check}" not in output.splitlines():
        pytest.fail(output[max(output.find(f"failed {check}"), 0) :], pytrace=False)
