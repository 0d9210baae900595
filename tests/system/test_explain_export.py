"""`explain` and `export` as commands: what they print, and how they refuse."""

import json
import math
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from kubesprint.adapters.files.results import EVENTS, EventLog
from kubesprint.apps.explain import explain
from kubesprint.apps.export import export
from run_folders import RunFolder

app = typer.Typer(rich_markup_mode=None)
app.command()(explain)
app.command()(export)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return RunFolder(tmp_path / "run").queue(8, failing=(6,), deadlines=True).write()


def sprinter(folder: Path) -> str:
    """The name of a job that sprinted."""
    for line in (folder / EVENTS).read_text().splitlines():
        event = json.loads(line)
        if event["type"] == "sprint_started":
            return str(event["job"])
    raise AssertionError("no job sprinted")


def test_explain_tells_the_story_in_order(folder: Path) -> None:
    result = run("explain", folder, sprinter(folder))
    assert result.exit_code == 0
    places = [
        result.stdout.index(part)
        for part in (
            "arrived",
            "started in slot-0",
            "Hold (BeforeTrigger)",
            "Sprint (TriggerReached)",
            "started\n",
            "ended after",
            "finished",
            "response   measured",
        )
    ]
    assert places == sorted(places)
    assert "from level_core_seconds 12, trigger_seconds 6, trust Trusted" in result.stdout
    assert "core-seconds (Finished)" in result.stdout
    assert "% off, interval" in result.stdout


def test_explain_as_json_is_stable(folder: Path) -> None:
    name = sprinter(folder)
    told = json.loads(run("explain", folder, name, "--json").stdout)
    assert list(told) == [
        "schema",
        "run",
        "setting",
        "job",
        "kind",
        "slot",
        "arrival_seconds",
        "start_seconds",
        "end_seconds",
        "deadline_seconds",
        "exit",
        "response_seconds",
        "predicted_response_seconds",
        "advised_response_seconds",
        "interval",
        "relative_error",
        "cpu_seconds",
        "sprint_seconds",
        "sprints",
        "decisions",
    ]
    assert told["job"] == name
    assert told["decisions"][0]["inputs"]["trust"] == "Trusted"
    off = (told["predicted_response_seconds"] - told["response_seconds"]) / told["response_seconds"]
    assert told["relative_error"] == off
    (sprint,) = told["sprints"]
    assert sprint["core_seconds"] == pytest.approx(0.6 * told["sprint_seconds"])


def test_explain_names_a_failure(folder: Path) -> None:
    assert "failed with exit 1" in run("explain", folder, "boosting-7").stdout


def test_explain_works_while_the_run_goes_on(tmp_path: Path) -> None:
    with EventLog(tmp_path / EVENTS) as log:
        log.append(0.0, "run", run="r", setting="never")
        log.append(1.0, "arrived", job="a", kind="forest")
        log.append(
            1.0, "decision", job="a", verb="Hold", reason="Never", sentence="No.", inputs={"t": math.inf}
        )
    (tmp_path / EVENTS).write_bytes((tmp_path / EVENTS).read_bytes() + b'{"at":2,"ty')
    result = run("explain", tmp_path, "a")
    assert result.exit_code == 0
    assert "measured not yet, predicted none was made" in result.stdout
    assert json.loads(run("explain", tmp_path, "a", "--json").stdout)["decisions"][0]["inputs"] == {
        "t": "inf"
    }


def test_an_unknown_job_is_refused_with_names_near_it(folder: Path) -> None:
    result = run("explain", folder, "forst-1")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "'forst-1'" in result.stderr
    assert "forest-1" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_name_like_no_other_gets_some_that_exist(folder: Path) -> None:
    assert "it has forest-1, boosting-2" in run("explain", folder, "zzzz").stderr


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    result = run("explain", tmp_path, "a")
    assert result.exit_code == 2
    assert "not a run folder" in result.stderr


def test_a_name_cannot_steer_the_terminal(tmp_path: Path) -> None:
    name = "a\x1b[2Jb"
    with EventLog(tmp_path / EVENTS) as log:
        log.append(1.0, "arrived", job=name, kind="\x07")
    result = run("explain", tmp_path, name)
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert "\x07" not in result.stdout


def test_export_writes_a_dataset_and_says_so(folder: Path, tmp_path: Path) -> None:
    other = RunFolder(tmp_path / "other", run="run-2", setting="never", timeout=math.inf).queue(8).write()
    result = run("export", folder, other, tmp_path / "data")
    assert result.exit_code == 0, result.stderr
    assert "2 runs of 2 settings, 16 jobs" in result.stdout
    assert "1 of 8 jobs failed" in result.stderr
    assert (tmp_path / "data" / "settings.jsonl").exists()


def test_export_says_which_runs_it_excludes(tmp_path: Path) -> None:
    changed = RunFolder(tmp_path / "run").queue(8)
    changed.add(20.0, "trigger", after_seconds=90.0)
    late = [fields for _, _, fields in changed.events if fields.get("reason") == "TriggerReached"]
    late[-1]["reason"] = "BeforeTrigger"
    folder = changed.write()
    refused = run("export", folder, tmp_path / "data")
    assert refused.exit_code == 2
    assert "--changing-timeouts" in refused.stderr
    result = run("export", folder, tmp_path / "data", "--changing-timeouts")
    assert result.exit_code == 0, result.stderr
    assert "excluded: its time-out changed" in result.stdout


def test_export_as_json(folder: Path, tmp_path: Path) -> None:
    result = run("export", folder, tmp_path / "data", "--json", "--split", "test")
    answer = json.loads(result.stdout)
    assert answer["runs"][0]["split"] == "test"
    assert answer["runs"][0]["jobs"] == 8


def test_export_refuses_in_one_line_and_writes_nothing(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = run("export", folder, tmp_path / "empty", tmp_path / "data")
    assert result.exit_code == 2
    assert str(tmp_path / "empty") in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "data").exists()


def test_explain_without_a_job_names_them(folder: Path) -> None:
    result = run("explain", folder)
    assert result.exit_code == 2
    assert "one of the 8 jobs" in result.stderr
    assert "forest-1, boosting-2" in result.stderr


def test_export_of_one_folder_says_what_is_missing(folder: Path) -> None:
    result = run("export", folder)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert str(folder) in line
    assert "DATASET" in line


@pytest.mark.parametrize("command", ["explain", "export"])
def test_help_teaches_with_an_example(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"kubesprint {command} out/demo/" in result.stdout
