"""Traces of a queue: a CSV file with the arrival and the work of each job, at base speed."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kubesprint.adapters.files.csv_rows import csv_rows
from kubesprint.core.errors import Refused
from kubesprint.core.units import Seconds

ARRIVAL = "arrival_seconds"
WORK = "work_seconds"


@dataclass(frozen=True, slots=True)
class TraceJob:
    """One row."""

    arrival: Seconds
    work: Seconds  # at base speed


@dataclass(frozen=True, slots=True)
class Trace:
    """The rows in the order of arrival, those that arrive together in the order of the file."""

    jobs: tuple[TraceJob, ...]
    sorted_here: bool  # the file had them in another order


def read_trace(file: Path) -> Trace:
    """Read a trace: a header with at least the two columns, one row a job; blank lines are skipped.

    Raises:
        Refused: `FILE:LINE: COLUMN: what is wrong; what is allowed`.
    """
    jobs = list(_jobs(file))
    if not jobs:
        raise Refused(f"{file}: has no jobs; give at least one row below the header")
    ordered = sorted(jobs, key=lambda job: job.arrival)
    return Trace(tuple(ordered), sorted_here=ordered != jobs)


def _jobs(file: Path) -> Iterator[TraceJob]:
    header: list[str] | None = None
    for line, row in csv_rows(file):
        if header is None:
            header = _header(file, line, row)
            continue
        if len(row) != len(header):
            raise Refused(f"{file}:{line}: has {len(row)} fields; the header has {len(header)}")
        values = dict(zip(header, row, strict=True))
        yield TraceJob(
            _seconds(file, line, ARRIVAL, values[ARRIVAL]), _seconds(file, line, WORK, values[WORK])
        )
    if header is None:
        raise Refused(f"{file}: is empty; give a header with {ARRIVAL},{WORK} and one row a job")


def _header(file: Path, line: int, row: Sequence[str]) -> list[str]:
    for column in (ARRIVAL, WORK):
        if row.count(column) != 1:
            found = ",".join(row)[:80]
            problem = "is missing" if column not in row else "is there more than once"
            raise Refused(
                f"{file}:{line}: {column}: {problem} in the header {found!r}; write {ARRIVAL},{WORK}"
            )
    return list(row)


def _seconds(file: Path, line: int, column: str, text: str) -> Seconds:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0 and "_" not in text):
        raise Refused(f"{file}:{line}: {column}: {text[:40]!r} is not allowed; write seconds, 0 or more")
    return Seconds(value)
