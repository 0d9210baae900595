"""The hardware contract on a real cgroup v2: in its root, and in a group like a container's or a scope's."""

import pytest

from machines.guest.machine import Guest

pytestmark = [pytest.mark.guest, pytest.mark.timeout(900)]

RUN = "cd /tmp && PYTHONPATH=/checkout/operator:/checkout/tests python3 -m adapters.linux.contract_main"


@pytest.mark.parametrize("group", ["", "box"], ids=["root", "nested"])
def test_cgroup_v2_keeps_the_contract(guest: Guest, group: str) -> None:
    done = guest.run(f"{RUN} {group}", timeout=300)
    assert done.rc == 0, done.output
    assert done.output.count("ok ") == 21
