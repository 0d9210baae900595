"""Turns of a decision as a table that can be read: one line an instant, one column a thing.

A cell says what is true from that line on; an empty one says that nothing has changed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from engine_bench import BASE, SPRINT, measured, queued, running
from kubesprint.core.budget import Bucket, Budget, RefillRule, full
from kubesprint.core.forecast import Estimate, KindModel, estimate_job
from kubesprint.core.view import View
from kubesprint.core.workload import JobView


def rows(table: str) -> list[dict[str, str]]:
    """The lines of a table with a heading, its columns separated by `|`; empty cells repeat the last."""
    lines = [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]
    heading, story = lines[0], []
    last = dict.fromkeys(heading, "")
    for line in lines[1:]:
        assert len(line) == len(heading), f"{line} under {heading}"
        last = {name: cell or last[name] for name, cell in zip(heading, line, strict=True)}
        story.append(last)
    return story


def bucket(level: float, *, capacity: float = 10.0, refill: float = 0.0, at: float = 0.0) -> Bucket:
    """A bucket at a level."""
    budget = Budget(capacity=capacity, refill=refill, while_sprinting=RefillRule.PAUSED)
    return replace(full(budget, at), level=level)


def view(
    *jobs: JobView,
    now: float = 0.0,
    level: float = 10.0,
    refill: float = 0.0,
    servers: int = 1,
    sprint: str = "",
) -> View:
    """Jobs at an instant; `sprint` names those that hold a grant."""
    return View(
        now=now,
        jobs=list(jobs),
        bucket=bucket(level, refill=refill, at=now),
        base=BASE,
        sprint=SPRINT,
        servers=servers,
        grants={name: f"g-{name}" for name in sprint.split()},
    )


def estimates(jobs: Sequence[JobView], models: Mapping[str, KindModel]) -> dict[str, Estimate]:
    """By name."""
    return {job.name: estimate_job(job, models[job.kind]) for job in jobs}


__all__ = ["bucket", "estimates", "measured", "queued", "rows", "running", "view"]
