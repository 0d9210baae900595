"""The folder of a run: what was asked for, kept beside what came of it, so that a run can be resumed."""

import fcntl
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubesprint.adapters.files.lock import RunLock
from kubesprint.adapters.files.results import EVENTS, JOBS, EventLog, JobTable, read_events, read_jobs
from kubesprint.core.errors import Refused
from kubesprint.core.records import JobRecord
from kubesprint.core.units import CoreSeconds, Seconds

INPUTS = "inputs"
ORIGIN = "origin.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """What the first part of a resumed run has left."""

    run: str
    epoch: int
    elapsed: Seconds  # on the run's clock, which stood still while nobody ran it
    records: tuple[JobRecord, ...]
    lost: tuple[JobRecord, ...] = ()  # of `records`, those whose row was not written any more
    arrived: frozenset[str] = frozenset()
    leaders: Mapping[str, int] = field(default_factory=dict)  # pids of jobs that the last part has started


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """An open run folder."""

    path: Path
    events: EventLog
    table: JobTable
    earlier: Earlier | None
    lock: RunLock  # one process at a time writes here

    @property
    def logs(self) -> Path:
        """Where the jobs' output goes."""
        return self.path / "jobs"

    def close(self) -> None:
        """Make everything durable."""
        self.events.close()
        self.table.close()
        self.lock.release()


def check_new(path: Path) -> None:
    """See, without changing anything, that a run folder can be made. Raises `Refused`."""
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise Refused(
                f"--out: {path} exists and is not empty; choose another folder, or continue it with --resume"
            )
        nearest = path.absolute()
        while not nearest.exists():
            nearest = nearest.parent
    except OSError as error:
        raise Refused(f"--out: {path} cannot be reached: {error.strerror}; choose another folder") from error
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise Refused(
            f"--out: {path} cannot be made: {nearest} is not a folder that user {os.geteuid()} may write"
        )


def create(path: Path, inputs: Mapping[str, Path], origin: Mapping[str, object]) -> RunFolder:
    """A new run folder; `inputs` are copied into it.

    Raises:
        Refused: it exists and is not empty, or cannot be made.
    """
    check_new(path)
    try:
        (path / "jobs").mkdir(parents=True, exist_ok=True)
        (path / INPUTS).mkdir(exist_ok=True)
        for name, source in inputs.items():
            shutil.copyfile(source, path / INPUTS / name)
        (path / INPUTS / ORIGIN).write_text(json.dumps(dict(origin), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise Refused(f"--out: {path} cannot be written: {error.strerror}; choose another folder") from error
    return RunFolder(
        path=path,
        events=EventLog(path / EVENTS),
        table=JobTable(path / JOBS),
        earlier=None,
        lock=_lock(path),
    )


def discard_unused(folder: RunFolder) -> None:
    """Remove a folder in which no run has begun: it was refused after all."""
    folder.close()
    if folder.earlier is None and (folder.path / EVENTS).stat().st_size == 0:
        shutil.rmtree(folder.path)


def _lock(path: Path) -> RunLock:
    """Let nobody else write here as long as this process lives. Raises `Refused`."""
    descriptor = os.open(path / INPUTS / ORIGIN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise Refused(f"--resume: the run in {path} is live; wait for it or end it first") from error
    return RunLock(descriptor)


def part_id(run: str, earlier: Earlier) -> str:
    """What groups and marks of the next part of a run are named by: a survivor has those of its own part."""
    return f"{run}-{earlier.epoch + 1}"


def earlier_part(path: Path) -> Earlier:
    """What a run folder holds so far; changes nothing.

    Raises:
        Refused: it holds no run.
        Corrupt: something in it is damaged, and named.
    """
    if not (path / EVENTS).is_file():
        raise Refused(f"--resume: {path} holds no run (no {EVENTS}); start one with --out {path}")
    events = list(read_events(path / EVENTS))
    starts = [event for event in events if event["type"] == "run"]
    if not starts:
        raise Refused(f"--resume: {path} ended before its run began; start it anew in an empty folder")
    records = read_jobs(path / JOBS) if (path / JOBS).is_file() else []
    lost = _lost(events, {record.name for record in records}, starts[-1])
    return Earlier(
        run=str(starts[0]["run"]),
        epoch=len(starts),
        elapsed=Seconds(max(float(event["at"]) for event in events)),
        records=(*records, *lost),
        lost=lost,
        arrived=frozenset(str(event["job"]) for event in events if event["type"] == "arrived"),
        leaders=_leaders(events),
    )


_Event = Mapping[str, Any]


def _leaders(events: Sequence[_Event]) -> Mapping[str, int]:
    """The pid of each job that was started since the last part began."""
    pids: dict[str, int] = {}
    for event in events:
        if event["type"] == "run":
            pids = {}
        elif event["type"] == "started" and event.get("pid"):
            pids[str(event["job"])] = int(event["pid"])
    return pids


def _lost(events: Sequence[_Event], known: set[str], head: _Event) -> tuple[JobRecord, ...]:
    """Rows of jobs whose end was told but whose row was still to come when the run was killed."""
    told: dict[str, dict[str, _Event]] = {}
    sprints: dict[str, float] = {}
    for event in events:
        name = str(event.get("job", ""))
        if event["type"] == "sprint_ended":
            sprints[name] = sprints.get(name, 0.0) + float(event["seconds"])
        told.setdefault(name, {})[event["type"]] = event
    return tuple(
        _row_from(name, seen, sprints.get(name, 0.0), head)
        for name, seen in told.items()
        if name not in known and "finished" in seen and "arrived" in seen
    )


def _row_from(name: str, seen: Mapping[str, _Event], sprint: float, head: _Event) -> JobRecord:
    end, start, first = seen["finished"], seen.get("started"), seen.get("sprint_started")
    return JobRecord(
        run=str(head["run"]),
        setting=str(head["setting"]),
        kind=str(seen["arrived"]["kind"]),
        arrival=Seconds(float(seen["arrived"]["at"])),
        start=None if start is None else Seconds(float(start["at"])),
        end=None if start is None else Seconds(float(end["at"])),
        cpu=None if end["cpu_seconds"] is None else CoreSeconds(float(end["cpu_seconds"])),
        sprint=Seconds(sprint),
        sprint_start=None if first is None else Seconds(float(first["at"])),
        sprint_cpu=CoreSeconds(0.0),  # nobody was there to account for it
        name=name,
        exit=end["exit"],
        predicted_response=None,
    )


def reopen(path: Path) -> RunFolder:
    """Continue a run folder. Raises as `earlier_part`, and `Refused` while another process writes there."""
    lock = _lock(path)
    earlier = earlier_part(path)
    table = JobTable(path / JOBS, resume=True)
    for row in earlier.lost:
        table.append(row)
    events = EventLog(path / EVENTS, resume=True)
    return RunFolder(path=path, earlier=earlier, events=events, table=table, lock=lock)


def read_origin(path: Path) -> Mapping[str, object]:
    """What `create` noted beside the inputs. Raises `Refused` if it is not there."""
    file = path / INPUTS / ORIGIN
    try:
        loaded = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Refused(
            f"--resume: {path} is not a folder that kubesprint run wrote: it has no {file.name}"
        ) from error
    except (OSError, ValueError) as error:
        raise Refused(f"--resume: {file} cannot be read: {error}") from error
    if not isinstance(loaded, dict):
        raise Refused(f"--resume: {file} is not what a run writes there")
    return loaded
