"""The hardware contract, on this machine and on kernels in memory."""

from collections.abc import Callable

import pytest

from adapters.linux.hardware_contract import CHECKS, RUN, Machine, unavailable
from adapters.linux.hardware_machines import RealMachine, ScriptedMachine
from kubesprint.adapters.virtual.scripted_cgroups import mount_v1, mount_v2
from kubesprint.adapters.virtual.scripted_fs import ScriptedFs

IN_MEMORY = {
    "v1": lambda: mount_v1(ScriptedFs()),
    "v2-root": lambda: mount_v2(ScriptedFs()),
    "v2-nested": lambda: mount_v2(ScriptedFs(), "/box"),
    "v2-systemd-root": lambda: mount_v2(ScriptedFs(), "/system.slice/kubesprint-7.scope", systemd=True),
    "v2-systemd-user": lambda: mount_v2(
        ScriptedFs(user=1000),
        "/user.slice/user-1000.slice/user@1000.service/app.slice/run-7.scope",
        systemd=True,
    ),
}
MECHANISMS = ("quota", "cpuset", "affinity")
Check = Callable[[Machine, str], None]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("kernel", IN_MEMORY)
def test_a_kernel_in_memory_keeps_the_contract(kernel: str, mechanism: str, check: Check) -> None:
    check(ScriptedMachine(IN_MEMORY[kernel]()), mechanism)


@pytest.mark.cgroups
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_this_machine_keeps_the_contract(mechanism: str, check: Check) -> None:
    machine = RealMachine(RUN)
    if why := unavailable(machine, mechanism):
        pytest.skip(f"{mechanism}: {why}")
    check(machine, mechanism)
