"""Reads a dataset back, from wherever it came: `jobs.csv`, `settings.jsonl` and perhaps `profile.csv`.

docs/dataset.md describes the files. What is broken is refused with its file, line and column; what is
odd but usable is kept and said in a warning.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kubesprint.adapters.files.csv_rows import csv_rows
from kubesprint.adapters.files.dataset import SETTINGS
from kubesprint.adapters.files.dataset_settings import SettingLine, read_settings
from kubesprint.adapters.files.results import COLUMNS, JOBS
from kubesprint.core.dataset import AloneAt, Dataset, JobRow, ProfileRun, Run, Split
from kubesprint.core.errors import Refused
from kubesprint.core.units import CoreSeconds, Seconds

PROFILE = "profile.csv"

JOB_COLUMNS = COLUMNS[:10]
PROFILE_COLUMNS = ("mechanism", "kind", "allocation", "wall_seconds", "cpu_seconds")

ROUNDING = 2e-3
"""Seconds by which a start may precede its arrival, or an end its start: two clocks, or rounding."""

LEAST_CPU = 1e-6
"""CPU seconds. A job that used less than its clock could show counts as this."""


@dataclass(frozen=True, slots=True)
class ReadDataset:
    """A dataset, and what in it is odd: one sentence each."""

    dataset: Dataset
    warnings: tuple[str, ...]


def read_dataset(folder: Path) -> ReadDataset:
    """Read a dataset.

    Raises:
        Refused: `FILE:LINE: COLUMN: what is wrong; what is allowed`. Nothing is guessed.
    """
    if not folder.is_dir():
        raise Refused(f"{folder}: is not a folder; give a dataset, a folder with {JOBS} and {SETTINGS}")
    settings = read_settings(folder / SETTINGS)
    by_run = {line.setting.run: line for line in settings.lines}
    reading = _Reading(folder / JOBS, by_run, settings.passed_over)
    rows = reading.rows()
    for line in settings.lines:
        if not rows[line.setting.run]:
            raise Refused(
                f"{folder / SETTINGS}:{line.number}: run: {line.setting.run!r} has no job in {JOBS}; "
                "write at least one row a run, or leave the run out"
            )
    runs = tuple(
        Run(setting=line.setting, jobs=_by_arrival(rows[line.setting.run])) for line in settings.lines
    )
    profile = tuple(_profile(folder / PROFILE)) if (folder / PROFILE).exists() else ()
    dataset = Dataset(runs=runs, profile=profile)
    passed_over = Counter(settings.passed_over.values())
    warnings = [
        f"{SETTINGS}: {count} runs have the split {split!r}, neither train nor test: passed over"
        for split, count in passed_over.items()
    ]
    return ReadDataset(dataset, (*warnings, *reading.warnings(), *_odd(dataset)))


def _by_arrival(jobs: Sequence[JobRow]) -> tuple[JobRow, ...]:
    """In the order of arrival; jobs that arrive together in the order of the file."""
    return tuple(sorted(jobs, key=lambda job: job.arrival))


def _odd(dataset: Dataset) -> Iterator[str]:
    """What a reader of results should know about the data as a whole."""
    mechanisms = dataset.mechanisms
    for name in sorted({row.mechanism for row in dataset.profile} - mechanisms.keys()):
        yield f"{PROFILE}: mechanism {name!r} is of no run; its rows have no use"
    for run in dataset.runs:
        setting = run.setting
        if math.isfinite(setting.timeout) and setting.split is Split.TRAIN and setting.repeat == 0:
            break
    else:
        yield "no training run has a time-out, so nothing but the profile can show what a sprint does"


# --- tables -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of a table, by column."""

    file: Path
    line: int
    cells: dict[str, str]

    def refusal(self, column: str, problem: str) -> Refused:
        """What is wrong, with its place."""
        return Refused(f"{self.file}:{self.line}: {column}: {problem}")

    def word(self, column: str) -> str:
        """A text that is not empty."""
        if not self.cells[column]:
            raise self.refusal(column, "is empty; write a name")
        return self.cells[column]

    def seconds(self, column: str, *, above_zero: bool = False) -> float:
        """A finite number, 0 or more."""
        text = self.cells[column]
        allowed = "seconds above 0" if above_zero else "seconds, 0 or more"
        if not text:
            raise self.refusal(column, f"is empty; write {allowed}")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value < 0 or (above_zero and value == 0) or "_" in text:
            raise self.refusal(column, f"{text[:40]!r} is not allowed; write {allowed}")
        return value

    def seconds_or_none(self, column: str) -> float | None:
        """The same, or None for an empty cell."""
        return self.seconds(column) if self.cells[column] else None


def _table(file: Path, columns: Sequence[str]) -> Iterator[_Row]:
    """The rows of a CSV file; columns go by name, further ones are left out, blank lines are skipped."""
    header: list[str] | None = None
    for line, fields in csv_rows(file):
        if header is None:
            header = _header(file, line, fields, columns)
            continue
        if len(fields) != len(header):
            raise Refused(
                f"{file}:{line}: {_missing(header, fields)}: the row has {len(fields)} fields, "
                f"the header has {len(header)}; write one field a column"
            )
        cells = dict(zip(header, fields, strict=True))
        yield _Row(file, line, {column: cells[column] for column in columns})
    if header is None:
        raise Refused(f"{file}: is empty; give a header with {','.join(columns)} and one row a job")


