"""What a run writes about its turns, and what it does when it cannot write."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from kubesprint.adapters.files.results import EventLog, JobTable, read_events
from kubesprint.apps.run_log import RunLog
from kubesprint.core.errors import Unavailable
from kubesprint.core.policy import Trigger
from kubesprint.core.simulation import TriggerClock
from kubesprint.core.units import CoreSeconds, Seconds
from kubesprint.core.workload import JobState, JobView
from kubesprint.engine.roster import Ending
from kubesprint.engine.turn import Turn

ORIGIN = Seconds(100.0)


def log_in(folder: Path, arrived: Sequence[str] = ()) -> RunLog:
    events, table = EventLog(folder / "events.jsonl"), JobTable(folder / "jobs.csv")
    return RunLog(events, table, run="r", setting="s", origin=ORIGIN, arrived=arrived)


def turn(at: float, after: float, curve: Sequence[tuple[Seconds, float]]) -> Turn:
    trigger = Trigger(
        after=Seconds(after),
        clock=TriggerClock.ARRIVAL,
        needs_trust=True,
        basis="WhiteBox",
        sentence="",
        curve=curve,
    )
    return Turn(
        at=Seconds(ORIGIN + at),
        view=None,
        estimates={},
        trigger=trigger,
        decisions=(),
        directive=None,
        started=(),
        ended=(),
        troubles=(),
        next_look=Seconds(ORIGIN + at + 1),
    )


def test_curves_come_now_and_then_and_short(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    curve = [(Seconds(1 / 3), 12345.678), (Seconds(math.inf), 0.00012345678)]
    for at, after in ((0.0, 1.0), (0.5, 2.0), (0.9, 2.0), (1.9, 3.0), (2.1, 4.0)):
        log.record(turn(at, after, curve))
    events = list(read_events(tmp_path / "events.jsonl"))
    assert [(event["at"], event["after_seconds"]) for event in events] == [
        (0, 1),
        (0.5, 2),
        (1.9, 3),
        (2.1, 4),
    ]
    assert [event["at"] for event in events if "curve" in event] == [0, 2.1]
    assert events[0]["curve"] == [[0.3333, 12350.0], ["inf", 0.0001235]]


def view(name: str) -> JobView:
    return JobView(
        name=name, kind="k", state=JobState.FINISHED, arrival=ORIGIN, start=ORIGIN, end=Seconds(ORIGIN + 2)
    )


def test_an_arrival_is_told_once_even_by_a_resumed_run(tmp_path: Path) -> None:
    log = log_in(tmp_path, arrived=["a"])
    for name in ("a", "b", "b"):
        log.arrived(view(name))
    assert [event["job"] for event in read_events(tmp_path / "events.jsonl")] == ["b"]


def test_a_disk_that_fails_is_noted_once_and_breaks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise Unavailable("cannot write x: No space left on device")

    log = log_in(tmp_path)
    monkeypatch.setattr(EventLog, "append", full)
    monkeypatch.setattr(JobTable, "append", full)
    ending = Ending(at=Seconds(ORIGIN + 2), exit=0, cpu=CoreSeconds(1.0))
    log.warn(ORIGIN, "something else")
    log.ended(view("a"), ending)
    row = log.finished(view("a"), ending)
    assert log.records == [row]
    assert log.incomplete == "cannot write x: No space left on device"
    assert [text for text in log.warnings if "incomplete" in text] == [
        "results are incomplete from here on: cannot write x: No space left on device"
    ]
