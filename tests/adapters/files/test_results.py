"""The logs of a run folder survive a kill, keep every digit, and never hide damage."""

import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubesprint.adapters.files.facts import load_average, machine_facts
from kubesprint.adapters.files.results import (
    COLUMNS,
    EventLog,
    JobTable,
    finite,
    number,
    read_events,
    read_jobs,
)
from kubesprint.adapters.files.summary import (
    quantile,
    read_summary,
    summarise,
    summary_document,
    write_summary,
)
from kubesprint.core.errors import Corrupt, Refused, Unavailable
from kubesprint.core.records import JobRecord
from kubesprint.core.units import CoreSeconds, Seconds
from run_folders import MACHINE, a_record

amounts = st.floats(min_value=0, max_value=1e9, allow_nan=False)
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=12)


def records() -> st.SearchStrategy[JobRecord]:
    return st.builds(
        JobRecord,
        run=words,
        setting=words,
        kind=words,
        name=words,
        arrival=amounts.map(Seconds),
        start=st.none() | amounts.map(Seconds),
        end=st.none() | amounts.map(Seconds),
        cpu=st.none() | amounts.map(CoreSeconds),
        sprint=amounts.map(Seconds),
        sprint_start=st.none() | amounts.map(Seconds),
        sprint_cpu=amounts.map(CoreSeconds),
        exit=st.none() | st.integers(0, 255),
        predicted_response=st.none() | amounts.map(Seconds) | st.just(Seconds(math.inf)),
    )


# --- events.jsonl -----------------------------------------------------------------------------------


def test_events_come_back_in_order(tmp_path: Path) -> None:
    with EventLog(tmp_path / "events.jsonl") as log:
        log.append(0.0, "run", run="r", slots=2)
        log.append(1.25, "arrived", job="a", kind="forest")
    assert list(read_events(tmp_path / "events.jsonl")) == [
        {"at": 0.0, "type": "run", "run": "r", "slots": 2},
        {"at": 1.25, "type": "arrived", "job": "a", "kind": "forest"},
    ]


def test_an_event_is_on_disk_without_closing(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    log.append(0.5, "warning", text="x")
    assert len(list(read_events(tmp_path / "events.jsonl"))) == 1
    log.close()
    log.close()  # a second close does nothing


def test_one_event_is_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    writes: list[bytes] = []
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: (writes.append(data), real(fd, data, at))[1])
    log.append(1.0, "decision", job="a", inputs={"level": math.inf})
    log.close()
    assert len(writes) == 1
    assert writes[0].endswith(b"\n")


def test_infinity_is_written_as_json_that_others_can_read(tmp_path: Path) -> None:
    with EventLog(tmp_path / "events.jsonl") as log:
        log.append(0.0, "trigger", after_seconds=math.inf, curve=((1.0, 2.0), (math.inf, math.nan)))
    text = (tmp_path / "events.jsonl").read_text()
    event = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert event["after_seconds"] == "inf"
    assert event["curve"] == [[1.0, 2.0], ["inf", None]]
    assert number(event["after_seconds"]) == math.inf


