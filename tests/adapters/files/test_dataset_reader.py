"""A dataset is read as it was meant, or refused with the file, the line and the column that are wrong."""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubesprint.adapters.files.dataset import write_dataset
from kubesprint.adapters.files.dataset_reader import read_dataset
from kubesprint.adapters.files.results import read_jobs
from kubesprint.core.budget import RefillRule
from kubesprint.core.dataset import AloneAt, Knob, Run, Split
from kubesprint.core.errors import Refused
from kubesprint.core.simulation import TriggerClock
from run_folders import RunFolder
from synthetic_dataset import Synthetic

SETTING: dict[str, Any] = {
    "run": "a",
    "setting": "s",
    "split": "train",
    "mechanism": {"name": "m", "knob": "quota", "threads": 2, "base_cores": 0.5, "sprint_cores": 2},
    "servers": 2,
    "timeout_seconds": 3,
    "clock": "start",
    "capacity_sprint_seconds": 10,
    "refill_per_second": 0.1,
    "refill_rule": "continuous",
    "hysteresis_sprint_seconds": 0.3,
    "duration_seconds": 9,
    "arrivals": "poisson",
    "repeat": 0,
    "started_at": "2024-01-01T00:00:00Z",
}
HEADER = (
    "run,setting,kind,arrival_seconds,start_seconds,end_seconds,cpu_seconds,sprint_seconds,"
    "sprint_start_seconds,sprint_cpu_seconds"
)
ROWS = ("a,s,x,0,0,5,2.5,1,3.5,1.5", "a,s,y,1,2,9,3,0,,")
PROFILE = "mechanism,kind,allocation,wall_seconds,cpu_seconds\nm,x,base,4,2\nm,x,sprint,1,2.1\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "data"
    place.mkdir()
    write(place, [SETTING], ROWS)
    (place / "profile.csv").write_text(PROFILE)
    return place


def write(place: Path, objects: list[Any], rows: tuple[str, ...], header: str = HEADER) -> None:
    (place / "settings.jsonl").write_text("".join(json.dumps(one) + "\n" for one in objects))
    (place / "jobs.csv").write_text("\n".join([header, *rows]) + "\n")


def with_setting(place: Path, key: str, value: Any = None, *, gone: bool = False) -> None:
    """Change one key of the only setting; `mechanism.name` is one of its mechanism."""
    changed = json.loads(json.dumps(SETTING))
    *path, last = key.split(".")
    target = changed[path[0]] if path else changed
    if gone:
        del target[last]
    else:
        target[last] = value
    write(place, [changed], ROWS)


# --- what is good -----------------------------------------------------------------------------------


def test_every_field_arrives(folder: Path) -> None:
    read = read_dataset(folder)
    (run,) = read.dataset.runs
    setting = run.setting
    assert (setting.run, setting.setting, setting.split) == ("a", "s", Split.TRAIN)
    mechanism = setting.mechanism
    assert (mechanism.name, mechanism.knob, mechanism.threads) == ("m", Knob.QUOTA, 2)
    assert (mechanism.base_cores, mechanism.sprint_cores) == (0.5, 2.0)
    rules = setting.rules
    assert (rules.timeout, rules.clock, rules.capacity, rules.refill) == (3, TriggerClock.START, 10, 0.1)
    assert (rules.refill_rule, rules.hysteresis, setting.servers) == (RefillRule.CONTINUOUS, 0.3, 2)
    assert (setting.duration, setting.arrivals, setting.repeat) == (9, "poisson", 0)
    assert setting.started_at == "2024-01-01T00:00:00Z"
    first, second = run.jobs
    assert (first.kind, first.arrival, first.start, first.end, first.cpu) == ("x", 0, 0, 5, 2.5)
    assert (first.sprint, first.sprint_start, first.sprint_cpu) == (1, 3.5, 1.5)
    assert (second.sprint, second.sprint_start, second.sprint_cpu) == (0, None, 0)
    assert run.measured.mean == pytest.approx((5 + 8) / 2)
    assert run.measured.p95 == pytest.approx(5 + 0.95 * 3)
    assert [(row.kind, row.allocation, row.wall, row.cpu) for row in read.dataset.profile] == [
        ("x", AloneAt.BASE, 4, 2),
        ("x", AloneAt.SPRINT, 1, 2.1),
    ]
    assert read.warnings == ()


