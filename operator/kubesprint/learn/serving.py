"""The fitted grey box as it answers: numpy and tables, no scikit-learn, no training data."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from types import MappingProxyType

import numpy as np

from kubesprint.core.simulation import QueueSimulator
from kubesprint.learn.course import Bench, Course, JobFactors, Numbers, agreed_sizes, plain_simulator
from kubesprint.learn.observations import Floats
from kubesprint.learn.predictor import Case, Prediction, View
from kubesprint.learn.residual import JobResidual, SettingResidual
from kubesprint.learn.whitebox import Kind, WhiteBox

POINT_DRAWS = 50
"""Simulations, with sizes resampled, whose median is the prediction where sizes are not known."""

INTERVAL_DRAWS = 120
"""Simulations for the intervals: with drift, and with numbers of the model within their errors."""

SEED = 20180423
LEVELS = (0.5, 0.8, 0.95)
RELIABLE_LOAD = 0.9
UNKNOWN_DRIFT = 0.1
FEW = 8
"""A kind with fewer jobs than this has its own sizes resampled from a log-normal."""

HELD_FLOOR = 0.004
"""No interval of the mean claims a model that is better than this."""

_ONES: Mapping[View, float] = MappingProxyType(dict.fromkeys(View, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """How far off the model was on runs that it had not seen."""

    model: float = 0.02  # standard deviation of the logarithm of the mean response, sizes known
    widening: Mapping[View, float] = field(default_factory=lambda: _ONES)


@dataclass(frozen=True, slots=True, kw_only=True)
class GreyModel:
    """A white box, and what is used of the learned part."""

    white: WhiteBox
    setting: SettingResidual | None = None
    job: JobResidual | None = None
    doubt: Doubt = field(default_factory=Doubt)
    simulator: QueueSimulator = plain_simulator

    def predict(self, case: Case, *, intervals: bool = True) -> Prediction:
        """Mean and p95 of a run."""
        scene = self._scene(case)
        course = scene.settle()
        responses = [course.responses]
        if case.view is not View.KNOWN_SIZES:
            dice = np.random.default_rng(SEED)
            sizes = _draw_sizes(scene, dice, POINT_DRAWS)
            responses = [scene.with_sizes(course, one).responses for one in sizes]
        return Prediction(
            mean=float(np.median([one.mean() for one in responses])),
            p95=float(np.median([np.quantile(one, 0.95) for one in responses])),
            trusted=not scene.guessed,
            notes=scene.notes(course),
            intervals=self._intervals(scene, course) if intervals else {},
        )

    def spread_of_mean(self, case: Case, count: int) -> Floats:
        """Draws of the mean response: sizes, drift, errors of the model's numbers, errors of the model."""
        scene = self._scene(case)
        return self._draws(scene, scene.settle(), count)

    def _draws(self, scene: "_Scene", course: Course, count: int) -> Floats:
        dice = np.random.default_rng(SEED + 1)
        known = scene.case.view is View.KNOWN_SIZES
        spread = 0.0
        if scene.case.view is View.RAW:
            name = scene.case.mechanism.name
            spread = self.white.drift_spread.get(name, UNKNOWN_DRIFT)
        sizes = [course.sizes] * count if known else _draw_sizes(scene, dice, count)
        # every part of the distribution of the drift is drawn once: fewer simulations for the same tails
        drifts = np.exp(spread * _normal_quantiles(count, dice))
        means = []
        for one, drift, numbers in zip(sizes, drifts, scene.varied(dice, count), strict=True):
            sized = one * drift * numbers.work / scene.numbers.work
            varied = replace(scene, numbers=numbers)
            means.append(float(varied.with_sizes(course, sized, rescale=not known).responses.mean()))
        model = np.exp(max(HELD_FLOOR, self.doubt.model) * _normal_quantiles(count, dice))
        return np.array(means) * model

    def _intervals(self, scene: "_Scene", course: Course) -> dict[float, tuple[float, float]]:
        logs = np.log(np.maximum(self._draws(scene, course, INTERVAL_DRAWS), 1e-12))
        centre = float(np.median(logs))
        widening = self.doubt.widening[scene.case.view]
        found = {}
        for level in LEVELS:
            low, high = np.quantile(logs, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
            found[level] = (
                math.exp(centre + widening * (float(low) - centre)),
                math.exp(centre + widening * (float(high) - centre)),
            )
        return found

    def _scene(self, case: Case) -> "_Scene":
        kinds = [self.white.of(case.mechanism, kind) for kind in case.kinds]
        numbers, remarks = Numbers.of(kinds), []
        if self.setting is not None:
            factor, inside = self.setting.factor(case, kinds)
            speedup = np.maximum(1.0, numbers.speedup * factor)
            numbers = replace(numbers, speedup=speedup)
            if not inside:
                remarks.append("the setting is outside the training range: white box alone")
        factors = self.job.factors(case, kinds) if self.job is not None else None
        dead = self.white.dead.get(case.mechanism.name, 0.0)
        return _Scene(
            case=case,
            kinds=kinds,
            numbers=numbers,
            usual=numbers.speedup,
            factors=factors,
            bench=Bench(simulator=self.simulator, dead=dead),
            remarks=tuple(remarks),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """One run and the model's numbers for it."""

    case: Case
    kinds: Sequence[Kind]
    numbers: Numbers
    usual: Floats  # the speed-up before what is learned per job and before any variation
    factors: JobFactors | None
    bench: Bench
    remarks: tuple[str, ...]

    def settle(self) -> Course:
        return self.bench.settle(self.case, self.numbers, self.factors)

    def with_sizes(self, course: Course, sizes: Floats, *, rescale: bool = True) -> Course:
        """The run with other sizes; under the drift-normalised view their total is what was measured."""
        if rescale and self.case.view is View.DRIFT_NORMALISED:
            costs = 1.0 + course.shares * (self.numbers.inflation - 1.0)
            sizes = sizes * ((self.case.total_cpu or 0.0) / float(np.sum(sizes * costs)))
        # what was learned stays as it is for this course: other sizes move a job's progress only a little
        speedup = np.maximum(1.0, self.numbers.speedup * course.speedup / self.usual)
        return self.bench.once(self.case, self.numbers, sizes, speedup)

    def varied(self, dice: np.random.Generator, count: int) -> Iterator[Numbers]:
        """The model's numbers, each kind's within its standard errors, `count` times."""
        distinct = dict(zip(self.case.kinds, self.kinds, strict=True))
        errors = np.array(
            [
                (kind.speed.base_error, math.hypot(kind.speed.sprint_error, kind.work.inflation_error),
                 kind.work.work_error)
                for kind in distinct.values()
            ]
        )  # fmt: skip
        place = [list(distinct).index(name) for name in self.case.kinds]
        known = self.case.view is View.KNOWN_SIZES
        for _ in range(count):
            factors = np.exp(errors * dice.standard_normal(errors.shape))[place]
            yield Numbers(
                self.numbers.work if known else self.numbers.work * factors[:, 2],
                self.numbers.base_rate * factors[:, 0],
                np.maximum(1.0, self.numbers.speedup * factors[:, 1] / factors[:, 0]),
                self.numbers.inflation,
            )

    @property
    def guessed(self) -> list[str]:
        return sorted({kind.guessed for kind in self.kinds if kind.guessed})

    def notes(self, course: Course) -> tuple[str, ...]:
        """What a reader must know of this prediction."""
        notes = [*self.guessed, *self.remarks]
        walls = course.sizes / self.numbers.base_rate
        span = max(self.case.arrivals[-1] - self.case.arrivals[0], float(walls.mean()))
        saved = course.shares * walls * (1.0 - 1.0 / self.numbers.speedup)
        load = float(np.sum(walls - saved)) / span / self.case.servers
        if load > RELIABLE_LOAD:
            notes.append(f"load {load:.2f} is above {RELIABLE_LOAD}: unreliable, small errors grow there")
        return tuple(notes)


def _draw_sizes(scene: _Scene, dice: np.random.Generator, count: int) -> list[Floats]:
    """Sizes of all jobs, `count` times: each kind's typical one times what a job of it was seen to need."""
    typical = agreed_sizes(scene.case, scene.numbers, np.zeros(len(scene.kinds)))
    if scene.case.view is View.KNOWN_SIZES:
        return [typical] * count
    factors = np.empty((count, len(scene.kinds)))
    for place, kind in enumerate(scene.kinds):
        own = np.array(kind.work.own)
        if len(own) >= FEW:
            factors[:, place] = dice.choice(own, size=count)
        else:
            factors[:, place] = kind.work.spread * dice.standard_normal(count)
    return [typical * np.exp(row) for row in factors]


def _normal_quantiles(count: int, dice: np.random.Generator) -> Floats:
    """Standard normal numbers, one from each of `count` equal parts of the distribution, shuffled."""
    normal = NormalDist()
    numbers = np.array([normal.inv_cdf((part + 0.5) / count) for part in range(count)])
    dice.shuffle(numbers)
    return numbers
