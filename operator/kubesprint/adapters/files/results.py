"""The two logs of a run folder, `events.jsonl` and `jobs.csv`: written line by line and read back.

Both logs are appended with one write a line, so a process that is killed leaves at most one torn
line, the last one. A line counts once its newline is there: readers leave a torn tail out, resuming
cuts it off, and a broken line anywhere else is `Corrupt`, never skipped.
"""

import csv
import io
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from kubesprint.core.errors import Corrupt, Refused, Unavailable
from kubesprint.core.records import JobRecord
from kubesprint.core.units import CoreSeconds, Seconds

EVENTS, JOBS, SUMMARY, REPORT = "events.jsonl", "jobs.csv", "summary.json", "report.html"

COLUMNS = (
    "run",
    "setting",
    "kind",
    "arrival_seconds",
    "start_seconds",
    "end_seconds",
    "cpu_seconds",
    "sprint_seconds",
    "sprint_start_seconds",
    "sprint_cpu_seconds",
    "name",
    "exit",
    "predicted_response_seconds",
)
"""The columns of `jobs.csv`, in order; the first ten are also those of a dataset."""


# --- append-only files ------------------------------------------------------------------------------


class _Appender:
    """A file that grows by whole lines. Every failure of the disk is `Unavailable`."""

    def __init__(self, path: Path, *, resume: bool) -> None:
        self._path = path
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | (0 if resume else os.O_EXCL)
        try:
            self._fd = os.open(path, flags, 0o644)
        except FileExistsError as error:
            raise Refused(
                f"{path} exists already; continue it with --resume, or choose another folder"
            ) from error
        except OSError as error:
            raise Unavailable(f"cannot write {path}: {error.strerror}") from error
        self.size = _cut_torn_tail(self._fd)

    def append(self, line: str) -> None:
        data = line.encode()
        try:
            written = os.pwrite(self._fd, data, self.size)
            if written < len(data):  # a full disk takes a part: half a line must never end up in the middle
                os.ftruncate(self._fd, self.size)
                raise Unavailable(f"cannot write {self._path}: no space left for a whole line")
        except OSError as error:
            raise Unavailable(f"cannot write {self._path}: {error.strerror}") from error
        self.size += written

    def close(self) -> None:
        if self._fd >= 0:
            try:
                os.fsync(self._fd)
            finally:
                os.close(self._fd)
                self._fd = -1


