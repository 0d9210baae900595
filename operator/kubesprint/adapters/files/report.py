"""`report.html`: one run, or several side by side, as one page that opens without a network."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubesprint.adapters.files import figures
from kubesprint.adapters.files.charts import Series, environment, figure_text, line_chart
from kubesprint.adapters.files.results import JOBS, REPORT, SUMMARY, number, read_jobs
from kubesprint.adapters.files.story import JobStory, RunStory, read_story
from kubesprint.adapters.files.summary import OUTCOMES, Summary, read_summary, summarise, write_whole
from kubesprint.adapters.files.timeline import timeline
from kubesprint.core.units import CoreSeconds

MOST_JOBS = 500
"""Rows of the table of jobs; more belong in a spreadsheet."""

MOST_SENTENCES = 2000
"""Decisions told on the page, over all jobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """Everything read from one run folder."""

    story: RunStory
    summary: Summary
    complete: bool  # summary.json was there


def render_report(folder: Path) -> str:
    """The report of one run folder as HTML.

    Reads `events.jsonl`, and `jobs.csv` and `summary.json` where they exist: the report of a run that was
    killed shows what is known. Raises `Refused` if the folder holds no run, `Corrupt` for a broken file.
    """
    run = _read(folder)
    story = run.story
    until = _until([story])
    return (
        environment()
        .get_template("report.html")
        .render(
            title=f"{story.setting}: {story.name}" if story.name != story.setting else story.name,
            lead=_lead(story),
            status=_status(run),
            facts=_facts(run),
            kpis=_kpis(run.summary),
            warnings=[text for _, text in story.warnings] or list(run.summary.warnings),
            timeline=timeline(story, until),
            legend=figures.legend(story),
            charts=figures.time_charts(story, until),
            predictions=figures.predictions(story),
            curve=figures.curve(story),
            table=_table(story),
            sentences=_sentences(story),
        )
    )


def write_report(folder: Path) -> Path:
    """Render the report of a run folder into it; its path. Raises like `render_report`, or `Unavailable`."""
    target = folder / REPORT
    write_whole(target, render_report(folder))
    return target


def render_comparison(folders: Sequence[Path], title: str = "The same queue, side by side") -> str:
    """Several runs as one page: a table, the shares of finished jobs, and the timelines on one axis."""
    runs = [_read(folder) for folder in folders]
    until = _until([run.story for run in runs])
    names = _distinct([run.story.setting for run in runs], [run.story.name for run in runs])
    series = [
        Series(name=name, points=figures.shares(run.story), style=index)
        for index, (name, run) in enumerate(zip(names, runs, strict=True))
    ]
    shares = line_chart(
        "Share of jobs with at most this response time",
        "response, seconds",
        "share of jobs, %",
        series,
        width=980.0,
        height=320.0,
    )
    timelines = [
        (name, timeline(run.story, until, f"Jobs over time: {name}"), figures.budget_chart(run.story, until))
        for name, run in zip(names, runs, strict=True)
    ]
    return (
        environment()
        .get_template("comparison.html")
        .render(
            title=title,
            facts=_shared_facts(runs),
            same=len({frozenset((job.name, job.kind) for job in run.story.jobs.values()) for run in runs})
            <= 1,
            rows=_comparison(names, runs),
            shares=shares,
            keys=[(name, figures.key(index)) for index, name in enumerate(names)],
            timelines=timelines,
            legend=figures.legend(*(run.story for run in runs)),
        )
    )


def _read(folder: Path) -> _Run:
    story = read_story(folder)
    if (folder / SUMMARY).exists():
        return _Run(story=story, summary=read_summary(folder / SUMMARY), complete=True)
    records = read_jobs(folder / JOBS) if (folder / JOBS).exists() else []
    spent = math.fsum(span.core_seconds or 0.0 for job in story.jobs.values() for span in job.sprints)
    summary = summarise(
        records,
        run=story.name,
        setting=story.setting,
        status=story.status or "unfinished",
        unfinished=len(story.jobs.keys() - {record.name for record in records}),
        granted=CoreSeconds(spent),
        budget=story.run.get("budget"),
        machine=story.run.get("machine"),
    )
    return _Run(story=story, summary=summary, complete=False)


def _until(stories: Sequence[RunStory]) -> float:
    """The right end of the time axis: the last event, with a little air."""
    return max([1.0, *(story.last for story in stories)]) * 1.01


