"""How much CPU time jobs need: each kind's work, what a sprint makes of it, and the drift of each run.

Within one mechanism the logarithm of a job's CPU time is taken apart as

    kind's work + drift of its run + share of its work done in a sprint x kind's inflation + its own

and fitted by least squares in which drifts and inflations are drawn towards their mean as far as they
are ill known (a linear mixed model; the dispersions are estimated along the way). The profile counts as
one more run, whose drift is its own: kinds that were measured on a fast afternoon are not taken to be
small. What is expected of the next run is that of an average training run.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kubesprint.learn.observations import ALONE, Floats, Seen

ROUNDS = 6
"""Of estimating dispersions and refitting."""

POOLED_JOBS = 8.0
"""A kind's own dispersion counts like that of this many jobs of all kinds."""

INFLATION_SPREAD = 0.08
"""Standard deviation, across kinds, of the logarithm of what a sprint makes of the CPU time: prior."""

INFLATIONS = (0.7, 1.6)
"""What a sprint can make of the CPU time of a piece of work, at least and at most."""

LEAST_SPREAD = 0.005
LEAST_DRIFT = 0.003
FAR = 3.0  # standard deviations, from where a job's pull no longer grows (Huber)


@dataclass(frozen=True, slots=True, kw_only=True)
class KindWork:
    """One kind under one mechanism."""

    work: float  # CPU seconds at base of a job of typical size, on an average run
    spread: float  # standard deviation of the logarithm, from job to job
    inflation: float  # CPU seconds for a piece of work in a sprint, over those at base
    work_error: float  # standard error of the logarithm of `work`
    inflation_error: float  # standard error of the logarithm of `inflation`
    own: tuple[float, ...]  # logarithms of what single jobs needed over what was expected, for resampling
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkFit:
    """All kinds of one mechanism."""

    kinds: Mapping[str, KindWork]
    drifts: Mapping[str, float]  # by run: logarithm of its CPU seconds over those of an average run
    drift_spread: float  # standard deviation of these from run to run


def shares_of(jobs: Sequence[Seen], inflation: Mapping[str, float]) -> Floats:
    """The share of each job's work that was done in its sprint; CPU time alone does not say it."""
    fast = np.array([job.fast_cpu / inflation.get(job.kind, 1.0) for job in jobs])
    slow = np.array([job.slow_cpu for job in jobs])
    return np.asarray(fast / np.maximum(slow + fast, 1e-300), dtype=np.float64)


def fit_work(jobs: Sequence[Seen]) -> WorkFit:
    """The work model of one mechanism from all jobs seen under it; at least one."""
    design = _Design(jobs)
    spreads = np.full(len(design.kinds), 0.1)
    drift = 0.05
    solution, covariance = np.zeros(design.width), np.eye(design.width)
    huber = np.ones(len(jobs))
    for _ in range(ROUNDS):
        weights = huber / np.maximum(spreads[design.kind], LEAST_SPREAD) ** 2
        solution, covariance = design.solve(weights, drift)
        left = design.target - design.matrix @ solution
        spreads = design.spreads(left)
        drift = design.drift(solution, covariance)
        far = np.abs(left) / spreads[design.kind]
        huber = np.where(far > FAR, FAR / np.maximum(far, FAR), 1.0)
        design.update(solution)
    return design.answer(solution, covariance, spreads, drift)


