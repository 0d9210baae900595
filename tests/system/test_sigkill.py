"""Runs that are killed at random instants leave nothing on this machine's control groups."""

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from kubesprint.adapters.linux import cgroup
from kubesprint.adapters.linux.plan import capability
from kubesprint.adapters.linux.pseudofs import PseudoFs
from system.kill_harness import told

COUNT = int(os.environ.get("KUBESPRINT_KILLS", "10"))
SEED = int(os.environ.get("KUBESPRINT_KILL_SEED", str(secrets.randbelow(1_000_000))))
EACH = 40  # seconds at most for one kill and all that follows, on a busy machine
FS = PseudoFs("/")
QUOTA = capability(FS, cgroup.discover(FS), "quota")
TESTS = Path(__file__).parents[1]

pytestmark = [
    pytest.mark.cgroups,
    pytest.mark.slow,
    pytest.mark.skipif(not QUOTA.possible, reason=f"needs the right to set CPU quotas: {QUOTA.reason}"),
    pytest.mark.timeout(120 + EACH * COUNT),
]


def harness(what: str, folder: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    """The kill harness in a process of its own: it forks runs of kubesprint."""
    command = [sys.executable, "-m", "system.kill_harness", what, str(folder / "runs"), str(folder), *more]
    return subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(TESTS)}, cwd=folder, capture_output=True, text=True
    )


def test_a_killed_run_leaves_nothing_and_its_jobs_alive(tmp_path: Path) -> None:
    done = harness("kills", tmp_path, str(COUNT), str(SEED))
    kills = told(tmp_path)
    assert not [kill for kill in kills if kill["problems"]], f"KUBESPRINT_KILL_SEED={SEED}\n{done.stdout}"
    assert (done.returncode, len(kills)) == (0, COUNT), done.stdout + done.stderr
    if COUNT >= 30:  # a third to a half of all kills meet them, but ten may all miss
        assert any(kill["survivors"] for kill in kills), "no kill met a running job"
        assert any(kill["sprinting"] for kill in kills), "no kill met a sprint"


def test_a_stopped_engine_loses_its_sprint_within_the_lease_and_one_period(tmp_path: Path) -> None:
    done = harness("silence", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads((tmp_path / "silence.json").read_text())
    assert answer["problems"] == []
    assert answer["seconds"] < answer["lease"] + answer["period"] + 2.0  # for a busy machine