def test_what_export_writes_is_read_back_whole(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run").queue(20).write()
    write_dataset([run], tmp_path / "data")
    (back,) = read_dataset(tmp_path / "data").dataset.runs
    records = sorted(read_jobs(run / "jobs.csv"), key=lambda record: record.arrival)
    assert [(job.arrival, job.start, job.end, job.cpu) for job in back.jobs] == [
        (record.arrival, record.start, record.end, record.cpu) for record in records
    ]
    assert [job.sprint for job in back.jobs] == pytest.approx([record.sprint for record in records])


def test_a_synthetic_dataset_is_read_back_whole(tmp_path: Path) -> None:
    made = Synthetic(folder=tmp_path / "data", repeats=1, jobs=12)
    dataset = read_dataset(made.write()).dataset
    assert len(dataset.runs) == len(made.settings)
    assert sum(len(run.jobs) for run in dataset.runs) == len(made.rows)
    assert len(dataset.training.runs) == 12
    assert len(dataset.scored) == 8
    assert all(run.setting.repeat == 0 for run in dataset.scored)


def test_columns_go_by_name_and_further_ones_are_ignored(folder: Path) -> None:
    expected = read_dataset(folder).dataset
    columns = HEADER.split(",")
    order = [*reversed(columns), "colour"]
    rows = []
    for row in ROWS:
        cells = {**dict(zip(columns, row.split(","), strict=True)), "colour": "red, or blue"}
        rows.append(",".join(f'"{cells[column]}"' for column in order))
    (folder / "jobs.csv").write_bytes(
        b"\xef\xbb\xbf" + "\r\n".join([",".join(order), "", *rows, ""]).encode()
    )
    assert read_dataset(folder).dataset == expected


def test_jobs_are_put_in_the_order_of_arrival(folder: Path) -> None:
    expected = read_dataset(folder).dataset
    write(folder, [SETTING], tuple(reversed(ROWS)))
    assert read_dataset(folder).dataset == expected


@pytest.mark.parametrize(
    ("key", "field", "default"),
    [
        ("servers", "servers", 1),
        ("started_at", "started_at", None),
        ("duration_seconds", "duration", None),
        ("arrivals", "arrivals", ""),
        ("repeat", "repeat", 0),
    ],
)
def test_what_nobody_needs_may_be_left_out(folder: Path, key: str, field: str, default: object) -> None:
    with_setting(folder, key, gone=True)
    assert getattr(read_dataset(folder).dataset.runs[0].setting, field) == default


@pytest.mark.parametrize("never", [None, "inf", math.inf])
def test_a_setting_that_never_sprints_needs_no_budget(folder: Path, never: object) -> None:
    bare = {key: SETTING[key] for key in ("run", "setting", "split", "mechanism")} | {
        "timeout_seconds": never
    }
    write(folder, [bare], ROWS)
    read = read_dataset(folder)
    assert math.isinf(read.dataset.runs[0].setting.timeout)
    assert "no training run has a time-out" in read.warnings[0]


@pytest.mark.parametrize(
    ("key", "value", "field", "meant"),
    [
        ("clock", "ARRIVAL", "clock", TriggerClock.ARRIVAL),
        ("refill_rule", "Paused", "refill_rule", RefillRule.PAUSED),
        ("split", "Test", "split", Split.TEST),
        ("capacity_sprint_seconds", "inf", "capacity", math.inf),
        ("servers", 2.0, "servers", 2),
        ("repeat", True, "repeat", 1),
        ("arrivals", {"process": "poisson"}, "arrivals", '{"process": "poisson"}'),
        ("started_at", 1700000000, "started_at", "1700000000"),
        ("hysteresis_sprint_seconds", 0, "hysteresis", 1e-9),
    ],
)
def test_other_spellings_are_understood(
    folder: Path, key: str, value: object, field: str, meant: object
) -> None:
    with_setting(folder, key, value)
    assert getattr(read_dataset(folder).dataset.runs[0].setting, field) == meant


def test_sprinted_cpu_that_was_not_recorded_is_none_not_zero(folder: Path) -> None:
    write(folder, [SETTING], ("a,s,x,0,0,5,2.5,1,3.5,",))
    assert read_dataset(folder).dataset.runs[0].jobs[0].sprint_cpu is None


def test_a_job_that_never_ran_is_left_out_with_a_word(folder: Path) -> None:
    write(folder, [SETTING], (*ROWS, "a,s,x,1,,2,,0,,"))
    read = read_dataset(folder)
    assert len(read.dataset.runs[0].jobs) == 2
    assert read.warnings == ("jobs.csv: 1 rows have no start and no CPU time: jobs that never ran, left out",)


def test_a_sprint_that_outlasts_its_job_is_cut_with_a_word(folder: Path) -> None:
    write(folder, [SETTING], ("a,s,x,0,0,5,2.5,6,0,3",))
    read = read_dataset(folder)
    job = read.dataset.runs[0].jobs[0]
    assert (job.sprint, job.sprint_cpu) == (5, 2.5)
    assert len(read.warnings) == 2


def test_rounding_of_instants_is_forgiven(folder: Path) -> None:
    write(folder, [SETTING], ("a,s,x,1.0004,1,2,0,0,,",))
    job = read_dataset(folder).dataset.runs[0].jobs[0]
    assert job.start == job.arrival == 1.0004
    assert job.cpu > 0


def test_a_run_that_is_neither_train_nor_test_is_passed_over_with_a_word(folder: Path) -> None:
    """Whatever its setting and its jobs look like: export writes such runs where no setting is true."""
    expected = read_dataset(folder).dataset
    write(folder, [{"run": "b", "split": "excluded"}, SETTING], (*ROWS, "b,?,x,,,,,,,"))
    read = read_dataset(folder)
    assert read.dataset == expected
    assert read.warnings == (
        "settings.jsonl: 1 runs have the split 'excluded', neither train nor test: passed over",
    )


def test_a_dataset_of_nothing_else_is_refused(folder: Path) -> None:
    with_setting(folder, "split", "validation")
    assert "settings.jsonl: split: every run has the split validation; write train or test" in refusal(folder)


def test_a_profile_of_a_mechanism_without_runs_is_said(folder: Path) -> None:
    (folder / "profile.csv").write_text(PROFILE + "other,x,base,1,1\n")
    assert "mechanism 'other' is of no run" in read_dataset(folder).warnings[0]


# --- what is broken ---------------------------------------------------------------------------------


def refusal(folder: Path) -> str:
    with pytest.raises(Refused) as refused:
        read_dataset(folder)
    text = str(refused.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("row", "place", "words"),
    [
        ("a,s,x,0,0,nan,2,0,,", "jobs.csv:3: end_seconds: 'nan'", "0 or more"),
        ("a,s,x,0,0,inf,2,0,,", "jobs.csv:3: end_seconds: 'inf'", "0 or more"),
        ("a,s,x,-1,0,1,2,0,,", "jobs.csv:3: arrival_seconds: '-1'", "0 or more"),
        ("a,s,x,0,0,1,-2,0,,", "jobs.csv:3: cpu_seconds: '-2'", "0 or more"),
        ("a,s,x,0,0,1,2,-1,,", "jobs.csv:3: sprint_seconds: '-1'", "0 or more"),
        ("a,s,x,0,0,1,2,1,soon,", "jobs.csv:3: sprint_start_seconds: 'soon'", "0 or more"),
        ("a,s,x,0,0,1,2,1,0,1_0", "jobs.csv:3: sprint_cpu_seconds: '1_0'", "0 or more"),
        ("a,s,x,0,3,2,2,0,,", "jobs.csv:3: end_seconds: 2 is before start_seconds, 3", ""),
        ("a,s,x,5,3,7,2,0,,", "jobs.csv:3: start_seconds: 3 is before arrival_seconds, 5", ""),
        ("a,s,x,0,0,,2,0,,", "jobs.csv:3: end_seconds: is empty", "write seconds"),
        ("a,s,x,0,,2,2,0,,", "jobs.csv:3: start_seconds: is empty", "write seconds"),
        ("a,s,x,0,0,1,,0,,", "jobs.csv:3: cpu_seconds: is empty", "write seconds"),
        ("a,s,,0,0,1,2,0,,", "jobs.csv:3: kind: is empty", "write a name"),
        ("b,s,x,0,0,1,2,0,,", "jobs.csv:3: run: 'b' is not in settings.jsonl", "which has a"),
        ("a,t,x,0,0,1,2,0,,", "jobs.csv:3: setting: 't', but line 1 of settings.jsonl", "'s'"),
        ("a,s,x,0,0,1", "jobs.csv:3: cpu_seconds: the row has 6 fields", "the header has 10"),
        ("a,s,x,0,0,1,2,0,,,9", "jobs.csv:3: column 11: the row has 11 fields", "the header has 10"),
        ('a,s,"x,0,0,1,2,0,,', "jobs.csv:3: is not CSV", ""),
    ],
)
def test_a_broken_row_is_named(folder: Path, row: str, place: str, words: str) -> None:
    write(folder, [SETTING], (ROWS[0], row))
    text = refusal(folder)
    assert place in text
    assert words in text


@pytest.mark.parametrize("missing", HEADER.split(","))
def test_a_missing_column_is_named(folder: Path, missing: str) -> None:
    write(folder, [SETTING], (), header=",".join(name for name in HEADER.split(",") if name != missing))
    assert f"jobs.csv:1: {missing}: is missing in the header" in refusal(folder)


def test_a_column_that_is_there_twice_is_named(folder: Path) -> None:
    write(folder, [SETTING], (), header=HEADER + ",kind")
    assert "jobs.csv:1: kind: is there more than once" in refusal(folder)


@pytest.mark.parametrize(("text", "words"), [("", "is empty; give a header"), (HEADER, "has no jobs")])
def test_no_jobs_at_all(folder: Path, text: str, words: str) -> None:
    (folder / "jobs.csv").write_text(text)
    assert words in refusal(folder)


def test_a_run_without_jobs_is_named(folder: Path) -> None:
    write(folder, [SETTING, {**SETTING, "run": "lonely", "setting": "t"}], ROWS)
    assert "settings.jsonl:2: run: 'lonely' has no job in jobs.csv" in refusal(folder)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("split", ["train"], "split: ['train'] is not allowed; write a name"),
        ("run", "", "run: '' is not allowed; write a name"),
        ("timeout_seconds", -1, "timeout_seconds: -1 is not allowed"),
        ("timeout_seconds", math.nan, "timeout_seconds: nan is not allowed"),
        ("timeout_seconds", "soon", "timeout_seconds: 'soon' is not allowed"),
        ("clock", "wall", "clock: 'wall' is not allowed; write arrival or start"),
        ("capacity_sprint_seconds", -3, "capacity_sprint_seconds: -3 is not allowed"),
        ("capacity_sprint_seconds", None, "capacity_sprint_seconds: is null"),
        ("refill_per_second", True, "refill_per_second: True is not allowed"),
        ("refill_rule", "never", "refill_rule: 'never' is not allowed; write paused or continuous"),
        ("hysteresis_sprint_seconds", -0.1, "hysteresis_sprint_seconds: -0.1 is not allowed"),
        ("servers", 0, "servers: 0 is not allowed; write a whole number, 1 or more"),
        ("servers", 1.5, "servers: 1.5 is not allowed"),
        ("repeat", -1, "repeat: -1 is not allowed"),
        ("duration_seconds", -1, "duration_seconds: -1 is not allowed"),
        ("mechanism", "quota", "mechanism: 'quota' is not allowed; write an object"),
        ("mechanism.knob", "clock", "mechanism.knob: 'clock' is not allowed; write quota or cores"),
        ("mechanism.threads", 0, "mechanism.threads: 0 is not allowed"),
        ("mechanism.base_cores", 0, "mechanism.base_cores: 0 is not allowed; write cores, above 0"),
        ("mechanism.sprint_cores", 0.2, "mechanism.sprint_cores: 0.2 is not allowed"),
    ],
)
def test_a_broken_setting_is_named(folder: Path, key: str, value: object, words: str) -> None:
    with_setting(folder, key, value)
    assert f"settings.jsonl:1: {words}" in refusal(folder)


