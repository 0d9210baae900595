"""Whole runs on cgroup v2, in its root and without systemd: sprinted, silenced, killed at random instants."""

import json
import os
import secrets
from typing import Any

import pytest

from machines.guest.machine import Guest
from system.kill_harness import told

COUNT = int(os.environ.get("KUBESPRINT_GUEST_KILLS", "4"))
SEED = int(os.environ.get("KUBESPRINT_KILL_SEED", str(secrets.randbelow(1_000_000))))
EACH = 120  # seconds at most for one kill and all that follows, on a busy machine
HARNESS = "python3 -m system.kill_harness"

pytestmark = [pytest.mark.guest, pytest.mark.slow, pytest.mark.timeout(300 + EACH * COUNT)]


def answer_of(guest: Guest, what: str) -> Any:
    """What a measurement of the harness wrote. Runs live in the guest's memory: its disk is slow."""
    done = guest.run(f"{HARNESS} {what} /tmp/{what} /results", timeout=180)
    assert done.rc == 0, done.output
    return json.loads((guest.results / f"{what}.json").read_text())


def test_a_whole_run_holds_jobs_at_base_sprints_them_and_leaves_nothing(guest: Guest) -> None:
    answer = answer_of(guest, "whole")
    assert answer["problems"] == []
    assert len(answer["never"]) == len(answer["always"]) == 2  # jobs that ended
    assert all(0.25 < cores < 0.5 for cores in answer["never"]), answer
    assert min(answer["always"]) > 1.2 * max(answer["never"]), answer
    assert answer["doctor"] == 0
    assert "cpu in /sys/fs/cgroup (v2)" in answer["said"]
    assert "no control group of ours is left" in answer["said"]


def test_a_stopped_engine_loses_its_sprint_within_the_lease_and_one_period(guest: Guest) -> None:
    answer = answer_of(guest, "silence")
    assert answer["problems"] == []
    assert answer["seconds"] < answer["lease"] + answer["period"] + 3.0  # emulation on a busy machine


def test_a_killed_run_leaves_nothing_and_its_jobs_alive(guest: Guest) -> None:
    done = guest.run(f"{HARNESS} kills /tmp/kills /results {COUNT} {SEED}", timeout=120 + EACH * COUNT)
    kills = told(guest.results)
    assert not [kill for kill in kills if kill["problems"]], f"KUBESPRINT_KILL_SEED={SEED}\n{done.output}"
    assert (done.rc, len(kills)) == (0, COUNT), done.output
