"""Our Linux adapters on the real cpufreq of a real kernel.

The checks run inside the guest, all in one program, because starting a program there is what costs time. Here
each of them is a test of its own.
"""

from pathlib import Path

import pytest

from kernel.guest_linux import CHECKS
from kernel.guest_verdicts import expect_ok, told
from machines.guest.machine import Guest

pytestmark = [pytest.mark.guest, pytest.mark.timeout(900)]

PROGRAM = Path(__file__).parent / "guest_linux.py"


@pytest.mark.parametrize("check", [check.__name__ for check in CHECKS])
def test_cpufreq_takes_our_values_and_gets_its_own_back(guest: Guest, check: str) -> None:
    expect_ok(told(guest, PROGRAM, timeout=120), check)