def test_a_torn_tail_is_left_out_by_readers_and_cut_by_resume(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog(path) as log:
        log.append(0.0, "run", run="r")
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"at":1.0,"type":"warning","text":"a long line, torn within a character: \xc3')
    assert [event["type"] for event in read_events(path)] == ["run"]
    EventLog(path, resume=True).close()
    assert path.read_bytes() == whole
    with EventLog(path, resume=True) as log:
        log.append(2.0, "ended", status="finished")
    assert [event["type"] for event in read_events(path)] == ["run", "ended"]
    assert path.read_bytes().startswith(whole)


@settings(deadline=None)  # every example waits for the disk
@given(cut=st.integers(0, 200))
def test_wherever_a_kill_cuts_resume_leaves_a_readable_log(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("cut") / "events.jsonl"
    with EventLog(path) as log:
        for index in range(5):
            log.append(index, "warning", text=f"number {index} ünïcode")
    data = path.read_bytes()[:cut]
    path.write_bytes(data)
    with EventLog(path, resume=True) as log:
        log.append(9.0, "ended", status="finished")
    events = list(read_events(path))
    assert len(events) == data.count(b"\n") + 1
    assert events[-1]["type"] == "ended"


def test_a_torn_line_in_the_middle_is_never_hidden(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"at":0,"type":"run"}\n{"at":1,"ty\n{"at":2,"type":"ended"}\n')
    with pytest.raises(Corrupt, match=r"events\.jsonl, line 2: not JSON"):
        list(read_events(path))


@pytest.mark.parametrize("line", ["[]", '{"type":"run"}', '{"at":1}', '{"at":"x","type":"run"}', "null"])
def test_a_line_that_is_no_event_is_corrupt(tmp_path: Path, line: str) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(Corrupt, match="line 1"):
        list(read_events(path))


def test_text_that_is_not_utf8_is_corrupt_and_located(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"at":0,"type":"run"}\n\xff\xfe\n')
    with pytest.raises(Corrupt, match="line 2: not UTF-8"):
        list(read_events(path))


def test_an_existing_log_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text("")
    with pytest.raises(Refused, match="--resume"):
        EventLog(tmp_path / "events.jsonl")


def test_no_run_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="not a run folder"):
        list(read_events(tmp_path / "events.jsonl"))


def test_a_disk_that_takes_half_a_line_leaves_none_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    log.append(0.0, "run", run="r")
    real = os.pwrite
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", lambda fd, data, at: real(fd, data[:7], at))
        with pytest.raises(Unavailable, match="no space"):
            log.append(1.0, "warning", text="lost")
    assert path.read_bytes().count(b"\n") == 1
    assert path.read_bytes().endswith(b"\n")
    log.append(2.0, "ended", status="finished")
    log.close()
    assert [event["type"] for event in read_events(path)] == ["run", "ended"]


def test_a_full_disk_is_unavailable_and_named() -> None:
    log = EventLog(Path("/dev/full"), resume=True)
    with pytest.raises(Unavailable, match="cannot write /dev/full"):
        log.append(0.0, "run")


@pytest.mark.parametrize(
    ("value", "read"), [("inf", math.inf), (3, 3.0), (True, None), ("7", None), (None, None)]
)
def test_numbers_of_events(value: object, read: float | None) -> None:
    assert number(value) == read


def test_finite_goes_into_every_corner() -> None:
    assert finite({"a": [math.inf, (-math.inf, {"b": math.nan})], "c": 1}) == {
        "a": ["inf", ["-inf", {"b": None}]],
        "c": 1,
    }


# --- jobs.csv ---------------------------------------------------------------------------------------


@settings(deadline=None)
@given(rows=st.lists(records(), max_size=4))
def test_jobs_come_back_to_the_last_digit(
    rows: list[JobRecord], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("jobs") / "jobs.csv"
    with JobTable(path) as table:
        for row in rows:
            table.append(row)
    assert read_jobs(path) == rows


def test_the_header_is_the_documented_one(tmp_path: Path) -> None:
    JobTable(tmp_path / "jobs.csv").close()
    assert (tmp_path / "jobs.csv").read_text().strip() == (
        "run,setting,kind,arrival_seconds,start_seconds,end_seconds,cpu_seconds,sprint_seconds,"
        "sprint_start_seconds,sprint_cpu_seconds,name,exit,predicted_response_seconds"
    )


def test_resume_cuts_a_torn_row_and_goes_on_without_a_second_header(tmp_path: Path) -> None:
    path = tmp_path / "jobs.csv"
    with JobTable(path) as table:
        table.append(a_record(name="a"))
    path.write_bytes(path.read_bytes() + b"run-1,timeout-6,forest,3.1")
    assert [record.name for record in read_jobs(path)] == ["a"]
    with JobTable(path, resume=True) as table:
        table.append(a_record(name="b"))
    assert [record.name for record in read_jobs(path)] == ["a", "b"]


def test_columns_go_by_name_and_further_ones_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "jobs.csv"
    with JobTable(path) as table:
        table.append(a_record())
    lines = path.read_text().splitlines()
    path.write_text("".join(f"{extra},{line}\n" for extra, line in zip(("note", "x"), lines, strict=True)))
    assert read_jobs(path) == [a_record()]


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("arrival_seconds", "", "line 2, arrival_seconds: empty"),
        ("cpu_seconds", "fast", "line 2, cpu_seconds: 'fast'"),
        ("end_seconds", "nan", "line 2, end_seconds: 'nan'"),
        ("start_seconds", "-1", "line 2, start_seconds: '-1'"),
        ("sprint_seconds", "inf", "line 2, sprint_seconds: 'inf'"),
        ("exit", "-9", "line 2, exit: '-9'"),
    ],
)
def test_a_broken_cell_is_named_with_line_and_column(
    tmp_path: Path, column: str, cell: str, message: str
) -> None:
    cells = dict.fromkeys(COLUMNS, "1") | {column: cell}
    (tmp_path / "jobs.csv").write_text(",".join(COLUMNS) + "\n" + ",".join(cells.values()) + "\n")
    with pytest.raises(Corrupt, match=message):
        read_jobs(tmp_path / "jobs.csv")


def test_a_short_row_in_the_middle_is_corrupt(tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_text(",".join(COLUMNS) + "\nrun-1,x\n")
    with pytest.raises(Corrupt, match="line 2: 2 cells, the header has 13"):
        read_jobs(tmp_path / "jobs.csv")


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_text(",".join(COLUMNS[:-1]) + "\n")
    with pytest.raises(Corrupt, match="column predicted_response_seconds is missing"):
        read_jobs(tmp_path / "jobs.csv")


def test_a_name_that_would_span_lines_is_refused(tmp_path: Path) -> None:
    with JobTable(tmp_path / "jobs.csv") as table, pytest.raises(Refused, match="spans lines"):
        table.append(a_record(name="a\nb"))


# --- summary.json -----------------------------------------------------------------------------------


def test_a_summary_comes_back_and_keeps_its_keys_in_order(tmp_path: Path) -> None:
    summary = summarise(
        [a_record(name="a"), a_record(name="b", exit=1), a_record(name="c", end=Seconds(10.0))],
        run="r",
        setting="never",
        status="finished",
        unfinished=2,
        granted=CoreSeconds(1.2),
        budget={"capacity_core_seconds": 12.0},
        machine=MACHINE,
        seeds={"queue": 7},
        load={"start": 0.1, "end": 0.2},
        restored=True,
        warnings=["careful"],
    )
    write_summary(tmp_path / "summary.json", summary)
    assert read_summary(tmp_path / "summary.json") == summary
    document = json.loads((tmp_path / "summary.json").read_text())
    assert list(document) == [
        "schema",
        "run",
        "setting",
        "status",
        "jobs",
        "response",
        "predicted",
        "sprint_seconds",
        "granted_core_seconds",
        "cpu_seconds",
        "budget",
        "machine",
        "versions",
        "seeds",
        "load",
        "restored",
        "warnings",
    ]
    assert document["jobs"] == {"finished": 2, "failed": 1, "unknown": 0, "unfinished": 2}
    assert document == summary_document(summary)


@given(st.lists(st.sampled_from([0, 1, 127, 139, None])), st.integers(0, 5))
def test_every_job_is_counted_once(exits: list[int | None], unfinished: int) -> None:
    records = [a_record(name=f"j{n}", exit=code) for n, code in enumerate(exits)]
    summary = summarise(records, run="r", setting="never", status="finished", unfinished=unfinished)
    assert summary.jobs["unknown"] == exits.count(None)
    assert summary.jobs["finished"] == exits.count(0)
    assert sum(summary.jobs.values()) == len(exits) + unfinished


def test_a_crash_does_not_count_as_a_fast_job() -> None:
    summary = summarise(
        [a_record(end=Seconds(11.0)), a_record(exit=139, end=Seconds(1.5))],
        run="r",
        setting="s",
        status="finished",
    )
    assert summary.response["mean_seconds"] == 10.0
    assert summary.cpu == pytest.approx(5.6)  # but what it used was used


def test_percentiles_interpolate_linearly() -> None:
    done = [a_record(arrival=Seconds(0.0), end=Seconds(float(end))) for end in (4, 1, 2, 3)]
    response = summarise(done, run="r", setting="s", status="finished").response
    assert response == {
        "mean_seconds": 2.5,
        "p50_seconds": 2.5,
        "p95_seconds": pytest.approx(3.85),
        "p99_seconds": pytest.approx(3.97),
    }


def test_predictions_are_judged_where_there_are_some() -> None:
    jobs = [
        a_record(arrival=Seconds(0.0), end=Seconds(10.0), predicted_response=Seconds(11.0)),
        a_record(arrival=Seconds(0.0), end=Seconds(10.0), predicted_response=Seconds(7.0)),
        a_record(predicted_response=None),
        a_record(predicted_response=Seconds(math.inf)),
    ]
    predicted = summarise(jobs, run="r", setting="s", status="finished").predicted
    assert predicted["jobs"] == 2
    assert predicted["mean_seconds"] == 9.0
    assert predicted["median_abs_error"] == pytest.approx(0.2)


def test_an_empty_run_has_no_means() -> None:
    summary = summarise([], run="r", setting="s", status="stopped")
    assert set(summary.response.values()) == {None}
    assert quantile([], 0.5) is None


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 1}', "null"])
def test_a_damaged_summary_is_corrupt(tmp_path: Path, text: str) -> None:
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(Corrupt, match=r"summary\.json"):
        read_summary(tmp_path / "summary.json")


def test_a_newer_schema_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="did not reach its end"):
        read_summary(tmp_path / "summary.json")
    (tmp_path / "summary.json").write_text('{"schema": 99}')
    with pytest.raises(Refused, match="schema 99"):
        read_summary(tmp_path / "summary.json")


