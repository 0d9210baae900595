"""The guest of the kernel rung: one boot for the whole session, made on first use."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from machines.guest.machine import Guest, GuestMissingError, built, built_with_systemd

Temporary = pytest.TempPathFactory


@pytest.fixture(scope="session")
def guest(request: pytest.FixtureRequest, tmp_path_factory: Temporary) -> Iterator[Guest]:
    """A machine with cgroup v2 and cpufreq: `guest.run(command_or_program, timeout)`.

    What it needs is installed and built where possible; where not, its tests are skipped with the reason.
    """
    folder = _made(request, built)
    yield from _running(Guest(folder=folder, results=tmp_path_factory.mktemp("guest-results")))


@pytest.fixture(scope="session")
def systemd_guest(request: pytest.FixtureRequest, tmp_path_factory: Temporary) -> Iterator[Guest]:
    """The same machine with systemd as its init: commands run in a service."""
    folder = _made(request, built)
    systemd = _made(request, lambda: built_with_systemd(folder))
    results = tmp_path_factory.mktemp("systemd-guest-results")
    yield from _running(Guest(folder=folder, results=results, systemd=systemd))


def _made(request: pytest.FixtureRequest, build: Callable[[], Path]) -> Path:
    capture = request.config.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    with capture.global_and_fixture_disabled():  # the first build takes a while: say what is going on
        try:
            return build()
        except GuestMissingError as problem:
            pytest.skip(str(problem))


def _running(machine: Guest) -> Iterator[Guest]:
    yield machine
    machine.stop()
