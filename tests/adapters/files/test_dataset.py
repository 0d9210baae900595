"""A dataset says exactly what was measured, or refuses the run that it cannot tell truly."""

import csv
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kubesprint.adapters.files.dataset import read_run, write_dataset
from kubesprint.adapters.files.results import EVENTS, JOBS, EventLog, read_jobs
from kubesprint.core.errors import Corrupt, Refused
from kubesprint.core.units import Seconds
from run_folders import RunFolder, a_record, a_run_event

TEN = [
    "run",
    "setting",
    "kind",
    "arrival_seconds",
    "start_seconds",
    "end_seconds",
    "cpu_seconds",
    "sprint_seconds",
    "sprint_start_seconds",
    "sprint_cpu_seconds",
]


def settings_of(dataset: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (dataset / "settings.jsonl").read_text().splitlines()]


def a_run(folder: Path, change: Callable[[dict[str, Any]], object] | None = None, **options: Any) -> Path:
    """A run folder whose run event was changed."""
    run = RunFolder(folder, **options).queue(6)
    if change is not None:
        change(run.events[0][2])
    return run.write()


def test_a_run_becomes_a_setting_in_sprint_seconds(tmp_path: Path) -> None:
    write_dataset([a_run(tmp_path / "run")], tmp_path / "data")
    (setting,) = settings_of(tmp_path / "data")
    duration = setting.pop("duration_seconds")
    assert setting == {
        "run": "run-1",
        "setting": "timeout-6",
        "split": "train",
        "mechanism": {
            "name": "quota-0.4-1-1t",
            "knob": "quota",
            "threads": 1,
            "base_cores": 0.4,
            "sprint_cores": 1.0,
        },
        "servers": 1,
        "timeout_seconds": 6.0,
        "clock": "arrival",
        "capacity_sprint_seconds": pytest.approx(20.0),  # 12 core-seconds at 0.6 a second
        "refill_per_second": pytest.approx(1 / 6),
        "refill_rule": "paused",
        "hysteresis_sprint_seconds": 0.2,
        "arrivals": "trace",
        "repeat": 0,
    }
    assert duration == max(record.end or 0.0 for record in read_jobs(tmp_path / "run" / JOBS))


def test_jobs_keep_their_columns_and_digits(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "run")
    write_dataset([folder], tmp_path / "data")
    with (tmp_path / "data" / "jobs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:10] == TEN
    assert read_jobs(tmp_path / "data" / "jobs.csv") == read_jobs(folder / JOBS)
    assert any(row["sprint_start_seconds"] == "" for row in rows)


@pytest.mark.parametrize(("timeout", "written"), [(math.inf, None), (0.0, 0.0), (6.0, 6.0)])
def test_never_is_null_and_always_is_zero(tmp_path: Path, timeout: float, written: float | None) -> None:
    write_dataset([a_run(tmp_path / "run", timeout=timeout)], tmp_path / "data")
    assert settings_of(tmp_path / "data")[0]["timeout_seconds"] == written


@pytest.mark.parametrize(
    ("mechanism", "knob", "threads"),
    [
        ("cgroup v2 quota", "quota", 1),
        ("affinity", "cores", 1),
        ("cpuset", "cores", 1),
        ({"name": "quota", "threads": 4}, "quota", 4),
    ],
)
def test_mechanisms_by_their_knob(tmp_path: Path, mechanism: object, knob: str, threads: int) -> None:
    folder = a_run(tmp_path / "run", lambda event: event.update(mechanism=mechanism))
    written = read_run(folder).setting["mechanism"]
    assert (written["knob"], written["threads"]) == (knob, threads)


def test_the_same_rules_and_arrivals_again_are_a_repeat(tmp_path: Path) -> None:
    first = RunFolder(tmp_path / "a", run="one").queue(6)
    again = RunFolder(tmp_path / "b", run="two").queue(6)
    again.records = [replace(record, end=Seconds((record.end or 0.0) + 0.5)) for record in again.records]
    runs = write_dataset([first.write(), again.write()], tmp_path / "data")
    assert [(r.setting["setting"], r.setting["repeat"]) for r in runs] == [("timeout-6", 0), ("timeout-6", 1)]


def test_other_arrivals_or_rules_under_one_name_become_settings_of_their_own(tmp_path: Path) -> None:
    folders = [
        RunFolder(tmp_path / "a").queue(6, seed=1).write(),
        RunFolder(tmp_path / "b").queue(6, seed=2).write(),
        RunFolder(tmp_path / "c").queue(6, seed=1, slots=2).write(),
    ]
    write_dataset(folders, tmp_path / "data")
    settings = settings_of(tmp_path / "data")
    assert [s["setting"] for s in settings] == ["timeout-6", "timeout-6-2", "timeout-6-3"]
    assert [s["run"] for s in settings] == ["run-1", "run-1-2", "run-1-3"]
    assert [s["repeat"] for s in settings] == [0, 0, 0]
    rows = read_jobs(tmp_path / "data" / "jobs.csv")
    assert {(row.run, row.setting) for row in rows} == {(s["run"], s["setting"]) for s in settings}


def test_one_run_given_twice_is_refused(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "run")
    with pytest.raises(Refused, match="holds the same run"):
        write_dataset([folder, folder], tmp_path / "data")


def test_the_split_is_what_was_asked(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "run")
    write_dataset([folder], tmp_path / "data", split="test")
    assert settings_of(tmp_path / "data")[0]["split"] == "test"
    with pytest.raises(Refused, match="train or test"):
        write_dataset([folder], tmp_path / "other", split="validate")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "Observe"}, "mode Observe"),
        ({"mechanism": "magic"}, "mechanism 'magic'"),
        ({"sprint": {"cores": 0.4, "clock": 1.5}}, "raises the clock"),
        ({"base": {}}, "no base.cores"),
        ({"budget": None}, "no budget"),
        ({"clock": None}, "clock of the time-out is not recorded"),
        ({"clock": "Lunch"}, "clock of the time-out is Lunch"),
    ],
)
def test_what_the_format_cannot_tell_is_refused_by_name(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    folder = a_run(tmp_path / "run", lambda event: event.update(change))
    with pytest.raises(Refused, match=message) as refusal:
        write_dataset([folder], tmp_path / "data")
    assert str(folder) in str(refusal.value)
    assert not (tmp_path / "data").exists()


def with_events(folder: Path, *events: tuple[float, str, dict[str, Any]]) -> Path:
    with EventLog(folder / EVENTS, resume=True) as log:
        for at, type_, fields in events:
            log.append(at, type_, **fields)
    return folder


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ((9.0, "run", {"run": "run-1"}), "interrupted and resumed"),
        ((9.0, "arrived", {"job": "late-1", "kind": "svm"}), r"1 jobs never ended \(late-1\)"),
        ((9.0, "decision", {"job": "forest-1", "reason": "DeadlineAtRisk"}), "by deadlines"),
        ((9.0, "decision", {"job": "forest-1", "reason": "NoKeeper"}), r"withheld \(NoKeeper\)"),
        ((9.0, "decision", {"job": "forest-1", "reason": "NotSelected"}), r"withheld \(NotSelected\)"),
    ],
)
def test_a_run_without_one_constant_setting_is_refused(
    tmp_path: Path, event: tuple[float, str, dict[str, Any]], message: str
) -> None:
    folder = with_events(a_run(tmp_path / "run"), event)
    with pytest.raises(Refused, match=message):
        read_run(folder)