def test_a_summary_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "summary.json"
    path.write_text("old")

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left"):
        write_summary(path, summarise([], run="r", setting="s", status="stopped"))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


# --- the machine ------------------------------------------------------------------------------------


def test_facts_of_a_machine(tmp_path: Path) -> None:
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cgroup.controllers").write_text("cpu\n")
    cpu = "processor\t: {}\nmodel name\t: Some CPU @ 3 GHz\n\n"
    (tmp_path / "proc/cpuinfo").write_text(cpu.format(0) + cpu.format(1))
    (tmp_path / "proc/meminfo").write_text("MemTotal:       16384 kB\nMemFree: 1 kB\n")
    (tmp_path / "proc/sys/kernel/osrelease").write_text("6.1.0-18-amd64\n")
    (tmp_path / "proc/loadavg").write_text("0.52 0.40 0.30 1/100 4242\n")
    facts = machine_facts(tmp_path)
    assert facts.pop("architecture")
    assert facts == {
        "cpu": "Some CPU @ 3 GHz",
        "cores": 2,
        "memory_bytes": 16384 * 1024,
        "kernel": "6.1.0-18-amd64",
        "cgroup": "v2",
    }
    assert load_average(tmp_path) == 0.52


def test_what_cannot_be_read_is_none(tmp_path: Path) -> None:
    facts = machine_facts(tmp_path)
    facts.pop("architecture")
    assert set(facts.values()) == {None}
    assert load_average(tmp_path) is None
