"""`kubesprint evaluate` from the command line: answers, files, and one clear line for whatever is refused."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from kubesprint.adapters.files.charts import SHAPES
from kubesprint.apps.evaluate import evaluate
from kubesprint.learn.baselines import Simulated
from synthetic_dataset import Synthetic

APP = typer.Typer()
APP.command()(evaluate)


@APP.callback()
def root() -> None:
    """A second command, so that `evaluate` stays a word of the command line."""


FAST = ("--predictor", "marginal", "--predictor", "nearest-runs")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise and drift, with repeats."""
    made = Synthetic(
        folder=tmp_path_factory.mktemp("dataset"), size_noise=0.1, drift=0.1, repeats=1, jobs=20, test=2
    )
    return made.write()


def run(*arguments: str | Path) -> Result:
    given = ["evaluate", *map(str, arguments)]
    return CliRunner().invoke(APP, given, env={"COLUMNS": "200", "TERM": "dumb"})


def answer(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_json_is_one_object_and_progress_goes_to_stderr(dataset: Path) -> None:
    result = run(dataset, "--json", *FAST)
    found = answer(result)
    assert list(found["predictors"]) == ["marginal", "nearest-runs"]
    assert len(found["settings"]) == 4
    assert found["noise_floor"]["mean"]["median"] > 0
    assert "fitting to 12 runs" in result.stderr


def test_it_answers_the_same_twice(dataset: Path) -> None:
    arguments = (dataset, "--json", *FAST)
    assert run(*arguments).stdout == run(*arguments).stdout


def test_without_json_there_is_a_table(dataset: Path) -> None:
    result = run(dataset, *FAST)
    assert result.exit_code == 0
    table = result.stdout.splitlines()
    assert table[0] == "Error of the mean response time on 4 test runs, fitted to 12:"
    assert any(line.startswith("marginal") and line.count("/") == 6 for line in table)
    assert any(line.startswith("noise floor") and line.count("/") == 2 for line in table)
    assert max(map(len, table)) < 100


def test_without_noise_the_white_box_is_exact(tmp_path: Path) -> None:
    made = Synthetic(folder=tmp_path / "clean", jobs=20)
    found = answer(run(made.write(), "--json", "--predictor", "marginal"))
    for views in found["predictors"]["marginal"].values():
        assert all(spread["worst"] < 1e-5 for spread in views.values())


def test_files_are_written_beside_the_answer(dataset: Path, tmp_path: Path) -> None:
    names = ["a.json", "b.csv", "c.svg"]
    arguments = [part for name in names for part in ("--out", tmp_path / name)]
    result = run(dataset, "--json", *FAST, *arguments)
    assert json.loads((tmp_path / "a.json").read_text()) == answer(result)
    with (tmp_path / "b.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * 2 * (3 + 1)
    assert all(float(row["predicted_seconds"]) > 0 for row in rows)
    drawing = (tmp_path / "c.svg").read_text()
    assert drawing.startswith("<svg")
    assert "<style>" in drawing
    assert drawing.count("marginal, ") == 4  # a point a scored run


def test_a_drawing_of_many_predictors_shows_as_many_as_can_be_told_apart(
    dataset: Path, tmp_path: Path
) -> None:
    names = ["marginal", "marginal-refreshed", "nominal", "no-sprint", "formula", "nearest-runs-trace"]
    arguments = [part for name in names for part in ("--predictor", name)]
    run(dataset, *arguments, "--out", tmp_path / "c.svg")
    drawing = (tmp_path / "c.svg").read_text()
    assert sum(f">{name}</text>" in drawing for name in names) == min(len(names), len(SHAPES))


def test_a_card_with_a_number_that_json_does_not_know_does_no_harm(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Simulated, "card", {"error": float("nan"), "most": float("inf")})
    cards = answer(run(dataset, "--json", "--predictor", "marginal"))["details"]["cards"]
    assert cards == {"marginal": {"error": None, "most": "inf"}}


# --- refusals ---------------------------------------------------------------------------------------


def refused(result: Result) -> str:
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "Traceback" not in result.stderr
    return errors[0]


def test_a_predictor_that_there_is_not(dataset: Path) -> None:
    text = refused(run(dataset, "--predictor", "oracle"))
    assert "--predictor oracle: choose" in text
    assert "marginal" in text


@pytest.mark.parametrize(
    ("name", "words"), [("a.txt", "ends in .json, .csv or .svg"), ("none/a.json", "there is no folder")]
)
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_fitted(
    dataset: Path, tmp_path: Path, name: str, words: str
) -> None:
    result = run(dataset, "--out", tmp_path / name)
    assert words in refused(result)
    assert "fitting" not in result.stderr


def test_a_folder_that_is_no_dataset(tmp_path: Path) -> None:
    assert "settings.jsonl: cannot be read" in refused(run(tmp_path))
    assert "is not a folder" in refused(run(tmp_path / "nothing"))


def copied(dataset: Path, target: Path, change: Callable[[list[dict[str, str]]], object]) -> Path:
    """The dataset with changed rows."""
    target.mkdir()
    for name in ("settings.jsonl", "profile.csv"):
        (target / name).write_bytes((dataset / name).read_bytes())
    with (dataset / "jobs.csv").open() as file:
        rows = list(csv.DictReader(file))
    columns = list(rows[0])
    change(rows)
    with (target / "jobs.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, columns)
        table.writeheader()
        table.writerows(rows)
    return target


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: rows[3].update(cpu_seconds="nan"), "jobs.csv:5: cpu_seconds: 'nan'"),
        (lambda rows: rows[3].update(end_seconds="0"), "jobs.csv:5: end_seconds: 0 is before start_seconds"),
        (lambda rows: rows[3].update(run="ghost"), "jobs.csv:5: run: 'ghost'"),
        (lambda rows: rows[3].update(sprint_seconds="-2"), "jobs.csv:5: sprint_seconds: '-2'"),
        (lambda rows: rows.clear(), "jobs.csv: has no jobs"),
    ],
)
def test_a_broken_row_is_named_by_file_line_and_column(
    dataset: Path, tmp_path: Path, change: Callable[[list[dict[str, str]]], object], words: str
) -> None:
    assert words in refused(run(copied(dataset, tmp_path / "broken", change)))


