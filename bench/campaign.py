"""Measures a dataset of real training jobs: `python -m bench campaign --out DIR`, some 40 minutes alone.

It drives the program itself: `kubesprint profile`, one `kubesprint run` a setting and repeat, in random
order, and `kubesprint export`. What is complete in DIR is not repeated: call again with the same --out
to go on. DIR/dataset is the dataset with its card; --dataset writes it elsewhere, too.
Two mechanisms, quota with one and with two threads; nine kinds; one slot; two runs never side by side.
"""

import argparse
import csv
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml

from bench.campaign_card import card
from bench.campaign_dataset import Measured, write
from bench.campaign_jobs import KINDS
from bench.campaign_plan import (
    MEANS,
    Means,
    Setting,
    Shape,
    Step,
    jobs_of,
    policy_document,
    profile_jobs,
    queue_document,
    settings_of,
    steps_of,
)
from bench.output import Results, add_common, progress
from bench.real import Foreign, refuse, state_folder
from kubesprint.adapters.files.facts import load_average, machine_facts
from kubesprint.adapters.files.state import check_folder
from kubesprint.apps.documents import load_profiles
from kubesprint.core.errors import SprintError

FULL = Shape(train=12, test=8, test_runs=2, seconds=30.0, blocks=3, rounds=2, kinds=tuple(sorted(KINDS)))
QUICK = Shape(
    train=1,
    test=1,
    test_runs=2,
    seconds=3.0,
    blocks=1,
    rounds=1,
    kinds=("components", "forest", "logistic"),
    scale=0.4,
)
ROOT = Path(__file__).resolve().parents[1]
ATTEMPTS = 2  # at a run of which a job failed
OVERHEAD = 3.0  # seconds of a run before the first job and after the last, for the time left


