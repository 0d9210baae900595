"""A run started by the fork server is like one started afresh."""

import os
import signal
import sys
from pathlib import Path

import pytest

from kernel import forkserver


def test_the_child_has_the_arguments_a_session_and_an_output_of_its_own(tmp_path: Path) -> None:
    def program() -> int:
        assert os.environ["ADDED"] == "yes"
        print(sys.argv[1:], os.getsid(0) == os.getpid(), sys.stdin.read() == "")
        return 7

    log = tmp_path / "log"
    pid = forkserver.launch(program, ["run", "x"], output=log, environment={"ADDED": "yes"})
    assert forkserver.ended(pid, timeout=20) == 7
    assert log.read_text() == "['run', 'x'] True True\n"


@pytest.mark.parametrize(("answer", "status"), [(None, 0), (3, 3), ("refused", 1)])
def test_the_status_follows_the_interpreters_rules(answer: object, status: int, tmp_path: Path) -> None:
    pid = forkserver.launch(lambda: sys.exit(answer), [], output=tmp_path / "log")
    assert forkserver.ended(pid, timeout=20) == status
    assert ("refused" in (tmp_path / "log").read_text()) == (answer == "refused")


def test_an_error_surfaces_in_the_log_and_ends_the_child(tmp_path: Path) -> None:
    pid = forkserver.launch(lambda: 1 // 0, [], output=tmp_path / "log")
    assert forkserver.ended(pid, timeout=20) == 1
    assert "ZeroDivisionError" in (tmp_path / "log").read_text()


def test_a_killed_child_tells_its_signal(tmp_path: Path) -> None:
    pid = forkserver.launch(signal.pause, [], output=tmp_path / "log")
    os.kill(pid, signal.SIGKILL)
    assert forkserver.ended(pid, timeout=20) == -signal.SIGKILL
