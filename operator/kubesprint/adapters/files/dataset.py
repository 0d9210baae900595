"""The dataset format: finished runs as one folder that a model can be fitted to and judged by.

`jobs.csv` holds a row a job and `settings.jsonl` an object a run; docs/dataset.md describes both.
A run is exported only if its setting can be told truly: what cannot be is refused by name.
"""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kubesprint.adapters.files.results import COLUMNS, JOBS, finite, job_cells, number, read_jobs
from kubesprint.adapters.files.story import RunStory, read_story
from kubesprint.adapters.files.timeouts import Changed, effective_timeout
from kubesprint.core.allocation import Allocation
from kubesprint.core.errors import Refused, Unavailable
from kubesprint.core.records import JobRecord
from kubesprint.core.units import Cores

SETTINGS = "settings.jsonl"

SPLITS = ("train", "test")

EXCLUDED = "excluded"
"""The split of a run whose time-out changed: no reader fits to it or scores it as a setting."""

WITHHELD = frozenset({"NotSelected", "NoKeeper", "JournalUnwritable", "Paused", "StaleEpoch", "Rejected"})
"""Reasons for which a job was not sprinted, or not even held at base, that no setting can tell."""

ARRIVAL_TOLERANCE = 0.25
"""Seconds by which the arrivals of two runs may differ and still be the same trace, measured twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedRun:
    """One run as it enters a dataset."""

    folder: Path
    setting: Mapping[str, Any]  # one object of settings.jsonl
    records: Sequence[JobRecord]

    @property
    def failed(self) -> int:
        """Jobs that ended with an exit other than 0; they stay, because they held a server."""
        return sum(1 for record in self.records if record.exit not in (0, None))


def write_dataset(
    folders: Sequence[Path], target: Path, *, split: str = "train", changing: bool = False
) -> list[ExportedRun]:
    """Write a dataset from run folders; what went into it, in their order.

    Runs of the same rules and the same arrivals are repeats of one setting. Two settings that would share a
    name, and two runs that would, get a number: `never`, `never-2`.

    Args:
        folders: run folders.
        target: the dataset; new, or empty.
        split: what the runs are for.
        changing: take in runs whose time-out changed too, as `EXCLUDED`; otherwise they are refused.

    Raises:
        Refused: the target is not empty, or a folder cannot be exported; nothing was written.
        Corrupt: a file of a run folder is damaged.
        Unavailable: the target cannot be written.
    """
    if split not in SPLITS:
        raise Refused(f"--split {split}: choose train or test")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise Refused(f"{target} exists and is not an empty folder; choose another place for the dataset")
    runs = _name([read_run(folder, split=split, changing=changing) for folder in folders])
    jobs, settings = io.StringIO(), io.StringIO()
    table = csv.writer(jobs, lineterminator="\n")
    table.writerow(COLUMNS)
    for run in runs:
        table.writerows(job_cells(record) for record in run.records)
        settings.write(json.dumps(run.setting, ensure_ascii=False, allow_nan=False) + "\n")
    try:
        target.mkdir(parents=True, exist_ok=True)
        (target / SETTINGS).write_text(settings.getvalue(), encoding="utf-8")
        (target / JOBS).write_text(jobs.getvalue(), encoding="utf-8")
    except OSError as error:
        raise Unavailable(f"cannot write {target}: {error.strerror}") from error
    return runs


def read_run(folder: Path, *, split: str = "train", changing: bool = False) -> ExportedRun:
    """One run folder as a run of a dataset. Raises `Refused` naming what the format cannot tell.

    Takes the arguments of `write_dataset`.
    """
    story, records = read_story(folder), read_jobs(folder / JOBS)
    if objection := _objection(story, records):
        raise Refused(f"{folder}: {objection}")
    try:
        setting = _setting(story, records, split, changing=changing)
    except Changed as error:
        advice = "leave it out, or take it in with --changing-timeouts, excluded from fitting and scoring"
        raise Refused(f"{folder}: {error}; {advice}") from error
    except ValueError as error:
        raise Refused(f"{folder}: {error}") from error
    return ExportedRun(folder=folder, setting=setting, records=records)


def _objection(story: RunStory, records: Sequence[JobRecord]) -> str:
    """Why this run is no setting of a dataset; empty: it is one."""
    owners = {(record.run, record.setting) for record in records}
    unfinished = [record.name for record in records if record.end is None]
    recorded = {record.name for record in records}
    unfinished += [job.name for job in story.jobs.values() if job.name not in recorded]
    mode = story.run.get("mode")
    reasons = {note.reason for job in story.jobs.values() for note in job.notes}
    withheld = ", ".join(sorted(reasons & WITHHELD))
    objections = [
        (not story.run, "events.jsonl does not say what ran (no run event)"),
        (not records, "no job has finished"),
        (len(owners) > 1, f"jobs.csv mixes {len(owners)} runs or settings; one folder holds one run"),
        (
            story.status != "finished",
            f"the run is {story.status or 'not over'}; only a finished run is a setting",
        ),
        (bool(unfinished), f"{len(unfinished)} jobs never ended ({', '.join(unfinished[:3])})"),
        (bool(story.resumed), "the run was interrupted and resumed, so its response times hold the gap"),
        (mode != "Enforce", f"mode {mode}: its jobs had no base allocation; only Enforce runs are settings"),
        ("DeadlineAtRisk" in reasons, "sprints went by deadlines; a setting has one time-out for all jobs"),
        (bool(withheld), f"sprints were withheld ({withheld}); in a setting all jobs go by the same rules"),
    ]
    return next((text for found, text in objections if found), "")


def _setting(story: RunStory, records: Sequence[JobRecord], split: str, *, changing: bool) -> dict[str, Any]:
    """The object of settings.jsonl. Raises `ValueError` for what the format has no words for."""
    run = story.run
    base, sprint = _allocation(run, "base"), _allocation(run, "sprint")
    if base.clock != sprint.clock:
        raise ValueError("the sprint raises the clock; the format knows the mechanisms quota and cores")
    rate = sprint.cost_rate(base)
    rules = _sprint_rules(story, split, changing=changing)
    timeout, strategy = rules["timeout_seconds"], rules.get("strategy")
    setting: dict[str, Any] = {
        "run": records[0].run,
        "setting": records[0].setting,
        **rules,
        "mechanism": _mechanism(run, base, sprint),
        "servers": int(number(run.get("slots")) or 1),
        **_budget(run, rate, sprints=timeout is not None or strategy is not None),
        "duration_seconds": max(record.end or 0.0 for record in records),
        "arrivals": str(run.get("arrivals") or "trace"),
        "repeat": 0,
    }
    if run.get("started_at") is not None:
        setting["started_at"] = run["started_at"]
    return {key: finite(value) for key, value in setting.items()}


def _sprint_rules(story: RunStory, split: str, *, changing: bool) -> dict[str, Any]:
    """Split, time-out and its clock; for a run without one time-out the strategy that chose them."""
    clock = _clock(story)
    try:
        timeout = effective_timeout(story, clock or "arrival")
    except Changed:
        if not changing:
            raise
        strategy = str(story.run.get("strategy", ""))
        return {"split": EXCLUDED, "timeout_seconds": None, "clock": clock or "arrival", "strategy": strategy}
    if clock is None and 0 < timeout < math.inf:  # never and always are the same on both clocks
        raise ValueError("the clock of the time-out is not recorded")
    return {
        "split": split,
        "timeout_seconds": None if math.isinf(timeout) else timeout,
        "clock": clock or "arrival",
    }


def _allocation(run: Mapping[str, Any], end: str) -> Allocation:
    value = run.get(end)
    cores = number(value.get("cores")) if isinstance(value, dict) else None
    if not isinstance(value, dict) or cores is None:
        raise ValueError(f"the run event has no {end}.cores")
    return Allocation(Cores(cores), number(value.get("clock")) or 1.0)


def _mechanism(run: Mapping[str, Any], base: Allocation, sprint: Allocation) -> dict[str, Any]:
    given = run.get("mechanism")
    details = given if isinstance(given, dict) else {}
    word = str(details.get("knob") or details.get("name") or given or "").lower()
    knob = (
        "quota"
        if "quota" in word
        else "cores"
        if any(w in word for w in ("cpuset", "affinity", "cores"))
        else ""
    )
    if not knob:
        raise ValueError(f"mechanism {given!r} is none of quota, cpuset and affinity")
    # a job is started with the thread counts of its sprint allocation, unless the run says otherwise
    threads = number(details.get("threads")) or number(run.get("threads")) or math.ceil(sprint.cores)
    return {
        "name": f"{knob}-{base.cores:g}-{sprint.cores:g}-{threads:g}t",
        "knob": knob,
        "threads": int(threads),
        "base_cores": base.cores,
        "sprint_cores": sprint.cores,
    }


def _clock(story: RunStory) -> str | None:
    """What the run said of the clock of its time-outs; None: nothing."""
    said = sorted({str(event["clock"]) for event in (story.run, *story.triggers) if event.get("clock")})
    if not said:
        return None
    if [word.lower() for word in said] not in (["arrival"], ["start"]):
        raise ValueError(f"the clock of the time-out is {', '.join(said)}")
    return said[0].lower()


def _budget(run: Mapping[str, Any], rate: float, *, sprints: bool) -> dict[str, Any]:
    """The bucket in sprint seconds: what drains one a second drains `rate` core-seconds."""
    budget = run.get("budget")
    if not isinstance(budget, dict) or rate <= 0:
        if sprints:
            raise ValueError("the run event has no budget, or its sprint costs nothing")
        budget, rate = {}, 1.0
    capacity, refill = number(budget.get("capacity_core_seconds")), number(budget.get("refill_cores"))
    return {
        "capacity_sprint_seconds": (capacity or 0.0) / rate,
        "refill_per_second": (refill or 0.0) / rate,
        "refill_rule": str(budget.get("while_sprinting", "Paused")).lower(),
        "hysteresis_sprint_seconds": number(budget.get("hysteresis_seconds")) or 0.2,
    }


# --- names ------------------------------------------------------------------------------------------


def _name(runs: Sequence[ExportedRun]) -> list[ExportedRun]:
    """Number repeats, and give every setting and every run a name of its own."""
    named: list[ExportedRun] = []
    for run in runs:
        twin = next((other for other in named if other.records == run.records), None)
        if twin is not None:
            raise Refused(f"{run.folder} holds the same run as {twin.folder}; name each run once")
        group = [other for other in named if _same_setting(run, other)]
        taken = {other.setting["setting"] for other in named}
        setting = group[0].setting["setting"] if group else _free(run.setting["setting"], taken)
        name = _free(run.setting["run"], {other.setting["run"] for other in named})
        named.append(_renamed(run, name, setting, len(group)))
    return [replace(run, records=_records(run)) for run in named]


def _free(name: str, taken: set[str]) -> str:
    number_ = 2
    candidate = name
    while candidate in taken:
        candidate, number_ = f"{name}-{number_}", number_ + 1
    return candidate


def _renamed(run: ExportedRun, name: str, setting: str, repeat: int) -> ExportedRun:
    return replace(run, setting={**run.setting, "run": name, "setting": setting, "repeat": repeat})


def _records(run: ExportedRun) -> list[JobRecord]:
    name, setting = run.setting["run"], run.setting["setting"]
    return [replace(record, run=name, setting=setting) for record in run.records]


_OWN = ("run", "setting", "repeat", "duration_seconds", "started_at")


def _same_setting(one: ExportedRun, other: ExportedRun) -> bool:
    """The same rules and the same trace, whatever came of it."""
    rules = [{k: v for k, v in run.setting.items() if k not in _OWN} for run in (one, other)]
    traces = [sorted((r.arrival, r.name, r.kind) for r in run.records) for run in (one, other)]
    by_name = [{name: (kind, arrival) for arrival, name, kind in trace} for trace in traces]
    if rules[0] != rules[1] or by_name[0].keys() != by_name[1].keys():
        return False
    return all(
        kind == by_name[1][name][0] and abs(arrival - by_name[1][name][1]) <= ARRIVAL_TOLERANCE
        for name, (kind, arrival) in by_name[0].items()
    )