def _distinct(names: Sequence[str], others: Sequence[str]) -> list[str]:
    if len(set(names)) == len(names):
        return list(names)
    return [f"{name} ({other})" for name, other in zip(names, others, strict=True)]


# --- header -----------------------------------------------------------------------------------------


def _lead(story: RunStory) -> str:
    run = story.run
    parts = [f"{len(story.jobs)} jobs"]
    if (slots := run.get("slots")) is not None:
        parts.append(f"on {slots} slot{'' if slots == 1 else 's'}")
    if strategy := run.get("strategy"):
        parts.append(f"under the strategy {strategy}")
    if mode := run.get("mode"):
        parts.append(f"in mode {mode}")
    return f"{' '.join(parts)}, {figure_text(story.last, 's')} in all."


def _status(run: _Run) -> str:
    if run.complete:
        return ""
    return "This run has no summary: it still goes on, or was killed. The page shows what was written so far."


def _facts(run: _Run) -> list[tuple[str, str]]:
    """What ran where: name and value, those that are known."""
    event, summary = run.story.run, run.summary
    facts = [
        ("Status", summary.status),
        ("Mechanism", _mechanism(event)),
        ("Budget", _budget_text(summary.budget or event.get("budget") or {})),
        ("Machine", _machine(summary.machine or event.get("machine") or {})),
        ("Kernel", str((summary.machine or {}).get("kernel") or "")),
        ("Load average", _pair(summary.load.get("start"), summary.load.get("end"))),
        ("Versions", ", ".join(f"{name} {version}" for name, version in summary.versions.items())),
        ("Seeds", ", ".join(f"{name} {seed}" for name, seed in summary.seeds.items())),
        (
            "Machine left as found",
            "" if summary.restored is None else ("yes, verified" if summary.restored else "no"),
        ),
    ]
    return [(name, value) for name, value in facts if value]


def _shared_facts(runs: Sequence[_Run]) -> list[tuple[str, str]]:
    """The facts of several runs; where they differ, each value once, in the order of the runs."""
    values: dict[str, list[str]] = {}
    for run in runs:
        for name, value in _facts(run):
            known = values.setdefault(name, [])
            if value not in known:
                known.append(value)
    return [(name, "; ".join(several)) for name, several in values.items()]


def _restored(restored: bool | None) -> str:
    return "" if restored is None else "yes, verified" if restored else "no: run kubesprint restore"


def _mechanism(event: Mapping[str, Any]) -> str:
    mechanism, mode = event.get("mechanism"), event.get("mode", "Enforce")
    if mode != "Enforce":
        return f"none: mode {mode} changes nothing"
    name = mechanism.get("name") if isinstance(mechanism, dict) else mechanism
    ends = [_allocation(event.get(end)) for end in ("base", "sprint")]
    return f"{name or ''}{': ' if name and all(ends) else ''}{' to '.join(end for end in ends if end)}"


def _allocation(value: object) -> str:
    if not isinstance(value, dict):
        return ""
    clock = number(value.get("clock"))
    faster = f" at clock ×{figure_text(clock)}" if clock is not None and clock != 1 else ""
    cores = number(value.get("cores"))
    return f"{'' if cores is None else f'{cores:g}'} cores{faster}"


def _budget_text(budget: Mapping[str, Any]) -> str:
    capacity, refill = number(budget.get("capacity_core_seconds")), number(budget.get("refill_cores"))
    if capacity is None:
        return ""
    rule = {"Paused": ", not while sprinting", "Continuous": ", also while sprinting"}
    refilled = "" if refill is None else f", refilled by {refill:g} cores"
    return f"{capacity:g} core-seconds{refilled}{rule.get(str(budget.get('while_sprinting')), '')}"


def _machine(machine: Mapping[str, Any]) -> str:
    memory = number(machine.get("memory_bytes"))
    parts = [
        str(machine.get("cpu") or ""),
        f"{machine['cores']} logical CPUs" if machine.get("cores") else "",
        f"{memory / 2**30:.1f} GiB" if memory else "",
        f"cgroup {machine['cgroup']}" if machine.get("cgroup") else "",
    ]
    return ", ".join(part for part in parts if part)


def _pair(start: float | None, end: float | None) -> str:
    return "" if start is None and end is None else f"{figure_text(start)} to {figure_text(end)}"


