"""The figures of a report: which charts a run deserves, and what explains them."""

import math
from collections.abc import Mapping
from typing import Any

from kubesprint.adapters.files.charts import SHAPES, Series, figure_text, line_chart, mark, scatter, step_area
from kubesprint.adapters.files.results import number
from kubesprint.adapters.files.story import RunStory
from kubesprint.adapters.files.timeline import by_slot, job_hint, waiting

MOST_MARKS = 1500
"""Marks in a cloud of points."""


def legend(*stories: RunStory) -> list[tuple[str, str]]:
    """The keys of the timeline that it really uses."""
    jobs = [job for story in stories for job in story.jobs.values()]
    rows = not all(by_slot(story) for story in stories)
    acts = any(story.run.get("mode", "Enforce") == "Enforce" for story in stories)
    bar = _sample('<rect x="0" y="{}" width="16" height="{}" class="{}"/>')
    sign = _sample('<path d="{}" class="{}"/>')
    keys = [
        ("waiting", bar.format(5.5, 3, "wait"), rows),
        ("running at base" if acts else "running", bar.format(1, 12, "base"), True),
        ("sprinting", bar.format(1, 12, "sprint"), any(job.sprints for job in jobs)),
        (
            "deadline",
            sign.format("M8 1L12.5 7L8 13L3.5 7Z", "deadline"),
            rows and any(job.deadline for job in jobs),
        ),
        (
            "deadline missed",
            sign.format("M8 1L12.5 7L8 13L3.5 7Z", "deadline missed"),
            rows and any(job.missed for job in jobs),
        ),
        ("failed", sign.format("M3 2L13 12M3 12L13 2", "cross"), any(job.failed for job in jobs)),
    ]
    return [(name, drawing) for name, drawing, used in keys if used]


def key(style: int) -> str:
    """The mark of a series, for a legend."""
    return _sample(mark(8.0, 7.0, style))


def _sample(drawn: str) -> str:
    return f'<svg viewBox="0 0 16 14" aria-hidden="true">{drawn}</svg>'


def time_charts(story: RunStory, until: float) -> list[str]:
    """What belongs below the timeline, on its axis."""
    charts = [budget_chart(story, until)]
    if by_slot(story):
        levels = [*waiting(story), (until, waiting(story)[-1][1])]
        charts.append(
            step_area("Jobs waiting", "jobs waiting", levels, (0.0, until), style="queue", steps=True)
        )
    return [chart for chart in charts if chart]


def budget_chart(story: RunStory, until: float) -> str:
    """The physical level: what is free, and what running grants have paid and not yet used."""
    if not story.budget:
        return ""
    levels = [(at, level + reserved) for at, level, reserved, _ in story.budget]
    budget = story.run.get("budget")
    capacity = number(budget.get("capacity_core_seconds")) if isinstance(budget, dict) else None
    return step_area("Budget over time", "budget, core-seconds", levels, (0.0, until), ceiling=capacity)


def predictions(story: RunStory) -> Mapping[str, Any] | None:
    """Predicted against measured, by kind; None without a prediction."""
    pairs = [
        (job, job.predicted, job.response)
        for job in story.jobs.values()
        if job.predicted is not None and math.isfinite(job.predicted) and job.response is not None
    ]
    if not pairs:
        return None
    shown = pairs[:: math.ceil(len(pairs) / MOST_MARKS)]
    kinds = sorted({job.kind for job, _, _ in pairs})
    series = [
        Series(
            name=kind,
            points=[(measured, predicted) for job, predicted, measured in shown if job.kind == kind],
            style=index,
            hints=[job_hint(job) for job, _, _ in shown if job.kind == kind],
        )
        for index, kind in enumerate(kinds)
    ]
    return {
        "chart": scatter("Predicted against measured", "measured, seconds", "predicted, seconds", series),
        "keys": [(kind, key(index)) for index, kind in enumerate(kinds)],
        "shapes": len(SHAPES),
        "shown": len(shown),
        "all": len(pairs),
    }


def curve(story: RunStory) -> Mapping[str, Any] | None:
    """The newest curve of predicted response by timeout; None if there was never a search."""
    searched = [event for event in story.triggers if event.get("curve")]
    if not searched:
        return None
    event = searched[-1]
    points = [(number(x), number(y)) for x, y in event["curve"]]
    known = sorted((x, y) for x, y in points if x is not None and y is not None)
    after = number(event.get("after_seconds"))
    chosen = min(known, key=lambda point: abs(point[0] - after)) if known and after is not None else None
    if after is not None and math.isinf(after):
        chosen = next((point for point in known if math.isinf(point[0])), None)
    return {
        "chart": line_chart(
            "Predicted response by timeout",
            "timeout, seconds",
            "predicted response, seconds",
            [Series(name="timeout", points=known)],
            marked=chosen,
            width=520.0,
            height=400.0,
        ),
        "sentence": str(event.get("sentence", "")),
        "at": figure_text(float(event["at"]), "s"),
        "count": len(searched),
    }


def shares(story: RunStory) -> list[tuple[float, float]]:
    """The distribution of the response time: (seconds, per cent of all jobs that were done by then)."""
    done = sorted(job.response for job in story.jobs.values() if job.response is not None and job.exit == 0)
    return [(value, 100.0 * (index + 1) / len(story.jobs)) for index, value in enumerate(done)]
