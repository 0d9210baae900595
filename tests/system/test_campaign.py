"""The measuring campaign, small: a dataset that others can read, nothing private, nothing done twice."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kubesprint.adapters.files.dataset_reader import read_dataset
from kubesprint.core.dataset import AloneAt, Split

pytest.importorskip("sklearn", reason="the campaign's jobs train with scikit-learn")

ROOT = Path(__file__).resolve().parents[2]
CPU = Path("/sys/fs/cgroup/cpu")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.cgroups,
    pytest.mark.skipif(
        os.geteuid() != 0
        or (not (CPU / "cpu.cfs_quota_us").exists() and not (CPU / "cgroup.procs").exists()),
        reason="writes control groups (v1): needs root and /sys/fs/cgroup/cpu",
    ),
]


def campaign(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command, quick, with a state folder of its own."""
    command = [sys.executable, "-m", "bench", "campaign", "--quick", "--out", str(folder / "out")]
    return subprocess.run(
        [*command, "--state-dir", str(folder / "state"), *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=280,
        check=False,
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """One campaign, for every test here."""
    folder = tmp_path_factory.mktemp("campaign")
    return folder, campaign(folder, "--dataset", str(folder / "copy"))


def test_a_campaign_leaves_a_dataset_that_reads_back(
    done: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, process = done
    assert process.returncode == 0, process.stderr
    files = {path.name for path in (folder / "out" / "dataset").iterdir()}
    assert files == {"README.md", "jobs.csv", "settings.jsonl", "profile.csv"}
    for name in files:
        assert (folder / "copy" / name).read_bytes() == (folder / "out" / "dataset" / name).read_bytes()
    read = read_dataset(folder / "out" / "dataset")
    assert read.warnings == ()
    runs = {run.setting.run: run.setting for run in read.dataset.runs}
    assert len(runs) == 6
    assert {one.threads for one in read.dataset.mechanisms.values()} == {1, 2}
    for means in ("q1", "q2"):
        assert runs[f"{means}-train-01-r0"].split is Split.TRAIN
        pair = [runs[f"{means}-test-01-r{repeat}"] for repeat in (0, 1)]
        assert [(one.split, one.repeat, one.setting) for one in pair] == [
            (Split.TEST, repeat, f"{means}-test-01") for repeat in (0, 1)
        ]
    rows = {(row.mechanism, row.kind, row.allocation) for row in read.dataset.profile}
    assert len(rows) == 2 * 3 * len(AloneAt)
    assert any(job.sprint > 0 for run in read.dataset.runs for job in run.jobs)


def test_nothing_in_a_dataset_tells_whose_machine_it_was(
    done: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = done
    for file in (folder / "out" / "dataset").iterdir():
        text = file.read_text(encoding="utf-8")
        for word in (str(folder), str(ROOT), str(Path.home()) + "/", socket.gethostname(), sys.executable):
            assert word not in text, file.name


def test_the_card_tells_what_was_measured(done: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = done
    card = (folder / "out" / "dataset" / "README.md").read_text(encoding="utf-8")
    assert "6 measured runs of 4 settings" in card
    assert "{" not in card.replace("{train", "")
    for word in ("quota-0.4-1-1t", "quota-0.6-2-2t", "Drift", "Apache-2.0", "Known limits", "seed 1"):
        assert word in card


def test_a_second_call_repeats_only_what_was_cut_short(
    done: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = done
    runs = sorted((folder / "out" / "runs").iterdir())
    before = {run.name: (run / "summary.json").read_text() for run in runs}
    (runs[0] / "summary.json").unlink()
    again = campaign(folder)
    assert again.returncode == 0, again.stderr
    after = {run.name: (run / "summary.json").read_text() for run in runs}
    assert [name for name in before if before[name] != after[name]] == [runs[0].name]
    assert json.loads((folder / "out" / "summary.json").read_text())["benchmark"] == "campaign"
    assert len(read_dataset(folder / "out" / "dataset").dataset.runs) == 6


def test_a_folder_with_another_plan_is_refused(done: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = done
    other = campaign(folder, "--seed", "2")
    assert other.returncode == 2
    assert "plan.json" in other.stderr


def test_an_interrupt_ends_the_run_it_is_in_and_leaves_no_group_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "campaign", "--quick", "--out", str(tmp_path / "out")]
    words = [*command, "--state-dir", str(tmp_path / "state")]
    with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        events = tmp_path / "out" / "profile" / "q1-0" / "events.jsonl"
        for _ in range(1200):
            if events.is_file() and '"started"' in events.read_text():
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 130
    told = [json.loads(line) for line in events.read_text().splitlines()]
    assert told[0]["type"] == "run"
    assert told[-1] == told[-1] | {"type": "ended", "status": "interrupted"}
    assert not list(CPU.rglob(f"kubesprint-{told[0]['run']}-slot-*"))
