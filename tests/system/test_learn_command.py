"""From a dataset to a model file to a run that uses it: `kubesprint learn`, `kubesprint run --model`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from synthetic_dataset import Synthetic

PATIENCE = 180.0


def kubesprint(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kubesprint", *words],
        cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    Synthetic(folder=tmp_path / "data", train=4, test=1, jobs=25, servers=(1,), size_noise=0.05).write()
    return tmp_path / "data"


def test_a_model_is_fitted_kept_and_taken_into_a_run(tmp_path: Path, dataset: Path) -> None:
    done = kubesprint(tmp_path, "learn", str(dataset), "--out", "m.json", "--card", "card.md")
    assert done.returncode == 0, done.stderr
    assert "learned part:" in done.stdout
    assert "# Model card" in (tmp_path / "card.md").read_text()
    assert json.loads((tmp_path / "m.json").read_text())["schema"] == "kubesprint.dev/grey-box/1"
    run = kubesprint(
        tmp_path, "run", "--model", "m.json", "--out", "o", "--state-dir", "state", "--quiet", "--", "true"
    )
    assert run.returncode == 0, run.stderr
    warned = (tmp_path / "o" / "events.jsonl").read_text()
    assert "was fitted to other allocations" in warned  # a run that observes gives every job one core
    again = kubesprint(tmp_path, "run", "--resume", "o", "--model", "m.json", "--state-dir", "state")
    assert again.returncode == 0, again.stderr
    (tmp_path / "m.json").write_text("{}", encoding="utf-8")
    other = kubesprint(tmp_path, "run", "--resume", "o", "--model", "m.json", "--state-dir", "state")
    assert other.returncode == 2
    assert "--model" in other.stderr


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["none", "--out", "m.json"], "none"),
        (["data", "--out", "no/such/m.json"], "there is no folder no/such"),
        (["data", "--out", "m.json", "--card", "no/c.md"], "--card"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    tmp_path: Path, dataset: Path, words: list[str], why: str
) -> None:
    done = kubesprint(tmp_path, "learn", *words)
    assert done.returncode == 2
    assert why in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "m.json").exists()