@pytest.mark.parametrize(
    "key",
    [
        *("run", "setting", "split", "mechanism", "timeout_seconds", "clock", "capacity_sprint_seconds"),
        *("refill_per_second", "refill_rule", "hysteresis_sprint_seconds", "mechanism.name"),
        *("mechanism.knob", "mechanism.threads", "mechanism.base_cores", "mechanism.sprint_cores"),
    ],
)
def test_a_missing_key_is_named(folder: Path, key: str) -> None:
    with_setting(folder, key, gone=True)
    assert f"settings.jsonl:1: {key}: is missing" in refusal(folder)


def test_two_mechanisms_under_one_name_are_told_apart(folder: Path) -> None:
    other = {**SETTING, "run": "b", "mechanism": {**SETTING["mechanism"], "threads": 4}}
    write(folder, [SETTING, other], ROWS)
    text = refusal(folder)
    assert "settings.jsonl:2: mechanism.name: 'm' is another mechanism on line 1 (threads 2 and 4)" in text


def test_a_run_that_is_there_twice_is_named(folder: Path) -> None:
    write(folder, [SETTING, SETTING], ROWS)
    assert "settings.jsonl:2: run: 'a' is also the run of line 1" in refusal(folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "settings.jsonl: is empty"),
        ('{"run": "a",}\n', "settings.jsonl:1: column 13: is not JSON"),
        ("[]\n", "settings.jsonl:1: is no JSON object"),
        ("\n[" + "[" * 100_000, "settings.jsonl:2: is not JSON that can be read"),
    ],
)
def test_settings_that_are_no_settings(folder: Path, text: str, words: str) -> None:
    (folder / "settings.jsonl").write_text(text)
    assert words in refusal(folder)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("m,x,base,0,1", "profile.csv:4: wall_seconds: '0' is not allowed; write seconds above 0"),
        ("m,x,base,1,nan", "profile.csv:4: cpu_seconds: 'nan' is not allowed"),
        ("m,x,half,1,1", "profile.csv:4: allocation: 'half' is not allowed; write base or sprint"),
        ("m,,base,1,1", "profile.csv:4: kind: is empty"),
    ],
)
def test_a_broken_profile_is_named(folder: Path, row: str, words: str) -> None:
    (folder / "profile.csv").write_text(PROFILE + row + "\n")
    assert words in refusal(folder)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    assert "is not a folder" in refusal(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["jobs.csv", "settings.jsonl"])