# --- one time-out, or many --------------------------------------------------------------------------


def model_driven(folder: Path, chosen: dict[float, float], decisions: str, clock: str = "Arrival") -> Path:
    """A run: time-outs by instant, and decisions as lines `job arrival start end: reason@at`."""
    run = RunFolder(folder, setting="model-driven", timeout=6.0)
    run.add(0.0, "run", **a_run_event(setting="model-driven", strategy="model-driven", clock=clock))
    for at, after in chosen.items():
        run.add(at, "trigger", after_seconds=after, basis="WhiteBox", sentence="")
    for line in decisions.strip().splitlines():
        head, _, told = line.strip().partition(":")
        name, *times = head.split()
        arrival, start, end = map(float, times)
        run.add(arrival, "arrived", job=name, kind="k")
        run.add(start, "started", job=name, slot="slot-0")
        for word in told.split():
            reason, _, at = word.partition("@")
            run.add(float(at), "decision", job=name, verb="Hold", reason=reason, sentence="", inputs={})
        run.add(end, "finished", job=name, exit=0, response_seconds=end - arrival, cpu_seconds=1.0)
        times_ = {"arrival": Seconds(arrival), "start": Seconds(start), "end": Seconds(end)}
        run.records.append(a_record(name=name, kind="k", setting="model-driven", **times_))
    run.add(run.records[-1].end or 0.0, "ended", status="finished")
    return run.write()


CHANGING = {0.0: 6.0, 5.0: 3.0, 12.0: math.inf}
ONE = """
    a  1  2  9: BeforeTrigger@2 TriggerReached@7.01
    b  4  9 14: BeforeTrigger@9 BudgetShort@10.02 TriggerReached@11
    c 20 21 23: BeforeTrigger@21
"""


def test_decisions_that_one_time_out_explains_are_a_setting(tmp_path: Path) -> None:
    (run,) = write_dataset([model_driven(tmp_path / "run", CHANGING, ONE)], tmp_path / "data", split="test")
    assert run.setting["timeout_seconds"] == 6.0  # 3 s would have let a sprint at 4, and never nobody
    assert (run.setting["split"], "strategy" in run.setting) == ("test", False)