def _kpis(summary: Summary) -> list[tuple[str, str, str]]:
    """Value, name and remark of each number at the top."""
    jobs, error = summary.jobs, summary.predicted.get("median_abs_error")
    left = [f"{count} {what}" for what in OUTCOMES[1:] if (count := jobs.get(what, 0))]
    remark = "" if error is None else f"median error {100 * error:.0f} %"
    predicted = summary.predicted.get("mean_seconds")
    return [
        (figure_text(summary.response.get("mean_seconds"), "s"), "mean response", "from arrival to end"),
        (figure_text(summary.response.get("p95_seconds"), "s"), "95th percentile", ""),
        (figure_text(predicted, "s") if predicted is not None else "\N{EN DASH}", "predicted mean", remark),
        (
            figure_text(summary.sprint, "s"),
            "sprinted",
            f"{figure_text(summary.granted)} core-seconds granted",
        ),
        (figure_text(summary.cpu, "s"), "CPU time", ""),
        (str(jobs.get("finished", 0)), "jobs finished", ", ".join(left)),
    ]


# --- tables -----------------------------------------------------------------------------------------


def _table(story: RunStory) -> Mapping[str, Any]:
    jobs = list(story.jobs.values())
    return {
        "rows": [_job_row(job) for job in jobs[:MOST_JOBS]],
        "shown": min(len(jobs), MOST_JOBS),
        "all": len(jobs),
    }


def _job_row(job: JobStory) -> Mapping[str, Any]:
    waited = None if job.start is None or job.arrival is None else job.start - job.arrival
    ran = None if job.start is None or job.end is None else job.end - job.start
    error = None
    if job.predicted is not None and job.response and math.isfinite(job.predicted):
        error = f"{100 * (job.predicted - job.response) / job.response:+.0f} %"
    state = (
        "finished"
        if job.exit == 0
        else f"exit {job.exit}"
        if job.failed
        else "unknown"
        if job.unknown
        else "running"
        if job.start
        else "queued"
    )
    return {
        "name": job.name,
        "kind": job.kind,
        "cells": [figure_text(value) for value in (job.arrival, waited, ran, job.response, job.predicted)],
        "error": error or "",
        "sprint": figure_text(job.sprint) if job.sprints else "",
        "cpu": figure_text(job.cpu),
        "state": state,
        "missed": job.missed,
        "failed": job.failed,
    }


def _sentences(story: RunStory) -> Mapping[str, Any]:
    """Every decision by job, until there are too many to read."""
    room, jobs = MOST_SENTENCES, []
    told = sum(len(job.notes) for job in story.jobs.values())
    for job in story.jobs.values():
        if room > 0 and job.notes:
            notes = [(figure_text(note.at, "s"), note.sentence, note.reason) for note in job.notes[:room]]
            room -= len(notes)
            jobs.append((job.name, job.kind, notes, len(job.sprints)))
    return {"jobs": jobs, "shown": min(told, MOST_SENTENCES), "all": told}


def _comparison(names: Sequence[str], runs: Sequence[_Run]) -> list[Mapping[str, Any]]:
    means = [run.summary.response.get("mean_seconds") for run in runs]
    known = [mean for mean in means if mean is not None]
    longest, best = max(known, default=0.0), min(known, default=0.0)
    rows: list[Mapping[str, Any]] = []
    for name, run, mean in zip(names, runs, means, strict=True):
        summary, first = run.summary, means[0]
        error = summary.predicted.get("median_abs_error")
        predicted = summary.predicted.get("mean_seconds")
        rows.append(
            {
                "name": name,
                "mean": figure_text(mean),
                "bar": 0 if mean is None or not longest else round(100 * mean / longest),
                "ratio": "" if not mean or not first else f"{first / mean:.2f}×",
                "p95": figure_text(summary.response.get("p95_seconds")),
                "predicted": figure_text(predicted),
                "error": "" if error is None else f"{100 * error:.0f} %",
                "sprint": figure_text(summary.sprint),
                "granted": figure_text(summary.granted),
                "cpu": figure_text(summary.cpu),
                "finished": summary.jobs.get("finished", 0),
                "failed": sum(summary.jobs.get(what, 0) for what in OUTCOMES[1:]),
                "best": len(known) > 1 and mean == best,
            }
        )
    return rows