def _missing(header: Sequence[str], fields: Sequence[str]) -> str:
    """The first column that has no field, or a word for the fields that have no column."""
    return header[len(fields)] if len(fields) < len(header) else f"column {len(header) + 1}"


def _header(file: Path, line: int, fields: list[str], columns: Sequence[str]) -> list[str]:
    for column in columns:
        if fields.count(column) != 1:
            problem = "is missing" if column not in fields else "is there more than once"
            found = ",".join(fields)[:100]
            raise Refused(
                f"{file}:{line}: {column}: {problem} in the header {found!r}; write {','.join(columns)}"
            )
    return fields


# --- jobs.csv ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Reading:
    """Goes through `jobs.csv` and counts what is odd."""

    file: Path
    settings: Mapping[str, SettingLine]
    passed_over: Mapping[str, str]  # runs to leave out, with their splits
    odd: Counter[str] = field(default_factory=Counter)

    def rows(self) -> dict[str, list[JobRow]]:
        """The jobs of each run, in the order of the file. An unknown run maps to an empty list."""
        jobs: defaultdict[str, list[JobRow]] = defaultdict(list)
        some = False
        for row in _table(self.file, JOB_COLUMNS):
            some = True
            if row.cells["run"] in self.passed_over:
                continue
            if (job := self._job(row)) is not None:
                jobs[row.cells["run"]].append(job)
        if not some:
            raise Refused(f"{self.file}: has no jobs; give at least one row below the header")
        return jobs

    def warnings(self) -> list[str]:
        """What was odd, and how often."""
        return [f"{self.file.name}: {count} rows {what}" for what, count in self.odd.items()]

    def _job(self, row: _Row) -> JobRow | None:
        """One job; None if it never started."""
        self._check_owner(row)
        kind = row.word("kind")
        arrival = row.seconds("arrival_seconds")
        if not row.cells["start_seconds"] and not row.cells["cpu_seconds"]:
            self.odd["have no start and no CPU time: jobs that never ran, left out"] += 1
            return None
        start, end = row.seconds("start_seconds"), row.seconds("end_seconds")
        if start < arrival - ROUNDING:
            raise row.refusal("start_seconds", f"{start:g} is before arrival_seconds, {arrival:g}")
        if end < start - ROUNDING:
            raise row.refusal("end_seconds", f"{end:g} is before start_seconds, {start:g}")
        start = max(arrival, start)
        end = max(start, end)
        cpu = max(LEAST_CPU, row.seconds("cpu_seconds"))
        sprint = min(row.seconds_or_none("sprint_seconds") or 0.0, end - start)
        if sprint < (row.seconds_or_none("sprint_seconds") or 0.0) - ROUNDING:
            self.odd["have more sprint_seconds than lie between start and end: cut to those"] += 1
        sprint_start = row.seconds_or_none("sprint_start_seconds")
        return JobRow(
            kind=kind,
            arrival=Seconds(arrival),
            start=Seconds(start),
            end=Seconds(end),
            cpu=CoreSeconds(cpu),
            sprint=Seconds(sprint),
            sprint_start=None if sprint_start is None or sprint == 0 else Seconds(sprint_start),
            sprint_cpu=self._sprint_cpu(row, sprint, cpu),
        )

    def _sprint_cpu(self, row: _Row, sprint: float, cpu: float) -> CoreSeconds | None:
        given = row.seconds_or_none("sprint_cpu_seconds")
        if sprint == 0:
            return CoreSeconds(0.0)
        if given is not None and given > cpu * 1.001 + ROUNDING:
            self.odd["have more sprint_cpu_seconds than cpu_seconds: cut to those"] += 1
        return None if given is None else CoreSeconds(min(given, cpu))

    def _check_owner(self, row: _Row) -> None:
        run, setting = row.word("run"), row.word("setting")
        line = self.settings.get(run)
        if line is None:
            known = ", ".join(list(self.settings)[:3])
            raise row.refusal("run", f"{run!r} is not in {SETTINGS}, which has {known}, ...")
        if setting != line.setting.setting:
            raise row.refusal(
                "setting",
                f"{setting!r}, but line {line.number} of {SETTINGS} gives run {run!r} the setting "
                f"{line.setting.setting!r}",
            )


# --- profile.csv ------------------------------------------------------------------------------------


def _profile(file: Path) -> Iterator[ProfileRun]:
    for row in _table(file, PROFILE_COLUMNS):
        word = row.word("allocation").lower()
        allocation = next((one for one in AloneAt if one.value == word), None)
        if allocation is None:
            raise row.refusal("allocation", f"{word[:40]!r} is not allowed; write base or sprint")
        yield ProfileRun(
            mechanism=row.word("mechanism"),
            kind=row.word("kind"),
            allocation=allocation,
            wall=Seconds(row.seconds("wall_seconds", above_zero=True)),
            cpu=CoreSeconds(row.seconds("cpu_seconds", above_zero=True)),
        )
