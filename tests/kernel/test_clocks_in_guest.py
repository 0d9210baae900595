"""Our clocks on a real cpufreq: given, read back, and put back."""

import pytest

from machines.guest.machine import Guest

pytestmark = [pytest.mark.guest, pytest.mark.timeout(900)]

PROGRAM = """
import time
from kubesprint.adapters.linux.cpufreq import names, open_clocks, read_policy
from kubesprint.adapters.linux.hardware import hardware_for_restore
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.core.allocation import Allocation
from kubesprint.engine.keeper_hand import read_back
from kubesprint.engine.ports import Write
fs = PseudoFs()
class Clock:
    now, wait = staticmethod(time.monotonic), staticmethod(time.sleep)
def limits():
    policies = [read_policy(fs, name) for name in names(fs)]
    return [(p.minimum, p.maximum, p.governor) for p in policies]
before, found = limits(), {}
hardware = open_clocks(fs, "60%", "Turbo")
for given in (None, "sprint", None):
    for knob in hardware.knobs():
        wish = given and hardware.clamp(knob, hardware.sprint(knob, Allocation(1)))[0]
        for write in hardware.writes(knob, wish):
            found.setdefault(write.address, hardware.read(write.address))
            hardware.write(write)
            assert read_back(Clock, hardware, write) == write.value, write
    print([maximum for _, maximum, _ in limits()])
hardware = hardware_for_restore(fs, found)
for address, value in reversed(found.items()):
    hardware.write(Write(address, value))
    assert read_back(Clock, hardware, Write(address, value)) == value
assert limits() == before, (limits(), before)
"""


def test_clocks_are_given_read_back_and_put_back(guest: Guest) -> None:
    program = guest.results / "clocks.py"
    program.write_text(PROGRAM)
    done = guest.run("python3 /results/clocks.py", timeout=120)
    assert done.rc == 0, done.output
    base, sprint, again = done.output.splitlines()
    assert base == again == "[1800000, 1400000]"
    assert sprint == "[3500000, 2600000]"
