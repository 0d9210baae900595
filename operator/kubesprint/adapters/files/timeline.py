"""The timeline of a run as SVG: a row a job, or, when there are too many, a row a slot."""

import math
from collections.abc import Sequence

from kubesprint.adapters.files.charts import (
    RIGHT,
    TIME_LEFT,
    Scale,
    element,
    figure_text,
    label,
    line,
    path,
    svg,
    x_axis,
)
from kubesprint.adapters.files.story import JobStory, RunStory, SprintSpan

MOST_ROWS = 60
"""With more jobs than this, rows are slots: a reader cannot follow a hundred lines."""

WIDTH = 1000.0
_ROW, _TOP = 20.0, 14.0


def timeline(story: RunStory, until: float, title: str = "Jobs over time") -> str:
    """Waiting, running and sprinting of every job from 0 to `until` seconds."""
    jobs = [job for job in story.jobs.values() if job.arrival is not None or job.start is not None]
    rows = _rows(jobs)
    x = Scale(0.0, until, TIME_LEFT, WIDTH - RIGHT)
    bottom = _TOP + _ROW * max(1, len(rows))
    parts = [*x_axis(x, bottom + 4, "seconds", top=_TOP - 4)]
    for index, (name, members) in enumerate(rows):
        y = _TOP + _ROW * index
        parts.append(label(TIME_LEFT - 8, y + 13, _short(name), "job", "end"))
        for job in members:
            parts += _job(job, x, y, until, waits=len(members) == 1)
    sprints = sum(len(job.sprints) for job in jobs)
    failed = sum(1 for job in jobs if job.failed)
    description = f"{len(jobs)} jobs in {len(rows)} rows, {sprints} sprints, {failed} failed jobs."
    return svg(WIDTH, bottom + 50, title, description, parts, "wide slots" if by_slot(story) else "wide")


def by_slot(story: RunStory) -> bool:
    """Whether the rows of the timeline are slots."""
    return len(story.jobs) > MOST_ROWS


def _rows(jobs: Sequence[JobStory]) -> list[tuple[str, list[JobStory]]]:
    if len(jobs) <= MOST_ROWS:
        return [(job.name, [job]) for job in jobs]
    slots: dict[str, list[JobStory]] = {}
    for job in jobs:
        if job.start is not None:
            slots.setdefault(job.slot or "slot ?", []).append(job)
    return sorted(slots.items())


def _short(name: str) -> str:
    return name if len(name) <= 18 else name[:17] + "\N{HORIZONTAL ELLIPSIS}"


def _job(job: JobStory, x: Scale, y: float, until: float, *, waits: bool) -> list[str]:
    hint, parts = job_hint(job), []
    end = until if job.end is None else job.end
    if waits and job.arrival is not None:
        begin = job.start if job.start is not None else end
        if begin > job.arrival:
            parts.append(_bar(x, y + 8.5, job.arrival, begin, 3.0, "wait", hint))
    if job.start is not None:
        parts.append(_bar(x, y + 4, job.start, end, 12.0, "base", hint))
        parts += [
            _bar(
                x, y + 4, span.start, end if span.end is None else span.end, 12.0, "sprint", _cost(job, span)
            )
            for span in job.sprints
        ]
    if job.failed:
        at = x(end)
        strokes = ((-4, 6, 4, 14), (-4, 14, 4, 6))
        parts += [line(at + a, y + b, at + c, y + d, "cross") for a, b, c, d in strokes]
    if waits and job.deadline is not None and job.deadline <= until:
        at, middle = x(job.deadline), y + 10
        corners = [(at, middle - 6), (at + 4.5, middle), (at, middle + 6), (at - 4.5, middle)]
        parts.append(path(corners, "deadline missed" if job.missed else "deadline", close=True))
    return parts


def _bar(x: Scale, y: float, start: float, end: float, height: float, kind: str, hint: str) -> str:
    left, width = x(start), max(0.6, x(end) - x(start))
    radius = {"rx": 2.0} if width > 5 else {}
    return element(
        "rect", {"x": left, "y": y, "width": width, "height": height, **radius, "class": kind}, hint
    )


def job_hint(job: JobStory) -> str:
    """What to say about a job in a few words."""
    parts = [f"{job.name} ({job.kind})" if job.kind else job.name]
    if job.start is not None and job.arrival is not None:
        parts.append(f"waited {figure_text(job.start - job.arrival, 's')}")
    if job.response is not None:
        parts.append(f"response {figure_text(job.response, 's')}")
    if job.predicted is not None and math.isfinite(job.predicted):
        parts.append(f"predicted {figure_text(job.predicted, 's')}")
    if job.advised is not None and math.isfinite(job.advised):
        parts.append(f"as advised {figure_text(job.advised, 's')}")
    if job.sprints:
        parts.append(f"sprinted {figure_text(job.sprint, 's')}")
    if job.failed:
        parts.append(f"failed, exit {job.exit}")
    if job.unknown:
        parts.append("outcome unknown")
    if job.missed:
        parts.append("missed its deadline")
    return "\n".join(parts)


def _cost(job: JobStory, span: SprintSpan) -> str:
    parts = [f"{job.name}: sprint from {figure_text(span.start, 's')} to {figure_text(span.end, 's')}"]
    if span.core_seconds is not None:
        parts.append(f"cost {figure_text(span.core_seconds)} core-seconds")
    if span.reason:
        parts.append(f"ended: {span.reason}")
    return "\n".join(parts)


def waiting(story: RunStory) -> list[tuple[float, float]]:
    """How many jobs wait, as steps: (instant, number from then on)."""
    changes: dict[float, int] = {}
    for job in story.jobs.values():
        if job.arrival is not None:
            changes[job.arrival] = changes.get(job.arrival, 0) + 1
            begin = job.start if job.start is not None else job.end
            if begin is not None:
                changes[begin] = changes.get(begin, 0) - 1
    levels, count = [(0.0, 0.0)], 0
    for at in sorted(changes):
        count += changes[at]
        levels.append((at, float(count)))
    return levels
