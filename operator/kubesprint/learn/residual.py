"""What is learned beyond the white box: the effective rate of a sprint over the marginal one.

Two forms. *Per setting*, as in the literature: the factor on every job's speed-up that makes the
simulated mean response of a recorded run equal the measured one, learned as a function of the setting.
*Per job*: each finished job's CPU time per second of its sprint over what is usual for its kind, learned
as a function of the job's progress when the sprint began, for jobs are not equally fast throughout.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kubesprint.core.dataset import Dataset, Run
from kubesprint.core.simulation import TriggerClock
from kubesprint.learn.course import Bench, JobFactors, Numbers
from kubesprint.learn.observations import ALONE, Floats, Seen, see
from kubesprint.learn.predictor import Case, View, case_of
from kubesprint.learn.tables import Forest
from kubesprint.learn.whitebox import Kind, WhiteBox

GRID = tuple(math.exp(math.log(2.5) * (step / 15.0 - 1.0)) for step in range(31))
"""Factors from 0.4 to 2.5 where a root is looked for: the simulated mean is not monotone in the factor."""

BISECTIONS = 40
LEAST_ELASTICITY = 0.01
NUDGE = 0.05
"""Relative change of the factor over which the elasticity is taken."""

RATIOS = (0.4, 2.5)
"""Of a job's speed in its sprint over the usual one: what is beyond was not the sprint."""

LEAST_SPRINT = 0.15
"""Seconds. A shorter sprint is mostly the machine's reaction to the change."""

SETTING_FEATURES = ("mechanism", "speedup", "load", "arrival_variation", "size_variation",
                    "timeout", "capacity", "refill", "from_start")  # fmt: skip
JOB_FEATURES = ("mechanism", "kind", "progress", "share", "speedup")

