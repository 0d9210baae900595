"""The guest is the machine that the other kernel tests take it for."""

import pytest

from machines.guest.machine import CompletedGuest, Guest, GuestError

pytestmark = [pytest.mark.guest, pytest.mark.timeout(900)]  # the first of them builds and boots

SPINNER = r"""
set -e
cd /sys/fs/cgroup
echo +cpu > cgroup.subtree_control
mkdir probe
echo '30000 100000' > probe/cpu.max
(while :; do :; done) &
spinner=$!
echo $spinner > probe/cgroup.procs
python3 - <<'END'
import time
def used():
    return int(open("/sys/fs/cgroup/probe/cpu.stat").read().split()[1]) / 1e6
before, start = used(), time.monotonic()
time.sleep(3)
print((used() - before) / (time.monotonic() - start))
END
kill -9 $spinner
wait $spinner || true
rmdir probe
echo -cpu > cgroup.subtree_control
"""


def ok(done: CompletedGuest) -> str:
    """The output of a command that is to succeed."""
    assert done.rc == 0, done.output
    return done.output


def test_it_has_cgroup_v2_with_the_cpu_controller(guest: Guest) -> None:
    assert "cpu" in ok(guest.run("cat /sys/fs/cgroup/cgroup.controllers")).split()


def test_it_has_two_cpufreq_policies_with_tables_of_their_own(guest: Guest) -> None:
    policies = "/sys/devices/system/cpu/cpufreq/policy*"
    assert ok(guest.run(f"cat {policies}/scaling_driver")).split() == ["acpi-cpufreq"] * 2
    tables = ok(guest.run(f"cat {policies}/scaling_available_frequencies")).splitlines()
    assert [len(table.split()) for table in tables] == [5, 4]


def test_a_cpu_quota_holds_a_spinner_to_its_share(guest: Guest) -> None:
    assert 0.2 <= float(ok(guest.run(SPINNER)).split()[0]) <= 0.45


def test_our_package_and_its_libraries_import(guest: Guest) -> None:
    program = "import jinja2, pydantic, rich, typer, yaml, kubesprint; print(kubesprint.__file__)"
    assert ok(guest.run(f"python3 -c '{program}'")).strip() == "/checkout/operator/kubesprint/__init__.py"


def test_status_output_and_results_come_back(guest: Guest) -> None:
    done = guest.run("echo told; echo kept > /results/file; exit 7")
    assert (done.rc, done.output) == (7, "told\n")
    assert (guest.results / "file").read_text() == "kept\n"


def test_the_checkout_cannot_be_written_from_inside(guest: Guest) -> None:
    assert guest.run("touch /checkout/tests/trace").rc != 0


def test_a_command_without_end_costs_its_guest_and_the_next_has_a_fresh_one(guest: Guest) -> None:
    with pytest.raises(GuestError, match="half"):
        guest.run("touch /tmp/old; echo half; sleep 1000", timeout=5)
    assert ok(guest.run("ls /tmp")) == ""