@pytest.mark.parametrize("deed", [Path.unlink, lambda file: file.write_bytes(b"\xff\xfe")])
def test_a_file_that_cannot_be_read_is_named(folder: Path, name: str, deed: Callable[[Path], object]) -> None:
    deed(folder / name)
    assert name in refusal(folder)


def read_or_refusal(folder: Path) -> tuple[tuple[Run, ...], str]:
    """The runs, or the one line that refuses them."""
    try:
        return read_dataset(folder).dataset.runs, ""
    except Refused as refused:
        message = str(refused)
    assert "\n" not in message
    return (), message


JUNK = st.sampled_from(["", "nan", "-1", "1e400", "0x1", "1,2", '"', "\x00", "é", "1e-320", " 7 ", "None"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(row=st.integers(0, 1), column=st.integers(0, 9), junk=JUNK)
def test_whatever_stands_in_a_cell_is_read_or_refused_on_one_line(
    folder: Path, row: int, column: int, junk: str
) -> None:
    rows = [one.split(",") for one in ROWS]
    rows[row][column] = junk
    with (folder / "jobs.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEADER.split(","), *rows])
    runs, message = read_or_refusal(folder)
    assert ("jobs.csv" in message or "settings.jsonl" in message) != bool(runs)
    assert all(job.end >= job.start >= job.arrival >= 0 and job.cpu > 0 for run in runs for job in run.jobs)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from([*SETTING, *(f"mechanism.{name}" for name in SETTING["mechanism"])]), value=VALUES)
def test_whatever_stands_in_a_setting_is_read_or_refused_on_one_line(
    folder: Path, key: str, value: object
) -> None:
    with_setting(folder, key, value)
    runs, message = read_or_refusal(folder)
    assert bool(message) != bool(runs)
    for setting in (run.setting for run in runs):
        assert setting.servers >= 1
        assert setting.timeout >= 0
        assert setting.mechanism.sprint_cores >= setting.mechanism.base_cores > 0