class _Design:
    """The least-squares problem: columns are kinds, runs, inflations of kinds, mean inflation."""

    def __init__(self, jobs: Sequence[Seen]) -> None:
        self.jobs = jobs
        self.kinds = sorted({job.kind for job in jobs})
        self.runs = sorted({job.run for job in jobs})
        self.kind = np.array([self.kinds.index(job.kind) for job in jobs])
        self.run = np.array([self.runs.index(job.run) for job in jobs])
        self.width = 2 * len(self.kinds) + len(self.runs) + 1
        self.target = np.log(np.array([job.cpu for job in jobs]))
        self.matrix = np.zeros((len(jobs), self.width))
        rows = np.arange(len(jobs))
        self.matrix[rows, self.kind] = 1.0
        self.matrix[rows, len(self.kinds) + self.run] = 1.0
        self.first_inflation = len(self.kinds) + len(self.runs)
        self.update(np.zeros(self.width))

    def update(self, solution: Floats) -> None:
        """Take over inflations, on which the shares of work depend."""
        inflation = {kind: self._inflation(solution, k) for k, kind in enumerate(self.kinds)}
        shares = shares_of(self.jobs, inflation)
        self.matrix[np.arange(len(self.jobs)), self.first_inflation + self.kind] = shares
        self.matrix[:, -1] = shares

    def _inflation(self, solution: Floats, kind: int) -> float:
        value = math.exp(solution[self.first_inflation + kind] + solution[-1])
        return min(INFLATIONS[1], max(INFLATIONS[0], value))

    def solve(self, weights: Floats, drift: float) -> tuple[Floats, Floats]:
        """The solution and its covariance, for weights of jobs and a spread of drifts."""
        kinds, runs = len(self.kinds), len(self.runs)
        penalty = np.zeros(self.width)
        penalty[:kinds] = 1e-6  # a kind's work is free; this only keeps the problem solvable
        penalty[kinds : kinds + runs] = 1.0 / max(drift, LEAST_DRIFT) ** 2
        penalty[self.first_inflation : -1] = 1.0 / INFLATION_SPREAD**2
        penalty[-1] = 1.0 / INFLATION_SPREAD**2
        normal = self.matrix.T @ (self.matrix * weights[:, None]) + np.diag(penalty)
        covariance: Floats = np.asarray(np.linalg.inv(normal), dtype=np.float64)
        solution: Floats = covariance @ (self.matrix.T @ (weights * self.target))
        return solution, covariance

    def spreads(self, left: Floats) -> Floats:
        """Each kind's dispersion, drawn towards that of all kinds."""
        everyone = float(np.sum(left**2)) / max(1.0, len(left) - self.width / 2.0)
        found = []
        for k in range(len(self.kinds)):
            own = left[self.kind == k]
            pooled = (float(np.sum(own**2)) + POOLED_JOBS * everyone) / (len(own) + POOLED_JOBS)
            found.append(max(LEAST_SPREAD, math.sqrt(pooled)))
        return np.array(found)

    def drift(self, solution: Floats, covariance: Floats) -> float:
        """How far apart runs are: what was found, and what is not known of it."""
        columns = [len(self.kinds) + r for r, run in enumerate(self.runs) if run != ALONE]
        if len(columns) < 2:
            return 0.05  # one run says nothing of how runs differ
        known = np.array([solution[c] ** 2 + covariance[c, c] for c in columns])
        return max(LEAST_DRIFT, math.sqrt(float(known.mean())))

    def answer(self, solution: Floats, covariance: Floats, spreads: Floats, drift: float) -> WorkFit:
        """The fitted model. The drift of an average run is 0 by construction."""
        columns = {run: len(self.kinds) + r for r, run in enumerate(self.runs) if run != ALONE}
        centre = float(np.mean([solution[c] for c in columns.values()])) if columns else 0.0
        left = self.target - self.matrix @ solution
        pools: defaultdict[str, list[float]] = defaultdict(list)
        for job, own in zip(self.jobs, left, strict=True):
            pools[job.kind].append(float(own))
        kinds = {}
        for k, kind in enumerate(self.kinds):
            i = self.first_inflation + k
            of_inflation = covariance[i, i] + covariance[-1, -1] + 2 * covariance[i, -1]
            kinds[kind] = KindWork(
                work=math.exp(solution[k] + centre),
                spread=float(spreads[k]),
                inflation=self._inflation(solution, k),
                work_error=math.sqrt(max(0.0, float(covariance[k, k]))),
                inflation_error=math.sqrt(max(0.0, float(of_inflation))),
                own=tuple(pools[kind]),
                samples=len(pools[kind]),
            )
        return WorkFit(
            kinds=kinds,
            drifts={run: float(solution[c]) - centre for run, c in columns.items()},
            drift_spread=drift,
        )