class Campaign:
    """One campaign in one folder."""

    def __init__(self, folder: Path, shape: Shape, seed: int, state: Path) -> None:
        self.folder, self.shape, self.seed, self.state = folder, shape, seed, state
        self.settings: dict[str, Setting] = {}
        self._same_plan()

    def _same_plan(self) -> None:
        """One folder holds one plan."""
        path = self.folder / "plan.json"
        plan = json.loads(json.dumps({"seed": self.seed, "shape": asdict(self.shape)}))
        if path.exists() and json.loads(path.read_text()) != plan:
            refuse("campaign", f"{path} holds another plan than these options make; choose another --out")
        path.write_text(json.dumps(plan) + "\n")

    def measure(self) -> None:
        """Everything that is not there yet, with the time left."""
        for means in MEANS:  # settings are in units of the service times measured here
            self._do(Step(f"{means.name}-0", means.name, is_profile=True))
        self.plan()
        missing = [step for step in self.steps if not complete(self.place(step))]
        planned = {step: self._expected(step) for step in missing}
        total = len(self.steps)
        begun, done = time.monotonic(), 0.0
        for index, step in enumerate(missing):
            left = sum(planned[one] for one in missing[index:])
            pace = (time.monotonic() - begun) / done if done else 1.0
            number = total - len(missing) + index + 1
            progress(f"campaign: {number} of {total}, {step.name}; some {left * pace / 60:.1f} min left")
            self._do(step)
            done += planned[step]

    def plan(self) -> None:
        """Settings and their order, from the first block of the profile."""
        settings = [
            setting
            for means in MEANS
            for setting in settings_of(means, self.shape, self._service(means), self.seed)
        ]
        self.settings = {setting.name: setting for setting in settings}
        self.steps = steps_of(settings, self.shape, self.seed)
        text = "".join(json.dumps(asdict(setting)) + "\n" for setting in settings)
        (self.folder / "settings.jsonl").write_text(text)

    def place(self, step: Step) -> Path:
        """The folder of a step."""
        return self.folder / ("profile" if step.is_profile else "runs") / step.name

    def walls(self, means: str) -> dict[str, float]:
        """Seconds of each kind at base, as first measured."""
        profiles = load_profiles(self.profiles(means)).value
        return {profile.workload: round(float(profile.points[0].wall), 3) for profile in profiles}

    def profiles(self, means: str) -> Path:
        """The first profile of a mechanism."""
        return self.folder / "profile" / f"{means}-0.yaml"

    def _service(self, means: Means) -> float:
        walls = self.walls(means.name)
        return sum(walls.values()) / len(walls)

    def _expected(self, step: Step) -> float:
        """Seconds that a step will take, about."""
        if step.is_profile:
            walls = self.walls(step.setting)
            return OVERHEAD + 1.5 * self.shape.rounds * sum(walls.values())
        return OVERHEAD + 1.1 * self.shape.seconds

    def _do(self, step: Step) -> None:
        """One step; a run of which a job failed is tried again."""
        folder = self.place(step)
        for _ in range(ATTEMPTS):
            if complete(folder):
                return
            shutil.rmtree(folder, ignore_errors=True)  # what was cut short says nothing
            folder.parent.mkdir(parents=True, exist_ok=True)
            words = self._profile(step) if step.is_profile else self._run(step)
            notes = {"started_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "load": load_average()}
            foreign = Foreign()
            self._execute(step, words)
            if (folder / "summary.json").is_file():
                text = json.dumps({**notes, "foreign_cores": foreign.cores()})
                (folder / "notes.json").write_text(text + "\n")
        if not complete(folder):
            refuse("campaign", f"{step.name} failed {ATTEMPTS} times; see {folder}")

    def _execute(self, step: Step, words: Sequence[str]) -> None:
        """The program, as a person would call it. Ends the campaign if it was interrupted or refused."""
        command = [sys.executable, "-m", "kubesprint", *words, "--state-dir", str(self.state)]
        with (self.folder / "output.log").open("a") as log:
            log.write(f"== {step.name}\n")
            log.flush()
            code = _wait(subprocess.Popen(command, stdout=log, stderr=log))
        if code in (130, 143):
            sys.exit(code)
        if code not in (0, 1):
            refuse("campaign", f"{step.name}: exit {code}; see the end of {log.name}")

    def _profile(self, step: Step) -> list[str]:
        means = next(one for one in MEANS if one.name == step.setting)
        number = int(step.name.rpartition("-")[2])
        jobs = profile_jobs(self.shape, number)
        return [
            *("profile", str(self._document(f"{step.name}-queue", self._queue(jobs, means)))),
            *("--policy", str(self._document(f"{step.name}-policy", policy_document(means, None)))),
            *("--runs", str(self.shape.rounds), "--mechanism", "quota", "--keep", str(self.place(step))),
            *("--out", str(self.folder / "profile" / f"{step.name}.yaml")),
        ]

    def _run(self, step: Step) -> list[str]:
        setting = self.settings[step.setting]
        means = next(one for one in MEANS if one.name == setting.means)
        jobs = jobs_of(setting, self.walls(means.name), self.shape.seconds)
        return [
            *("run", str(self._document(f"{setting.name}-queue", self._queue(jobs, means)))),
            *("--policy", str(self._document(f"{setting.name}-policy", policy_document(means, setting)))),
            *("--strategy", setting.strategy, "--profile", str(self.profiles(means.name))),
            *("--mechanism", "quota", "--bucket", "full", "--quiet", "--out", str(self.place(step))),
        ]

    def _queue(self, jobs: Sequence[Any], means: Means) -> Mapping[str, Any]:
        return queue_document(jobs, means, python=sys.executable, folder=ROOT, scale=self.shape.scale)

    def _document(self, name: str, content: Mapping[str, Any]) -> Path:
        path = self.folder / "documents" / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(dict(content), sort_keys=False))
        return path

    def measured(self) -> list[Measured]:
        """Every complete step, in the order in which they were made."""
        found = [
            Measured(step=step, folder=self.place(step), setting=self.settings.get(step.setting))
            for step in self.steps
            if complete(self.place(step))
        ]
        return sorted(found, key=lambda one: (one.started_at, self.steps.index(one.step)))


