"""`summary.json`: one run in numbers, with everything needed to judge them."""

import json
import math
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubesprint import __version__
from kubesprint.adapters.files.results import finite
from kubesprint.core.errors import Corrupt, Refused, Unavailable
from kubesprint.core.records import JobRecord
from kubesprint.core.units import CoreSeconds, Seconds

SCHEMA = 1

OUTCOMES = ("finished", "failed", "unknown", "unfinished")
"""What became of each job: exit 0, another exit, no exit known (a survivor of a killed run), none yet."""

_NOTHING = CoreSeconds(0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What `summary.json` says. Responses are over jobs that ended with exit 0: a crash is not fast."""

    run: str
    setting: str
    status: str
    jobs: Mapping[str, int]  # by `OUTCOMES`; they add up to the queue
    response: Mapping[str, float | None]  # mean, p50, p95, p99 _seconds; linear interpolation
    predicted: Mapping[str, float | None]  # jobs, mean_seconds, median_abs_error (fraction of the response)
    sprint: Seconds
    granted: CoreSeconds
    cpu: CoreSeconds
    budget: Mapping[str, Any] | None = None
    machine: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    seeds: Mapping[str, Any] = field(default_factory=dict)
    load: Mapping[str, float | None] = field(default_factory=dict)  # one-minute load average: start, end
    restored: bool | None = None  # None: nothing was ever changed
    warnings: Sequence[str] = ()


def summarise(
    records: Iterable[JobRecord],
    *,
    run: str,
    setting: str,
    status: str,
    unfinished: int = 0,
    granted: CoreSeconds = _NOTHING,
    budget: Mapping[str, Any] | None = None,
    machine: Mapping[str, Any] | None = None,
    seeds: Mapping[str, Any] | None = None,
    load: Mapping[str, float | None] | None = None,
    restored: bool | None = None,
    warnings: Sequence[str] = (),
) -> Summary:
    """The summary of a run: `records` are all jobs that ended, `unfinished` counts the rest of the queue."""
    rows = list(records)
    good = [record for record in rows if record.exit == 0 and record.response is not None]
    failed = sum(1 for record in rows if record.exit not in (0, None))
    unknown = sum(1 for record in rows if record.exit is None)
    counts = (len(rows) - failed - unknown, failed, unknown, unfinished)
    responses = [record.response for record in good if record.response is not None]
    return Summary(
        run=run,
        setting=setting,
        status=status,
        jobs=dict(zip(OUTCOMES, counts, strict=True)),
        response=_spread(responses),
        predicted=_prediction(good),
        sprint=Seconds(math.fsum(record.sprint for record in rows)),
        granted=granted,
        cpu=CoreSeconds(math.fsum(record.cpu or 0.0 for record in rows)),
        budget=budget,
        machine=machine or {},
        versions={"kubesprint": __version__, "python": platform.python_version()},
        seeds=seeds or {},
        load=load or {},
        restored=restored,
        warnings=tuple(warnings),
    )


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    ordered = sorted(values)
    return {
        "mean_seconds": math.fsum(ordered) / len(ordered) if ordered else None,
        "p50_seconds": quantile(ordered, 0.50),
        "p95_seconds": quantile(ordered, 0.95),
        "p99_seconds": quantile(ordered, 0.99),
    }


def _prediction(records: Iterable[JobRecord]) -> dict[str, float | None]:
    """Predicted beside measured, over the jobs that have both."""
    pairs = [
        (float(record.predicted_response), float(record.response))
        for record in records
        if record.predicted_response is not None and record.response is not None and record.response > 0
    ]
    pairs = [pair for pair in pairs if math.isfinite(pair[0])]
    errors = sorted(abs(predicted - measured) / measured for predicted, measured in pairs)
    return {
        "jobs": len(pairs),
        "mean_seconds": math.fsum(predicted for predicted, _ in pairs) / len(pairs) if pairs else None,
        "median_abs_error": quantile(errors, 0.5),
    }


def quantile(ordered: Sequence[float], q: float) -> float | None:
    """The q-quantile of sorted values by linear interpolation; None of none."""
    if not ordered:
        return None
    place = q * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def summary_document(summary: Summary) -> dict[str, Any]:
    """The document of `summary.json`, keys in their documented order; also what `run --json` prints."""
    document = {
        "schema": SCHEMA,
        "run": summary.run,
        "setting": summary.setting,
        "status": summary.status,
        "jobs": dict(summary.jobs),
        "response": dict(summary.response),
        "predicted": dict(summary.predicted),
        "sprint_seconds": summary.sprint,
        "granted_core_seconds": summary.granted,
        "cpu_seconds": summary.cpu,
        "budget": None if summary.budget is None else dict(summary.budget),
        "machine": dict(summary.machine),
        "versions": dict(summary.versions),
        "seeds": dict(summary.seeds),
        "load": {"start": summary.load.get("start"), "end": summary.load.get("end")},
        "restored": summary.restored,
        "warnings": list(summary.warnings),
    }
    return {key: finite(value) for key, value in document.items()}


def write_summary(path: Path, summary: Summary) -> None:
    """Replace `summary.json` in one step. Raises `Unavailable`."""
    text = json.dumps(summary_document(summary), indent=2, ensure_ascii=False, allow_nan=False)
    write_whole(path, text + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader finds the old text or the new, never a part. Raises `Unavailable`."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise Unavailable(f"cannot write {path}: {error.strerror}") from error


def read_summary(path: Path) -> Summary:
    """Read `summary.json`. Raises `Refused` without the file or with a newer schema, `Corrupt` if broken."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        schema = document["schema"]
        if schema != SCHEMA:
            raise Refused(f"{path}: schema {schema}; this kubesprint reads schema {SCHEMA}")
        return Summary(
            run=document["run"],
            setting=document["setting"],
            status=document["status"],
            jobs=document["jobs"],
            response=document["response"],
            predicted=document["predicted"],
            sprint=Seconds(document["sprint_seconds"]),
            granted=CoreSeconds(document["granted_core_seconds"]),
            cpu=CoreSeconds(document["cpu_seconds"]),
            budget=document["budget"],
            machine=document["machine"],
            versions=document["versions"],
            seeds=document["seeds"],
            load=document["load"],
            restored=document["restored"],
            warnings=tuple(document["warnings"]),
        )
    except FileNotFoundError as error:
        raise Refused(f"{path.parent} has no {path.name}; the run did not reach its end") from error
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupt(f"{path}: not a summary ({type(error).__name__}: {error})") from error
