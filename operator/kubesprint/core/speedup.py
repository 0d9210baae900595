"""How fast a job runs on an allocation, from first principles.

Time for one unit of work (one core at the base clock, alone, takes 1):

    cores   t = 1 / q                                            q <= 1 cores: throttled
            t = serial + (1 - serial) * inflation / min(q, usable) q > 1: Amdahl below a quota roofline
    clock   t is multiplied by compute / (f / f0) + 1 - compute

`inflation` is what a parallel part costs in CPU time on more than one core over what it costs on one
(waiting, cache misses, duplicated work). It is at least 1, so a few tenths of a core above one can be
slower than one core; that is real, and is not smoothed away.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from kubesprint.core.allocation import Allocation
from kubesprint.core.units import Cores, CoreSeconds, Seconds

_NO_ERRORS: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedModel:
    """One kind of job. The defaults are a job that uses one core and nothing but the core."""

    serial_share: float = 1.0  # of the work, that only one core can do; 0..1
    work_inflation: float = 1.0  # of the parallel part on more than one core; at least 1
    compute_share: float = 1.0  # of the time, that scales with the clock; 0..1
    usable_cores: float = math.inf  # more than these are of no use; at least 1

    def __post_init__(self) -> None:
        shares = (self.serial_share, self.compute_share)
        if not all(0.0 <= share <= 1.0 for share in shares):
            raise ValueError(f"shares are from 0 to 1, not {self.serial_share} and {self.compute_share}")
        if not (self.work_inflation >= 1.0 and self.usable_cores >= 1.0):
            raise ValueError(
                f"inflation and usable cores are 1 or more, not {self.work_inflation} and {self.usable_cores}"
            )

    def time(self, allocation: Allocation) -> float:
        """Time for the work that takes one core at the base clock a second."""
        cores = min(allocation.cores, self.usable_cores)
        if cores <= 1.0:
            needed = 1.0 / cores
        else:
            needed = self.serial_share + (1.0 - self.serial_share) * self.work_inflation / cores
        return needed * (self.compute_share / allocation.clock + 1.0 - self.compute_share)

    def speed(self, allocation: Allocation) -> float:
        """Speed relative to one core at the base clock."""
        return 1.0 / self.time(allocation)

    def speedup(self, base: Allocation, sprint: Allocation) -> float:
        """How many times faster the job runs on `sprint` than on `base`; below 1 if it runs slower."""
        return self.time(base) / self.time(sprint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Runs of one kind, alone, on one allocation: means over `runs`."""

    allocation: Allocation
    wall: Seconds
    cpu: CoreSeconds
    runs: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedFit:
    """A model and how well it is known."""

    model: SpeedModel
    work: CoreSeconds  # CPU time of one job on one core at the base clock
    fitted: frozenset[str]  # the fields of the model that were measured, not assumed
    standard_errors: Mapping[str, float] = field(default_factory=lambda: _NO_ERRORS)  # where computable


def fit(points: Sequence[Measured], *, usable_cores: float = math.inf) -> SpeedFit:
    """The simplest model that the points can tell from another.

    - points at one core or less only: nothing is known of parallelism, so none is claimed (serial share 1);
    - points above one core only: serial share, with no inflation (work cannot be told from inflation);
    - both: CPU time above one core is `work * (serial + (1 - serial) * inflation)`, wall time the same with
      the second term divided by the cores; two unknowns, solved by least squares, inflation at least 1;
    - the compute share only from points off the base clock, else 1 (what is assumed of a clock sprint
      that nobody measured is nominal, so do not trust it).

    Args:
        points: means over runs, or single ones: standard errors need two or more at an allocation.
        usable_cores: the threads of the job, where they are known: a quota above them changes nothing.

    Raises:
        ValueError: no points, or a time that is not above 0.
    """
    if not points or not all(p.wall > 0 and p.cpu > 0 and p.runs > 0 for p in points):
        raise ValueError("a fit needs at least one point, with wall and CPU time above 0")
    points = [_within(point, usable_cores) for point in points]
    based = [p for p in points if p.allocation.clock == 1.0] or list(points)
    one = [p for p in based if p.allocation.cores <= 1.0]
    more = [p for p in based if p.allocation.cores > 1.0]
    if not more:
        found = _Cores(1.0, 1.0, _mean([p.cpu for p in one], [p.runs for p in one]), frozenset(), {})
    elif not one:
        found = _fit_serial(more, None)
    else:
        found = _fit_cores(one, more)
    still = SpeedModel(serial_share=found.serial, work_inflation=found.inflation, usable_cores=usable_cores)
    share, clocked, share_error = _fit_clock(still, found.work, [p for p in points if p not in based])
    errors = dict(found.errors)
    if share_error is not None:
        errors["compute_share"] = share_error
    return SpeedFit(
        model=replace(still, compute_share=share),
        work=CoreSeconds(found.work),
        fitted=found.fitted | ({"compute_share"} if clocked else set()),
        standard_errors=MappingProxyType(errors),
    )


def _within(point: Measured, usable_cores: float) -> Measured:
    """The point with the cores that the job could use."""
    cores = Cores(min(point.allocation.cores, usable_cores))
    return replace(point, allocation=Allocation(cores, point.allocation.clock))


@dataclass(frozen=True, slots=True)
class _Cores:
    serial: float
    inflation: float
    work: float
    fitted: frozenset[str]
    errors: Mapping[str, float]


