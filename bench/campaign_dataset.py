"""Puts the runs of a campaign together as one dataset, with names that say what each run is.

`kubesprint export` writes training and held-out runs; here they become one folder, and the jobs that
were profiled alone become `profile.csv`.
"""

import csv
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.campaign_plan import MEANS, Setting, Step
from kubesprint.adapters.files.dataset_reader import read_dataset
from kubesprint.core.errors import Refused
from kubesprint.core.profiling import BASE, SPRINT

PROFILE_COLUMNS = ("mechanism", "kind", "allocation", "wall_seconds", "cpu_seconds")

Export = Callable[[Sequence[Path], Path, str], list[dict[str, Any]]]
"""Run folders, the folder of a dataset, the split; the exported runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One step that was done."""

    step: Step
    folder: Path
    setting: Setting | None  # None: a block of the profile

    @property
    def notes(self) -> dict[str, Any]:
        """When it started, and how busy the machine was with other things."""
        return dict(json.loads((self.folder / "notes.json").read_text()))

    @property
    def started_at(self) -> str:
        """UTC."""
        return str(self.notes["started_at"])


def write(measured: Sequence[Measured], target: Path, *, export: Export) -> list[str]:
    """Write jobs.csv, settings.jsonl and profile.csv to `target`, and read them back; what is odd in them.

    Raises:
        Refused: there is nothing to write, or it does not read back as what was planned.
    """
    target.mkdir(parents=True)
    settings: list[dict[str, Any]] = []
    jobs: list[dict[str, str]] = []
    for split in ("train", "test"):
        runs = [one for one in measured if one.setting is not None and one.setting.split == split]
        part = target / split
        exported = export([one.folder for one in runs], part, split)
        names = _names(runs, exported)
        settings += [_renamed(run, one) for run, one in zip(exported, runs, strict=True)]
        jobs += _jobs(part / "jobs.csv", names)
        shutil.rmtree(part)
    settings.sort(key=lambda one: str(one["started_at"]))
    text = "".join(json.dumps(setting) + "\n" for setting in settings)
    (target / "settings.jsonl").write_text(text, encoding="utf-8")
    order = {setting["run"]: place for place, setting in enumerate(settings)}
    jobs.sort(key=lambda row: order[row["run"]])
    _table(target / "jobs.csv", list(jobs[0]), jobs)
    mechanisms = {_means_of(setting): setting["mechanism"]["name"] for setting in settings}
    _table(target / "profile.csv", PROFILE_COLUMNS, _profile_rows(measured, mechanisms))
    return list(read_dataset(target).warnings)


def _names(runs: Sequence[Measured], exported: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
    """By the exported name of a run: its own name and that of its setting.

    Export finds repeats by what was measured; that they are the planned ones shows that the rules and the
    arrivals were kept.
    """
    groups: dict[str, str] = {}
    for one, run in zip(runs, exported, strict=True):
        assert one.setting is not None
        if groups.setdefault(run["setting"], one.setting.name) != one.setting.name:
            raise Refused(f"{one.folder}: export takes it for a repeat of {groups[run['setting']]}")
    if len(set(groups.values())) != len(groups):
        raise Refused("export takes runs of one setting for several: their arrivals or rules differ")
    return {run["run"]: (one.step.name, one.step.setting) for one, run in zip(runs, exported, strict=True)}


def _renamed(run: Mapping[str, Any], one: Measured) -> dict[str, Any]:
    """A line of settings.jsonl."""
    assert one.setting is not None
    own = {"run": one.step.name, "setting": one.setting.name}
    rest = {key: value for key, value in run.items() if key not in ("folder", "jobs", *own)}
    return own | rest | {"arrivals": one.setting.arrivals, "started_at": one.started_at}


def _means_of(setting: Mapping[str, Any]) -> str:
    return str(setting["setting"]).partition("-")[0]


def _jobs(file: Path, names: Mapping[str, tuple[str, str]]) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        row["run"], row["setting"] = names[row["run"]]
    return rows


def _profile_rows(measured: Sequence[Measured], mechanisms: Mapping[str, str]) -> list[dict[str, Any]]:
    """One row a job of the profile, in the order in which they ran."""
    rows = []
    for one in measured:
        if not one.step.is_profile:
            continue
        if one.step.setting not in {means.name for means in MEANS}:
            raise Refused(f"{one.folder}: no mechanism is called {one.step.setting}")
        with (one.folder / "jobs.csv").open(newline="") as stream:
            for row in csv.DictReader(stream):
                level = BASE if row["name"].endswith(BASE) else SPRINT
                wall = float(row["end_seconds"]) - float(row["start_seconds"])
                rows.append(
                    {
                        "mechanism": mechanisms[one.step.setting],
                        "kind": row["kind"],
                        "allocation": level,
                        "wall_seconds": round(wall, 6),
                        "cpu_seconds": float(row["cpu_seconds"]),
                    }
                )
    return rows


def _table(file: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
