"""The datasets that come with the project: whole, small, readable, and about nobody's machine."""

import re
from collections import Counter
from pathlib import Path

import pytest

from kubesprint.adapters.files.dataset_reader import read_dataset
from kubesprint.core.dataset import AloneAt, Split

DATA = Path(__file__).resolve().parents[3] / "models" / "data"
FILES = {"README.md", "jobs.csv", "settings.jsonl", "profile.csv"}
PRIVATE = re.compile(r"(?<![\w.])/(home|root|tmp|work|opt|var|usr|srv|mnt|Users)/")

datasets = pytest.mark.parametrize(
    "folder", sorted(DATA.iterdir()) if DATA.is_dir() else [], ids=lambda one: one.name
)


@datasets
def test_a_dataset_is_small_and_holds_nothing_but_its_tables_and_its_card(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == FILES
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1_000_000
    for path in folder.iterdir():
        assert PRIVATE.search(path.read_text(encoding="utf-8")) is None, path.name


@datasets
def test_a_dataset_can_be_fitted_to_and_judged_by(folder: Path) -> None:
    dataset = read_dataset(folder).dataset
    mechanisms = dataset.mechanisms
    assert {one.threads for one in mechanisms.values()} == {1, 2}
    settings = {run.setting.setting: run.setting for run in dataset.runs}
    counts = Counter((one.mechanism.name, one.split) for one in settings.values())
    runs = Counter(run.setting.setting for run in dataset.runs)
    kinds = {job.kind for run in dataset.runs for job in run.jobs}
    assert len(kinds) == 9
    alone = Counter((row.mechanism, row.kind, row.allocation) for row in dataset.profile)
    for name in mechanisms:
        assert counts[name, Split.TRAIN] >= 12
        assert counts[name, Split.TEST] >= 8
        assert all(alone[name, kind, at] >= 3 for kind in kinds for at in AloneAt)
    assert all(runs[one.setting] >= 2 for one in settings.values() if one.split is Split.TEST)


@datasets
def test_held_out_settings_are_not_among_those_that_are_fitted_to(folder: Path) -> None:
    rules: dict[Split, set[object]] = {Split.TRAIN: set(), Split.TEST: set()}
    for run in read_dataset(folder).dataset.runs:
        one = run.setting
        rules[one.split].add((one.mechanism.name, one.timeout, one.clock, one.capacity, one.refill))
    assert rules[Split.TRAIN]
    assert not rules[Split.TRAIN] & rules[Split.TEST]


@pytest.mark.parametrize("text", ["see /home/me/x", "(/tmp/a)", '"/work/main/bench"', "=/root/y"])
def test_paths_of_a_machine_are_found(text: str) -> None:
    assert PRIVATE.search(text) is not None


@pytest.mark.parametrize("text", ["[format](../../../docs/dataset.md)", "sprint s / s", "out/tmp/x"])
def test_other_slashes_are_not(text: str) -> None:
    assert PRIVATE.search(text) is None
