"""Under systemd a run starts itself in a scope of its own: where that helps, once, and only as a program."""

import subprocess
from collections.abc import Iterator, Sequence

import pytest

from kubesprint.adapters.linux import cgroup, cgroup_v2
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.adapters.virtual.scripted_cgroups import mount_v2
from kubesprint.adapters.virtual.scripted_fs import ScriptedFs
from kubesprint.apps import delegation
from kubesprint.apps.delegation import PROGRAM, TRIED, Program, enter_scope
from kubesprint.core.errors import Refused

MANAGER = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service"


class Recorded(Program):
    """A program that says how it would be started again."""

    def __init__(self) -> None:
        super().__init__()
        self.prefixes: list[Sequence[str]] = []

    def start_again(self, prefix: Sequence[str]) -> None:
        self.prefixes.append(prefix)


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """The trial commands; systemd always makes the scope."""
    commands: list[Sequence[str]] = []

    def run(command: Sequence[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(delegation.subprocess, "run", run)
    return commands


@pytest.fixture
def program() -> Iterator[Recorded]:
    made = Recorded()
    token = PROGRAM.set(made)
    yield made
    PROGRAM.reset(token)


def managed(user: int = 0, controllers: str = "cpu memory pids") -> PseudoFs:
    """A machine whose groups systemd manages."""
    kernel = mount_v2(ScriptedFs(user=user))
    kernel.put("/run/systemd/system/x", "")
    kernel.put(f"{MANAGER}/cgroup.controllers", controllers)
    return PseudoFs(kernel)


@pytest.mark.parametrize(("user", "flags"), [(0, ["--scope"]), (1000, ["--user", "--scope"])])
def test_a_program_under_systemd_starts_itself_in_a_delegated_scope(
    program: Recorded, tried: list[Sequence[str]], user: int, flags: list[str]
) -> None:
    enter_scope("auto", managed(user))
    (prefix,) = program.prefixes
    assert list(prefix[: 1 + len(flags)]) == ["systemd-run", *flags]
    assert "--property=Delegate=yes" in prefix
    assert len(tried) == 1  # it was tried before the program gave itself up


def test_it_does_so_once(program: Recorded, tried: list[Sequence[str]]) -> None:
    enter_scope("auto", managed())
    enter_scope("auto", managed())
    assert len(program.prefixes) == len(tried) == 1


def test_one_that_was_started_again_does_not_and_tells_its_jobs_nothing(
    monkeypatch: pytest.MonkeyPatch, tried: list[Sequence[str]]
) -> None:
    monkeypatch.setenv(TRIED, "1")
    again = Recorded()
    assert TRIED not in delegation.os.environ
    token = PROGRAM.set(again)
    enter_scope("auto", managed())
    PROGRAM.reset(token)
    assert not again.prefixes
    assert not tried


def test_a_caller_in_the_same_process_is_never_replaced(tried: list[Sequence[str]]) -> None:
    assert PROGRAM.get() is None
    enter_scope("auto", managed())
    assert not tried


def test_where_systemd_is_not_or_affinity_is_asked_for_nothing_is_tried(
    program: Recorded, tried: list[Sequence[str]]
) -> None:
    enter_scope("affinity", managed())
    assert not tried
    enter_scope("auto", PseudoFs(mount_v2(ScriptedFs())))
    assert not tried
    assert not program.prefixes


def test_where_systemd_says_no_the_program_goes_on(
    program: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(delegation.subprocess, "run", missing)
    enter_scope("auto", managed())
    assert not program.prefixes


def test_a_user_to_whom_nothing_is_delegated_is_told_who_can_change_that(
    program: Recorded, tried: list[Sequence[str]]
) -> None:
    fs = managed(1000, controllers="memory pids")
    enter_scope("auto", fs)
    assert not tried
    with pytest.raises(Refused, match=r"cpu: systemd does not delegate it.*systemctl edit user@\.service"):
        cgroup_v2.place(fs, cgroup.discover(fs), "cpu", "r")