def _fit_cores(one: Sequence[Measured], more: Sequence[Measured]) -> _Cores:
    """Serial share and inflation from points on both sides of one core."""
    weights = [p.runs for p in one]
    work = _mean([p.cpu for p in one], weights)
    work_error = _error_of_mean([p.cpu for p in one], weights)
    rows: list[tuple[float, float, float, int]] = [(1.0, 1.0, p.cpu, p.runs) for p in more]
    rows += [(1.0, 1.0 / p.allocation.cores, p.wall, p.runs) for p in more]
    serial_time, parallel_time, covariance = _least_squares(rows)
    serial = serial_time / work
    if serial < 0.0:
        return _fit_inflation(more, work)
    if serial >= 1.0 or parallel_time < work - serial_time:
        return _fit_serial(more, work)
    inflation = parallel_time / (work - serial_time)
    errors: dict[str, float] = {}
    if covariance is not None and work_error is not None:
        var_s, var_p, cov = covariance
        rest = work - serial_time
        errors["serial_share"] = math.sqrt(var_s + (serial * work_error) ** 2) / work
        to_s, to_p, to_w = parallel_time / rest**2, 1.0 / rest, -parallel_time / rest**2
        variance = to_s**2 * var_s + to_p**2 * var_p + 2 * to_s * to_p * cov + (to_w * work_error) ** 2
        errors["work_inflation"] = math.sqrt(max(0.0, variance))
    return _Cores(serial, inflation, work, frozenset({"serial_share", "work_inflation"}), errors)


def _fit_inflation(more: Sequence[Measured], work: float) -> _Cores:
    """Inflation alone, of a job without a serial part."""
    shown = sum(p.runs * (p.cpu + p.wall / p.allocation.cores) for p in more)
    inflated = shown / sum(p.runs * (1.0 + p.allocation.cores**-2.0) for p in more)
    return _Cores(0.0, max(1.0, inflated / work), work, frozenset({"serial_share", "work_inflation"}), {})


def _fit_serial(more: Sequence[Measured], work: float | None) -> _Cores:
    """Serial share alone, without inflation, from wall times above one core."""
    weights = [p.runs for p in more]
    total = _mean([p.cpu for p in more], weights) if work is None else work
    # wall / work - 1/n = serial * (1 - 1/n)
    gains = [1.0 - 1.0 / p.allocation.cores for p in more]
    excess = [p.wall / total - 1.0 / p.allocation.cores for p in more]
    serial, error = _through_origin(gains, excess, weights)
    errors = {} if error is None else {"serial_share": error}
    fitted = {"serial_share"} if work is None else {"serial_share", "work_inflation"}
    return _Cores(min(1.0, max(0.0, serial)), 1.0, total, frozenset(fitted), errors)


def _fit_clock(
    model: SpeedModel, work: float, points: Sequence[Measured]
) -> tuple[float, bool, float | None]:
    """The compute share, whether it was measured, and its standard error."""
    if not points:
        return 1.0, False, None
    # wall / wall at the base clock - 1 = share * (f0 / f - 1)
    gains = [1.0 / p.allocation.clock - 1.0 for p in points]
    excess = [p.wall / (work * model.time(Allocation(p.allocation.cores))) - 1.0 for p in points]
    share, error = _through_origin(gains, excess, [p.runs for p in points])
    return min(1.0, max(0.0, share)), True, error


def _mean(values: Sequence[float], weights: Sequence[int]) -> float:
    return sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)


def _error_of_mean(values: Sequence[float], weights: Sequence[int]) -> float | None:
    """Standard error from the spread between points; None for a single one."""
    if len(values) < 2:
        return None
    mean = _mean(values, weights)
    spread = sum(w * (v - mean) ** 2 for v, w in zip(values, weights, strict=True))
    return math.sqrt(spread / (len(values) - 1) / sum(weights))


def _through_origin(
    xs: Sequence[float], ys: Sequence[float], weights: Sequence[int]
) -> tuple[float, float | None]:
    """Weighted slope of y = b x, and its standard error if there is more than one point."""
    rows = list(zip(xs, ys, weights, strict=True))
    square = sum(w * x * x for x, _, w in rows)
    slope = sum(w * x * y for x, y, w in rows) / square
    if len(rows) < 2:
        return slope, None
    residual = sum(w * (y - slope * x) ** 2 for x, y, w in rows)
    return slope, math.sqrt(residual / (len(rows) - 1) / square)


def _least_squares(
    rows: Sequence[tuple[float, float, float, int]],
) -> tuple[float, float, tuple[float, float, float] | None]:
    """Weighted solution of a x + b y = c; variances of x and y and their covariance beyond two rows."""
    aa = sum(w * a * a for a, _, _, w in rows)
    ab = sum(w * a * b for a, b, _, w in rows)
    bb = sum(w * b * b for _, b, _, w in rows)
    ac = sum(w * a * c for a, _, c, w in rows)
    bc = sum(w * b * c for _, b, c, w in rows)
    determinant = aa * bb - ab * ab
    x, y = (bb * ac - ab * bc) / determinant, (aa * bc - ab * ac) / determinant
    if len(rows) <= 2:
        return x, y, None
    noise = sum(w * (c - a * x - b * y) ** 2 for a, b, c, w in rows) / (len(rows) - 2)
    return x, y, (noise * bb / determinant, noise * aa / determinant, -noise * ab / determinant)