def _cut_torn_tail(fd: int) -> int:
    """Cut what follows the last newline; the size that is left, in bytes."""
    size = os.fstat(fd).st_size
    end = size
    while end > 0:
        start = max(0, end - 65536)
        newline = os.pread(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < size:
        os.ftruncate(fd, end)
    return end


class _Log:
    """A log of whole lines; a context manager that closes it.

    Args:
        path: the file.
        resume: continue an existing file, without its torn tail; otherwise an existing file is `Refused`.
    """

    def __init__(self, path: Path, *, resume: bool = False) -> None:
        self._file = _Appender(path, resume=resume)

    def close(self) -> None:
        """Make everything durable and close; a second call does nothing."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class EventLog(_Log):
    """Appends events to `events.jsonl`, one JSON object a line: `at` (seconds), `type`, then the fields."""

    def append(self, at: float, type_: str, /, **fields: object) -> None:
        """Write one event with one system call. Infinity becomes "inf", NaN becomes null."""
        event = {"at": round(at, 6), "type": type_, **fields}
        try:
            line = json.dumps(event, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        except ValueError:  # JSON has no infinity; the common event has none either, so look only now
            line = json.dumps(finite(event), ensure_ascii=False, separators=(",", ":"))
        self._file.append(line + "\n")


def finite(value: object) -> object:
    """The same value with its infinities as the words that `number` reads back, and NaN as null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def number(value: object) -> float | None:
    """A number of an event as a float ("inf" is one); None for everything else."""
    if isinstance(value, str):
        return {"inf": math.inf, "-inf": -math.inf}.get(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return None


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """Every whole event, oldest first. Raises `Refused` without the file, `Corrupt` for a broken line."""
    for count, line in enumerate(_whole_lines(path), 1):
        try:
            event = json.loads(line)
        except ValueError as error:
            raise Corrupt(f"{path}, line {count}: not JSON ({error})") from error
        if (
            not isinstance(event, dict)
            or number(event.get("at")) is None
            or not isinstance(event.get("type"), str)
        ):
            raise Corrupt(f'{path}, line {count}: an event needs "at" (seconds) and "type"')
        yield event


def _whole_lines(path: Path) -> list[str]:
    """The lines that end with a newline; what follows the last one is torn and left out."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise Refused(f"{path.parent} is not a run folder: it has no {path.name}") from error
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error.strerror}") from error
    whole = data[: data.rfind(b"\n") + 1]
    try:
        return whole.decode().split("\n")[:-1]
    except UnicodeDecodeError as error:
        line = whole.count(b"\n", 0, error.start) + 1
        raise Corrupt(f"{path}, line {line}: not UTF-8 text") from error


# --- jobs.csv ---------------------------------------------------------------------------------------


class JobTable(_Log):
    """Appends finished jobs to `jobs.csv`, one write a row."""

    def __init__(self, path: Path, *, resume: bool = False) -> None:
        super().__init__(path, resume=resume)
        if self._file.size == 0:
            self._file.append(",".join(COLUMNS) + "\n")

    def append(self, record: JobRecord) -> None:
        """Write one row. Raises `Refused` for a name that would span lines."""
        self._file.append(_row(record))


def job_cells(record: JobRecord) -> list[str]:
    """A job as the cells of `COLUMNS`: full precision, empty for none."""
    return [
        record.run,
        record.setting,
        record.kind,
        _cell(record.arrival),
        _cell(record.start),
        _cell(record.end),
        _cell(record.cpu),
        _cell(record.sprint),
        _cell(record.sprint_start),
        _cell(record.sprint_cpu),
        record.name,
        "" if record.exit is None else str(record.exit),
        _cell(record.predicted_response),
    ]


def _cell(value: float | None) -> str:
    return "" if value is None else repr(float(value))


def _row(record: JobRecord) -> str:
    cells = job_cells(record)
    for column, cell in zip(COLUMNS, cells, strict=True):
        if "\n" in cell or "\r" in cell:
            raise Refused(f"{column} {cell!r} spans lines; a row of jobs.csv is one line")
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def read_jobs(path: Path) -> list[JobRecord]:
    """Every whole row. Columns go by name, unknown ones are ignored.

    Raises `Refused` without the file, and `Corrupt` naming line and column for a broken row.
    """
    lines = _whole_lines(path)
    rows = csv.reader(lines, strict=True)
    try:
        header = next(rows, [])
        if not lines:
            return []
        if missing := [column for column in COLUMNS if column not in header]:
            raise Corrupt(f"{path}, line 1: column {missing[0]} is missing")
        return [_record(_cells(path, rows.line_num, header, row)) for row in rows]
    except csv.Error as error:
        raise Corrupt(f"{path}, line {rows.line_num}: {error}") from error


def _cells(path: Path, line: int, header: Sequence[str], row: Sequence[str]) -> "_Cells":
    if len(row) != len(header):
        raise Corrupt(f"{path}, line {line}: {len(row)} cells, the header has {len(header)}")
    return _Cells(path, line, dict(zip(header, row, strict=True)))


@dataclass(frozen=True, slots=True)
class _Cells:
    """One row of a file, read by column; every complaint names file, line and column."""

    path: Path
    line: int
    by_column: Mapping[str, str]

    def text(self, column: str) -> str:
        return self.by_column[column]

    def optional(self, column: str) -> float | None:
        cell = self.by_column[column]
        if cell == "":
            return None
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        endless = math.isinf(value) and column != "predicted_response_seconds"
        if math.isnan(value) or value < 0 or endless:
            raise self.broken(column, f"{cell!r} is not a number of 0 or more")
        return value

    def required(self, column: str) -> float:
        value = self.optional(column)
        if value is None:
            raise self.broken(column, "empty")
        return value

    def whole(self, column: str) -> int | None:
        cell = self.by_column[column]
        if cell and not (cell.isascii() and cell.isdecimal()):
            raise self.broken(column, f"{cell!r} is not an exit code")
        return int(cell) if cell else None

    def broken(self, column: str, what: str) -> Corrupt:
        return Corrupt(f"{self.path}, line {self.line}, {column}: {what}")


def _record(cells: _Cells) -> JobRecord:
    return JobRecord(
        run=cells.text("run"),
        setting=cells.text("setting"),
        kind=cells.text("kind"),
        arrival=Seconds(cells.required("arrival_seconds")),
        start=_seconds(cells.optional("start_seconds")),
        end=_seconds(cells.optional("end_seconds")),
        cpu=_core_seconds(cells.optional("cpu_seconds")),
        sprint=Seconds(cells.required("sprint_seconds")),
        sprint_start=_seconds(cells.optional("sprint_start_seconds")),
        sprint_cpu=CoreSeconds(cells.required("sprint_cpu_seconds")),
        name=cells.text("name"),
        exit=cells.whole("exit"),
        predicted_response=_seconds(cells.optional("predicted_response_seconds")),
    )


def _seconds(value: float | None) -> Seconds | None:
    return None if value is None else Seconds(value)


def _core_seconds(value: float | None) -> CoreSeconds | None:
    return None if value is None else CoreSeconds(value)
