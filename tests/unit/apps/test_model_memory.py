"""What was learnt survives a restart; what is damaged is named, set aside, and not believed."""

from pathlib import Path

import pytest

from engine_bench import BASE, SPRINT, finished, measured, queued, running
from kubesprint.adapters.files.sealed import save_sealed
from kubesprint.apps.model_memory import MODEL, SCHEMA, RememberingForecaster
from kubesprint.core.workload import JobView
from storyboards import view


def forecaster(folder: Path, said: list[str]) -> RememberingForecaster:
    made = RememberingForecaster({"fit": measured(deviation=0.5)}, BASE, SPRINT)
    made.remember_in(folder / MODEL, said.append)
    return made


def history(jobs: int = 8) -> list[JobView]:
    return [finished(running(f"d{n}"), end=10.0 + n, cpu=12.0) for n in range(jobs)]


def test_a_restarted_run_goes_on_with_what_it_knew(tmp_path: Path) -> None:
    said: list[str] = []
    first = forecaster(tmp_path, said)
    first.forecast(view(*history()))
    again = forecaster(tmp_path, said)
    assert again.model("fit") == first.model("fit")
    assert again.drift == first.drift
    assert again.drift.factor > 1.05
    assert said == []


def test_a_job_that_taught_before_the_restart_does_not_teach_again(tmp_path: Path) -> None:
    first = forecaster(tmp_path, [])
    first.forecast(view(*history()))
    again = forecaster(tmp_path, [])
    again.forecast(view(*history(), queued("q")))
    assert again.model("fit") == first.model("fit")
    again.forecast(view(*history(9)))
    assert again.model("fit").samples == 9


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff", b"half"])
def test_a_damaged_file_is_set_aside_by_name_and_the_profile_answers(tmp_path: Path, damage: bytes) -> None:
    forecaster(tmp_path, []).forecast(view(*history()))
    whole = (tmp_path / MODEL).read_bytes()
    (tmp_path / MODEL).write_bytes(whole[: len(whole) // 2] if damage == b"half" else damage)
    said: list[str] = []
    again = forecaster(tmp_path, said)
    assert again.model("fit").work == measured().work
    assert again.drift.factor == 1.0
    assert len(said) == 1
    assert str(tmp_path / MODEL) in said[0]
    assert "model.json.damaged-1" in said[0]
    assert (tmp_path / "model.json.damaged-1").exists()
    again.forecast(view(*history()))
    assert forecaster(tmp_path, said).drift.factor > 1.05
    assert len(said) == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"lessons": [{"kind": "fit"}], "taught": [], "surprises": []},
        {"lessons": [], "taught": [], "surprises": [[1]]},
        {"lessons": [], "taught": 3, "surprises": []},
    ],
)
def test_a_whole_file_that_holds_something_else_is_set_aside_too(tmp_path: Path, body: object) -> None:
    save_sealed(tmp_path / MODEL, SCHEMA, body)
    said: list[str] = []
    assert forecaster(tmp_path, said).model("fit").work == measured().work
    assert "model.json.damaged-1" in said[0]


def test_a_place_that_cannot_be_written_is_said_once_and_stops_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    made = forecaster(tmp_path, said)
    (tmp_path / MODEL).mkdir()
    for jobs in (3, 4, 5):
        assert made.forecast(view(*history(jobs), queued("q")))["q"].drift > 1.0
    assert len(said) == 1
    assert "not kept" in said[0]
