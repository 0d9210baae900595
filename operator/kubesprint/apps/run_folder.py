"""The folder of a run: what was asked for, kept beside what came of it, so that a run can be resumed."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kubesprint.adapters.files.results import EVENTS, JOBS, EventLog, JobTable, read_events, read_jobs
from kubesprint.core.errors import Refused
from kubesprint.core.records import JobRecord
from kubesprint.core.units import Seconds

INPUTS = "inputs"
ORIGIN = "origin.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """What the first part of a resumed run has left."""

    run: str
    epoch: int
    elapsed: Seconds  # on the run's clock, which stood still while nobody ran it
    records: tuple[JobRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """An open run folder."""

    path: Path
    events: EventLog
    table: JobTable
    earlier: Earlier | None

    @property
    def logs(self) -> Path:
        """Where the jobs' output goes."""
        return self.path / "jobs"

    def close(self) -> None:
        """Make everything durable."""
        self.events.close()
        self.table.close()


def create(path: Path, inputs: Mapping[str, Path], origin: Mapping[str, object]) -> RunFolder:
    """A new run folder; `inputs` are copied into it.

    Raises:
        Refused: it exists and is not empty, or cannot be made.
    """
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise Refused(
                f"--out: {path} exists and is not empty; choose another folder, or continue it with --resume"
            )
        (path / "jobs").mkdir(parents=True, exist_ok=True)
        (path / INPUTS).mkdir(exist_ok=True)
        for name, source in inputs.items():
            shutil.copyfile(source, path / INPUTS / name)
        (path / INPUTS / ORIGIN).write_text(json.dumps(dict(origin), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise Refused(f"--out: {path} cannot be written: {error.strerror}; choose another folder") from error
    return RunFolder(path=path, events=EventLog(path / EVENTS), table=JobTable(path / JOBS), earlier=None)


def reopen(path: Path) -> RunFolder:
    """Continue a run folder.

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
    earlier = Earlier(
        run=str(starts[0]["run"]),
        epoch=len(starts),
        elapsed=Seconds(max(float(event["at"]) for event in events)),
        records=tuple(records),
    )
    return RunFolder(
        path=path,
        events=EventLog(path / EVENTS, resume=True),
        table=JobTable(path / JOBS, resume=True),
        earlier=earlier,
    )


def read_origin(path: Path) -> Mapping[str, object]:
    """What `create` noted beside the inputs. Raises `Refused` if it is not there."""
    file = path / INPUTS / ORIGIN
    try:
        loaded = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Refused(f"--resume: {file} cannot be read: {error}") from error
    if not isinstance(loaded, dict):
        raise Refused(f"--resume: {file} is not what a run writes there")
    return loaded