LONG = 50.0
"""Time-outs and budgets are in mean services, and beyond this many all are alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Codes:
    """Numbers for names, as the forest knows them; an unknown name has one that is out of range."""

    mechanisms: tuple[str, ...]
    kinds: tuple[str, ...]

    def mechanism(self, name: str) -> float:
        """The number of a mechanism; -1 if it was not in the training runs."""
        return float(self.mechanisms.index(name)) if name in self.mechanisms else -1.0

    def kind(self, name: str) -> float:
        """The number of a kind; -1 if it was not in the training runs."""
        return float(self.kinds.index(name)) if name in self.kinds else -1.0

    @classmethod
    def of(cls, white: WhiteBox) -> "Codes":
        """The names that the white box knows, in order."""
        return cls(
            mechanisms=tuple(sorted(white.mechanisms)),
            kinds=tuple(sorted({kind for _, kind in white.kinds})),
        )


def setting_features(case: Case, kinds: Sequence[Kind], codes: Codes) -> Floats:
    """One row for a run: nothing that is known only afterwards."""
    walls = np.array([kind.work.work / kind.speed.base_rate for kind in kinds])
    mean = float(walls.mean())
    gaps = np.diff(np.array(case.arrivals))
    span = max(case.arrivals[-1] - case.arrivals[0], mean)
    rules = case.rules
    return np.array([[
        codes.mechanism(case.mechanism.name),
        float(np.mean([kind.speedup for kind in kinds])),
        float(walls.sum()) / span / case.servers,
        float(gaps.std() / gaps.mean()) if len(gaps) > 1 and gaps.mean() > 0 else 0.0,
        float(walls.std()) / mean,
        min(LONG, rules.timeout / mean),
        min(LONG, rules.capacity / mean),
        rules.refill,
        float(rules.clock is TriggerClock.START),
    ]])  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """What one recorded run says of the effective rate."""

    run: str
    factor: float | None  # None: no factor explains what was measured
    elasticity: float  # how much the mean response depends on the factor there; 0 without a root
    idle: bool = False  # nothing depends on the factor: the run did not sprint


def find_root(run: Run, kinds: Sequence[Kind], bench: Bench) -> Root:
    """The factor on all speed-ups that explains the run's mean response: the nearest to 1 if several do.

    The run's own arrivals and sizes are simulated, so that the dice of sizes play no part.
    """
    case, numbers = case_of(run, View.KNOWN_SIZES), Numbers.of(kinds)
    sizes = recorded_sizes(run, numbers)
    measured = run.measured.mean

    def above(factor: float) -> float:
        return simulated(factor) / measured - 1.0

    def simulated(factor: float) -> float:
        course = bench.once(case, numbers, sizes, numbers.speedup * factor)
        return float(course.responses.mean())

    values = [above(factor) for factor in GRID]
    if max(values) - min(values) < LEAST_ELASTICITY:
        return Root(run=run.setting.run, factor=None, elasticity=0.0, idle=True)
    roots = [
        _bisect(above, low, high)
        for low, high, before, after in zip(GRID, GRID[1:], values, values[1:], strict=False)
        if before == 0.0 or (before < 0.0) != (after < 0.0)
    ]
    if not roots:
        return Root(run=run.setting.run, factor=None, elasticity=0.0)
    root = min(roots, key=lambda factor: abs(math.log(factor)))
    more, less = simulated(root * (1.0 + NUDGE)), simulated(root / (1.0 + NUDGE))
    elasticity = abs(math.log(more / less)) / (2.0 * math.log1p(NUDGE))
    return Root(run=run.setting.run, factor=root, elasticity=elasticity)


def _bisect(above: Callable[[float], float], low: float, high: float) -> float:
    sign = above(low) < 0.0
    for _ in range(BISECTIONS):
        middle = math.sqrt(low * high)
        if (above(middle) < 0.0) == sign:
            low = middle
        else:
            high = middle
    return math.sqrt(low * high)


def recorded_sizes(run: Run, numbers: Numbers) -> Floats:
    """CPU seconds at base of each job, as it was recorded, without what its sprint made of them."""
    cpu = np.array([job.cpu for job in run.jobs])
    slow = np.array([job.wall - job.sprint for job in run.jobs])
    told = np.array([-1.0 if job.sprint_cpu is None else job.sprint_cpu for job in run.jobs])
    fast = np.where(told >= 0.0, told, np.maximum(0.0, cpu - numbers.base_rate * slow))
    return np.asarray(cpu - fast + fast / numbers.inflation, dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingResidual:
    """The effective rate by setting."""

    forest: Forest
    codes: Codes
    roots: int  # runs that it was fitted to
    dropped: int  # runs without a root
    idle: int  # runs whose response hardly depends on the rate

    def factor(self, case: Case, kinds: Sequence[Kind]) -> tuple[float, bool]:
        """The factor on all speed-ups, and whether the setting is within what was learned from."""
        row = setting_features(case, kinds, self.codes)
        if not self.forest.knows(row)[0]:
            return 1.0, False
        return float(self.forest.predict(row)[0]), True


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResidual:
    """The speed of a sprint by the progress of the job at its start."""

    forest: Forest
    codes: Codes
    jobs: int  # that it was fitted to

    def factors(self, case: Case, kinds: Sequence[Kind]) -> JobFactors:
        """What turns progress into factors for the jobs of this run; 1 outside what was learned from."""
        mechanism = self.codes.mechanism(case.mechanism.name)
        rows = np.array(
            [
                [mechanism, self.codes.kind(name), 0.0, 0.0, kind.speedup]
                for name, kind in zip(case.kinds, kinds, strict=True)
            ]
        )

        def of(progress: Floats, shares: Floats) -> Floats:
            asked = rows.copy()
            asked[:, 2] = np.where(np.isnan(progress), 0.0, progress)
            asked[:, 3] = shares
            return np.where(self.forest.knows(asked), self.forest.predict(asked), 1.0)

        return of


def job_rows(training: Dataset, white: WhiteBox, codes: Codes) -> tuple[Floats, Floats, Floats]:
    """Features, targets (speed over the usual one) and weights (seconds) of all measured sprints."""
    rows, targets, weights = [], [], []
    for job in see(training):
        kind = white.kinds.get((job.mechanism, job.kind))
        if kind is None or not job.told or job.run == ALONE or job.fast < LEAST_SPRINT:
            continue
        ratio = job.fast_cpu / job.fast / kind.speed.sprint_rate
        if not RATIOS[0] <= ratio <= RATIOS[1]:
            continue
        names = [codes.mechanism(job.mechanism), codes.kind(job.kind)]
        rows.append([*names, *_progress(job, kind), kind.speedup])
        targets.append(ratio)
        weights.append(job.fast)
    return np.array(rows).reshape(-1, len(JOB_FEATURES)), np.array(targets), np.array(weights)


def _progress(job: Seen, kind: Kind) -> tuple[float, float]:
    """The share of the work that was done before the first sprint, and that done in sprints."""
    fast = job.fast_cpu / kind.work.inflation
    work = job.slow_cpu + fast
    return min(1.0, kind.speed.base_rate * job.before / work), fast / work


def setting_rows(
    training: Dataset, white: WhiteBox, bench: Bench, codes: Codes
) -> tuple[list[Root], Floats, Floats, Floats]:
    """The roots of all training runs; features, targets and weights of those that say something."""
    roots, rows, targets, weights = [], [], [], []
    for run in training.runs:
        mechanism = run.setting.mechanism
        kinds = [white.of(mechanism, job.kind) for job in run.jobs]
        root = find_root(run, kinds, replace(bench, dead=white.dead.get(mechanism.name, 0.0)))
        roots.append(root)
        if root.factor is not None and root.elasticity >= LEAST_ELASTICITY:
            rows.append(setting_features(case_of(run, View.RAW), kinds, codes)[0])
            targets.append(root.factor)
            weights.append(root.elasticity)
    return roots, np.array(rows).reshape(-1, len(SETTING_FEATURES)), np.array(targets), np.array(weights)