def edited(
    dataset: Path, target: Path, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
) -> Path:
    """The dataset with changed settings, and the jobs of those that are left."""
    copied(dataset, target, lambda _: None)
    lines = (dataset / "settings.jsonl").read_text().splitlines()
    settings = change([json.loads(line) for line in lines])
    (target / "settings.jsonl").write_text("".join(json.dumps(one) + "\n" for one in settings))
    left = {one["run"] for one in settings}
    rows = (target / "jobs.csv").read_text().splitlines()
    kept = [rows[0], *(row for row in rows[1:] if row.split(",")[0] in left)]
    (target / "jobs.csv").write_text("\n".join(kept) + "\n")
    return target


def test_no_train_run_and_no_test_run(dataset: Path, tmp_path: Path) -> None:
    tests = edited(dataset, tmp_path / "a", lambda all_: [s for s in all_ if s["split"] == "test"])
    assert "settings.jsonl: split: no run to fit to" in refused(run(tests))
    trains = edited(dataset, tmp_path / "b", lambda all_: [s for s in all_ if s["split"] == "train"])
    assert "settings.jsonl: split: no run to score" in refused(run(trains))


# --- odd, but no error ------------------------------------------------------------------------------


def finite(result: Result) -> dict[str, Any]:
    found = answer(result)
    for setting in found["settings"]:
        for measures in setting["predicted"].values():
            assert all(0 < value < 1e6 for views in measures.values() for value in views.values())
    return found


ODD = (
    "--predictor",
    "grey-box",
    "--predictor",
    "marginal",
    "--predictor",
    "formula",
    "--predictor",
    "nearest-runs",
)


def test_one_training_run_is_enough_and_said(dataset: Path, tmp_path: Path) -> None:
    def one(settings: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [s for s in settings if s["split"] == "test" or s["run"] == "q-train-0-r0"]

    learners = [part for name in ("mlp", "gb", "forest") for part in ("--predictor", f"direct-{name}")]
    result = run(edited(dataset, tmp_path / "one", one), "--json", *ODD, *learners)
    finite(result)
    assert "warning: only one training run" in result.stderr


def test_kinds_that_training_does_not_have_are_predicted_and_marked(dataset: Path, tmp_path: Path) -> None:
    def rename(rows: list[dict[str, str]]) -> None:
        for row in rows:
            if "-test-" in row["run"] and row["kind"] == "svm":
                row["kind"] = "new"

    result = run(copied(dataset, tmp_path / "new", rename), "--json", *ODD)
    found = finite(result)
    assert "no training job of kind new" in result.stderr
    assert {name for run_ in found["details"]["untrusted"].values() for name in run_} >= {
        "grey-box",
        "marginal",
        "nearest-runs",
    }


def test_settings_that_never_sprint_and_are_all_alike(tmp_path: Path) -> None:
    made = Synthetic(folder=tmp_path / "never", never=True, jobs=15, servers=(1,), profile_runs=0, test=2)
    result = run(made.write(), "--json", *ODD)
    found = finite(result)
    assert "no training run has a time-out" in result.stderr
    # unsprinted jobs of one size a kind: the queue is known exactly
    assert found["predictors"]["marginal"]["mean"]["raw"]["worst"] < 1e-6


def test_the_program_teaches_itself() -> None:
    help_text = subprocess.run(
        [sys.executable, "-m", "kubesprint", "evaluate", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={"COLUMNS": "100", "PATH": "/usr/bin:/bin"},
    ).stdout
    for word in ("grey-box", "drift-normalised", "known sizes", "noise floor", "--out FILE", "Exit code"):
        assert word in help_text
