"""The guest of the kernel rung: one boot for the whole session, made on first use."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from machines.guest.machine import Guest, GuestMissingError, built


@pytest.fixture(scope="session")
def guest(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """A machine with cgroup v2 and cpufreq: `guest.run(command_or_program, timeout)`.

    What it needs is installed and built where possible; where not, its tests are skipped with the reason.
    """
    capture = request.config.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    with capture.global_and_fixture_disabled():  # the first build takes a while: say what is going on
        try:
            folder = built()
        except GuestMissingError as problem:
            pytest.skip(str(problem))
    results: Path = tmp_path_factory.mktemp("guest-results")
    machine = Guest(folder=folder, results=results)
    yield machine
    machine.stop()