@pytest.mark.parametrize(
    ("chosen", "decisions", "timeout"),
    [
        ({0.0: 6.0, 5.0: 3.0}, "a 0 1 4: Never@1", 6.0),  # both explain it: the one that held longer
        ({0.0: 3.0, 1.0: 5.0, 9.0: 2.5}, "a 0 1 9: BeforeTrigger@1 TriggerReached@4", 4.0),  # neither does
        ({0.0: math.inf}, "a 0 1 9: TriggerReached@1", 1.0),  # an exception for one job is no time-out
        ({0.0: 1.0, 1.0: 2.0}, "a 0 5 9: Untrusted@5", None),
        ({0.0: 0.0, 1.0: 2.0}, "a 0 5 9: TriggerReached@5", 2.0),
    ],
)
def test_the_effective_time_out(
    tmp_path: Path, chosen: dict[float, float], decisions: str, timeout: float | None
) -> None:
    folder = model_driven(tmp_path / "run", chosen, decisions)
    assert read_run(folder).setting["timeout_seconds"] == timeout


def test_ages_count_from_the_clock_of_the_run(tmp_path: Path) -> None:
    decisions = "a 0 5 9: TriggerReached@5\n b 1 9 14: TriggerReached@9"
    assert read_run(model_driven(tmp_path / "a", {0.0: 1.0}, decisions)).setting["timeout_seconds"] == 1.0
    started = model_driven(tmp_path / "b", {0.0: 1.0}, decisions, clock="Start")
    assert read_run(started).setting["timeout_seconds"] == 0.0


TWO = "a 1 2 9: BeforeTrigger@2 TriggerReached@7\n b 4 9 14: BeforeTrigger@9 TriggerReached@13"


@pytest.mark.parametrize(
    "decisions",
    [
        TWO,
        "a 1 2 9: TriggerReached@2 BeforeTrigger@7",  # let go again, as nobody waits
        "a 1 2 9: TriggerReached@2\n b 1 9 14: Untrusted@9",
    ],
)
def test_decisions_of_many_time_outs_are_refused_with_a_way_out(tmp_path: Path, decisions: str) -> None:
    folder = model_driven(tmp_path / "run", CHANGING, decisions)
    with pytest.raises(
        Refused, match=r"changed during the run \(3, 6, inf s\).*--changing-timeouts"
    ) as refusal:
        write_dataset([folder], tmp_path / "data")
    assert str(folder) in str(refusal.value)
    assert not (tmp_path / "data").exists()


def test_a_run_of_many_time_outs_can_be_taken_in_but_not_as_a_setting(tmp_path: Path) -> None:
    folders = [model_driven(tmp_path / "run", CHANGING, TWO), a_run(tmp_path / "fixed", run="run-2")]
    write_dataset(folders, tmp_path / "data", split="train", changing=True)
    many, fixed = settings_of(tmp_path / "data")
    assert (many["split"], many["strategy"], many["timeout_seconds"]) == ("excluded", "model-driven", None)
    assert many["capacity_sprint_seconds"] == pytest.approx(20.0)
    assert (fixed["split"], "strategy" in fixed, fixed["timeout_seconds"]) == ("train", False, 6.0)


@pytest.mark.parametrize(
    ("status", "message"), [(None, "the run is not over"), ("interrupted", "is interrupted")]
)
def test_a_run_that_did_not_finish_is_refused(tmp_path: Path, status: str | None, message: str) -> None:
    run = RunFolder(tmp_path / "run").queue(4)
    run.events = [event for event in run.events if event[1] != "ended"]
    if status:
        run.add(99.0, "ended", status=status)
    with pytest.raises(Refused, match=message):
        read_run(run.write())


@pytest.mark.parametrize("timeout", [0.0, math.inf])
def test_never_and_always_need_no_clock(tmp_path: Path, timeout: float) -> None:
    folder = a_run(tmp_path / "run", lambda event: event.update(clock=None), timeout=timeout)
    assert read_run(folder).setting["clock"] == "arrival"


def test_a_folder_that_mixes_runs_is_refused(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "run")
    text = (folder / JOBS).read_text()
    (folder / JOBS).write_text(text.replace("run-1,", "run-9,", 1))
    with pytest.raises(Refused, match="mixes 2 runs"):
        read_run(folder)


def test_damage_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    good, bad = a_run(tmp_path / "good"), a_run(tmp_path / "bad")
    text = (bad / JOBS).read_text().splitlines()
    text[2] = text[2].replace("run-1,timeout-6,boosting,", "run-1,timeout-6,boosting,x")
    (bad / JOBS).write_text("\n".join(text) + "\n")
    with pytest.raises(Corrupt, match=r"bad/jobs\.csv, line 3, arrival_seconds"):
        write_dataset([good, bad], tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_dataset_that_exists_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.txt").write_text("precious")
    with pytest.raises(Refused, match="not an empty folder"):
        write_dataset([a_run(tmp_path / "run")], tmp_path / "data")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_a_place_to_write(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write_dataset([a_run(tmp_path / "run")], tmp_path / "data")
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["jobs.csv", "settings.jsonl"]


def test_failed_jobs_stay_and_are_counted(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run").queue(6, failing=(2,)).write()
    (run,) = write_dataset([folder], tmp_path / "data")
    assert run.failed == 1
    assert len(run.records) == 6