def _wait(process: "subprocess.Popen[bytes]") -> int:
    """Its exit code, or 130 after Ctrl-C: the program is told, and puts everything back before it ends."""
    interrupted = False
    with process:
        while True:
            try:
                code = process.wait()
            except KeyboardInterrupt:
                interrupted = True
                process.send_signal(signal.SIGINT)  # a second one, from the terminal, only makes it quicker
            else:
                return 130 if interrupted else code


def complete(folder: Path) -> bool:
    """Whether the run in a folder ended, every job well, and everything was put back."""
    try:
        summary = json.loads((folder / "summary.json").read_text())
        (folder / "notes.json").read_text()
    except (OSError, ValueError):
        return False
    jobs = summary["jobs"]
    good = jobs["failed"] == 0 and jobs["unfinished"] == 0 and jobs["finished"] > 0
    return bool(summary["status"] == "finished" and good and summary["restored"])


def facts() -> dict[str, Any]:
    """What is said of the machine: no name, no path."""
    import numpy as np
    import scipy
    import sklearn

    versions = {"python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__}
    return {**machine_facts(), **versions, "scikit-learn": sklearn.__version__}


def _options(words: list[str] | None) -> argparse.Namespace:
    parser = add_common(argparse.ArgumentParser(prog="python -m bench campaign", description=__doc__))
    parser.add_argument("--seed", type=int, default=1, help="of settings, arrivals, kinds and order")
    parser.add_argument("--dataset", type=Path, help="write the dataset here, too; what is there is replaced")
    parser.add_argument("--seconds", type=float, help="over which the jobs of a run arrive (30; quick: 3)")
    parser.add_argument("--state-dir", type=Path)
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> None:
    """Measure what is missing, then write dataset and card."""
    options = _options(words)
    shape = QUICK if options.quick else FULL
    shape = replace(shape, seconds=options.seconds or shape.seconds)
    results = Results("campaign", options)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        state = state_folder(options.state_dir)
        check_folder(state)
        campaign = Campaign(results.folder.resolve(), shape, options.seed, state.resolve())
        campaign.measure()
        target = results.folder / "dataset"
        _publish(campaign, target)
    except SprintError as error:
        refuse("campaign", str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    if options.dataset is not None:
        options.dataset.mkdir(parents=True, exist_ok=True)
        for file in target.iterdir():
            shutil.copyfile(file, options.dataset / file.name)
    rows = [_row(one) for one in campaign.measured()]
    results.finish(rows, seeds={"plan": options.seed}, dataset_bytes=_size(target))


def _publish(campaign: Campaign, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    measured = campaign.measured()
    for warning in write(measured, target, export=_export):
        progress(f"campaign: {warning}")
    text = card(target, measured, campaign.seed, campaign.shape, facts())
    (target / "README.md").write_text(text, encoding="utf-8")


def _export(folders: Sequence[Path], target: Path, split: str) -> list[dict[str, Any]]:
    """`kubesprint export`; the runs as it lists them, in the order of the folders."""
    command = [sys.executable, "-m", "kubesprint", "export", "--json", "--split", split]
    words = [*command, *(str(folder) for folder in folders), str(target)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=dict(os.environ))
    if done.returncode != 0:
        refuse("campaign", f"export: {done.stderr.strip()}")
    return list(json.loads(done.stdout)["runs"])


def _row(one: Measured) -> dict[str, Any]:
    with (one.folder / "jobs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    responses = [float(row["end_seconds"]) - float(row["arrival_seconds"]) for row in rows]
    return {
        "step": one.step.name,
        "jobs": len(rows),
        "mean s": None if one.step.is_profile else sum(responses) / len(rows),
        "sprint s": sum(float(row["sprint_seconds"] or 0) for row in rows),
        "cpu s": sum(float(row["cpu_seconds"] or 0) for row in rows),
        "foreign cores": one.notes["foreign_cores"],
        "load before": one.notes["load"],
    }


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


if __name__ == "__main__":
    main()
