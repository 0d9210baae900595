"""What is left of one running job, and how long it takes on another allocation.

A job that reports its progress (iterations done of all) still does not say how much work is done: one
library builds its bins within the first iteration, another's iterations grow. What earlier jobs of the
kind spent by each mark, their cost shape, says it. How large this job is follows from what it has spent
against that shape, drawn towards the usual size while little of it was seen.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from kubesprint.core.allocation import Allocation
from kubesprint.core.speedup import SpeedModel
from kubesprint.core.units import CoreSeconds, Seconds

SEEN_HALF = 0.1
"""At this progress a job's own size counts as much as the usual one."""

SCALES = (0.2, 5.0)
"""Of a job's size over the usual one: what is beyond is another kind of job, or a progress that lies."""

MARKS = 21
"""Of a shape, evenly from no progress to all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostShape:
    """The share of a job's CPU time that is spent by each mark of its progress.

    Before the first iteration some is spent on the start (imports, data), and after the last one on the
    tail (a final fit): `spent[0]` may be above 0 and `spent[-1]` below 1.
    """

    marks: tuple[float, ...]  # progress, ascending from 0 to 1
    spent: tuple[float, ...]  # shares, ascending, 0..1
    work: CoreSeconds  # CPU time of a whole job on one core at the base clock

    def at(self, progress: float) -> float:
        """The share spent at a progress from 0 to 1, between two marks by linear interpolation."""
        return _between(self.marks, self.spent, progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """What one finished job spent by and by, on one core at the base clock."""

    steps: Sequence[tuple[float, CoreSeconds]]  # progress and CPU time so far; at least two, ascending
    total: CoreSeconds  # at its end, the tail included


def shape_of(trails: Sequence[Trail]) -> CostShape:
    """The mean shape and size of finished jobs of a kind.

    Raises:
        ValueError: there is none, or one that does not ascend.
    """
    if not trails:
        raise ValueError("a shape needs at least one finished job")
    for trail in trails:
        _check(trail)
    marks = tuple(mark / (MARKS - 1) for mark in range(MARKS))
    curves = []
    for trail in trails:
        places = tuple(progress for progress, _ in trail.steps)
        shares = tuple(cpu / trail.total for _, cpu in trail.steps)
        curves.append([_between(places, shares, mark) for mark in marks])
    spent = tuple(math.fsum(column) / len(trails) for column in zip(*curves, strict=True))
    work = math.fsum(trail.total for trail in trails) / len(trails)
    return CostShape(marks=marks, spent=spent, work=CoreSeconds(work))


def _check(trail: Trail) -> None:
    places, costs = [p for p, _ in trail.steps], [cpu for _, cpu in trail.steps]
    ordered = places == sorted(places) and costs == sorted(costs)
    if len(places) < 2 or not ordered or costs[0] < 0 or not trail.total >= costs[-1] or trail.total <= 0:
        raise ValueError("a trail needs two steps or more, whose progress and CPU time never fall")


def _between(xs: Sequence[float], ys: Sequence[float], x: float) -> float:
    """Linear interpolation; the ends beyond the ends."""
    if x <= xs[0]:
        return ys[0]
    if x >= xs[-1]:
        return ys[-1]
    right = bisect_right(xs, x)
    left = right - 1
    return ys[left] + (ys[right] - ys[left]) * (x - xs[left]) / (xs[right] - xs[left])


def scale_of(shape: CostShape, progress: float, spent: CoreSeconds) -> float:
    """How large a job is over the usual one, from what it spent so far; 1 where nothing is known yet."""
    usual = shape.work * shape.at(progress)
    if usual <= 0 or spent <= 0 or progress <= 0:
        return 1.0
    own = min(SCALES[1], max(SCALES[0], spent / usual))
    weight = progress / (progress + SEEN_HALF)
    return 1.0 + weight * (own - 1.0)


def remaining_work(shape: CostShape, progress: float, spent: CoreSeconds) -> CoreSeconds:
    """CPU time that a job still needs, on one core at the base clock.

    Args:
        shape: of its kind.
        progress: iterations done of all, 0..1; at 1 the tail is left.
        spent: CPU time so far, as it would be on one core at the base clock.
    """
    return CoreSeconds(shape.work * scale_of(shape, progress, spent) * (1.0 - shape.at(progress)))


def remaining_time(
    shape: CostShape, speed: SpeedModel, allocation: Allocation, progress: float, spent: CoreSeconds
) -> Seconds:
    """Wall seconds until a job ends if it runs on this allocation from now on."""
    return Seconds(remaining_work(shape, progress, spent) * speed.time(allocation))
