"""Predictors without a queue: a regression from settings to response times.

The target is the logarithm of the response time in mean service times, so a learner is not asked to find
out that jobs twice as long take twice as long. Hyper-parameters are chosen by cross-validation by run
on the training runs, and nowhere else. Everything is seeded. Needs numpy and scikit-learn.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

from kubesprint.core.dataset import Dataset, Measures, Run
from kubesprint.core.errors import Unavailable
from kubesprint.learn.baselines_features import FeatureMaker
from kubesprint.learn.predictor import ONLY_RAW, Case, Prediction, View, case_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]

SEED = 20180423

FOLDS = 5

FEWEST = 4
"""Training runs from which on hyper-parameters are chosen; with fewer the first ones of the grid are used."""

FARTHEST = 3.0
"""How far beyond the targets of the training runs an answer may lie, in natural logarithms."""

Parameters = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Learner:
    """One way to learn: its grid, and how to make it from one point of the grid."""

    name: str
    grid: Sequence[Parameters]  # the first is for training sets that are too small to choose
    make: Callable[[Parameters], Any]  # an unfitted regressor
    final: Parameters = field(default_factory=dict)  # what the chosen point is refined to for the last fit


def _grid(**choices: Sequence[Any]) -> list[Parameters]:
    return [dict(zip(choices, point, strict=True)) for point in product(*choices.values())]


def _mlp(parameters: Parameters) -> Any:
    from sklearn.ensemble import BaggingRegressor
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    parameters = dict(parameters)
    networks = parameters.pop("networks")
    network = MLPRegressor(solver="lbfgs", max_iter=400, random_state=SEED, **parameters)
    # the same data and other first weights each time: an average of some is steadier than one
    return make_pipeline(
        StandardScaler(),
        BaggingRegressor(network, n_estimators=networks, bootstrap=False, random_state=SEED),
    )


def _boosting(parameters: Parameters) -> Any:
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.multioutput import MultiOutputRegressor

    return MultiOutputRegressor(
        GradientBoostingRegressor(learning_rate=0.08, random_state=SEED, **parameters)
    )


def _forest(parameters: Parameters) -> Any:
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(random_state=SEED, **parameters)


def _neighbours(parameters: Parameters) -> Any:
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), KNeighborsRegressor(**parameters))


MLP = Learner(
    name="direct-mlp",
    grid=_grid(hidden_layer_sizes=[(16,), (32, 16)], alpha=[1.0, 0.01, 0.1, 10.0], networks=[1]),
    make=_mlp,
    final={"networks": 5},
)
BOOSTING = Learner(
    name="direct-gb", grid=_grid(n_estimators=[60, 200], max_depth=[2, 1, 3], subsample=[0.7]), make=_boosting
)
FOREST = Learner(
    name="direct-forest",
    grid=_grid(max_features=[0.4, 1.0], min_samples_leaf=[1, 3], n_estimators=[80]),
    make=_forest,
    final={"n_estimators": 300},
)
NEIGHBOURS = Learner(
    name="nearest-runs",
    grid=_grid(n_neighbors=[3, 1, 2, 5, 8], weights=["distance", "uniform"]),
    make=_neighbours,
)


class Direct:
    """One learner on settings, or on settings and a summary of the trace."""

    views = ONLY_RAW

    def __init__(self, learner: Learner, *, with_trace: bool) -> None:
        self.name = f"{learner.name}-trace" if with_trace else learner.name
        self._learner = learner
        self._with_trace = with_trace
        self._maker: FeatureMaker | None = None
        self._model: Any = None
        self._card: dict[str, object] = {}
        self._range = (0.0, 0.0)

    @property
    def card(self) -> Mapping[str, object]:
        """What cross-validation chose."""
        return self._card

    def fit(self, training: Dataset) -> None:
        """Choose hyper-parameters by cross-validation by run, then fit to all training runs.

        Raises:
            Unavailable: numpy or scikit-learn is not installed.
        """
        try:
            import numpy as np
            import sklearn  # noqa: F401
        except ImportError as error:
            raise Unavailable(
                f"{self.name} needs numpy and scikit-learn: pip install 'kubesprint[learn]', "
                "or name another predictor with --predictor"
            ) from error
        runs = training.runs
        choice, error_there = self._chosen(training)
        parameters = {**choice, **self._learner.final}
        self._maker = FeatureMaker.fitted(training, with_trace=self._with_trace)
        inputs, targets = self._table(self._maker, runs)
        self._range = float(np.min(targets)), float(np.max(targets))
        self._model = self._fitted(parameters, inputs, targets)
        self._card = {
            "features": inputs.shape[1],
            "runs": len(runs),
            "chosen": {key: _plain(value) for key, value in parameters.items()},
            "by": "cross-validation by run" if error_there is not None else "default: too few runs to choose",
            "log_error": error_there,
        }

    def predict(self, case: Case) -> Prediction:
        """Ask the regression."""
        if self._maker is None:
            raise ValueError(f"{self.name} was not fitted")
        row = self._maker.row(case)
        answer = self._predicted(self._model, [row.features])[0]
        low, high = self._range[0] - FARTHEST, self._range[1] + FARTHEST
        mean, p95 = (row.service * math.exp(min(high, max(low, float(one)))) for one in answer)
        unseen = sorted(set(case.kinds) - set(self._maker.kinds))
        notes = [f"kind {', '.join(unseen)} is not in the training runs"] if unseen else []
        if case.mechanism.name not in self._maker.mechanisms:
            notes.append(f"mechanism {case.mechanism.name!r} is not in the training runs")
        return Prediction(mean=mean, p95=p95, trusted=not notes, notes=notes)

    # fitting

    def _chosen(self, training: Dataset) -> tuple[Parameters, float | None]:
        """The point of the grid with the least mean absolute log error on held-out runs, and that error."""
        if len(training.runs) < FEWEST:
            return self._learner.grid[0], None
        folds = [self._fold(training, held_out) for held_out in folds_of(training.runs)]
        scores = [
            sum(self._loss(parameters, fold) for fold in folds) / len(training.runs)
            for parameters in self._learner.grid
        ]
        best = min(range(len(scores)), key=scores.__getitem__)
        return self._learner.grid[best], scores[best]

    def _fold(self, training: Dataset, held_out: Sequence[Run]) -> "tuple[Matrix, Matrix, Matrix, Matrix]":
        rest = training.without(held_out)
        maker = FeatureMaker.fitted(rest, with_trace=self._with_trace)
        return (*self._table(maker, rest.runs), *self._table(maker, held_out))

    def _loss(self, parameters: Parameters, fold: "tuple[Matrix, Matrix, Matrix, Matrix]") -> float:
        inputs, targets, held_inputs, held_targets = fold
        model = self._fitted(parameters, inputs, targets)
        return float(abs(self._predicted(model, held_inputs) - held_targets).mean(axis=1).sum())

    def _fitted(self, parameters: Parameters, inputs: "Matrix", targets: "Matrix") -> Any:
        model = self._learner.make(_possible(parameters, len(inputs)))
        with _quiet():
            model.fit(inputs, targets)
        return model

    @staticmethod
    def _predicted(model: Any, inputs: Any) -> "Matrix":
        import numpy as np

        with _quiet():
            answers: Matrix = np.asarray(model.predict(np.asarray(inputs)), dtype=float)
        return answers.reshape(len(inputs), 2)

    @staticmethod
    def _table(maker: FeatureMaker, runs: Sequence[Run]) -> "tuple[Matrix, Matrix]":
        import numpy as np

        rows = [maker.row(case_of(run, View.RAW)) for run in runs]
        targets = [_targets(run.measured, row.service) for run, row in zip(runs, rows, strict=True)]
        return np.array([row.features for row in rows], dtype=float), np.array(targets, dtype=float)


def _possible(parameters: Parameters, rows: int) -> Parameters:
    """What a learner can do with so few rows: no more neighbours than there are, no empty sample of them."""
    possible = dict(parameters)
    if "n_neighbors" in possible:
        possible["n_neighbors"] = min(rows, possible["n_neighbors"])
    if "subsample" in possible and rows < 2 * FEWEST:
        possible["subsample"] = 1.0
    return possible


def _targets(measured: Measures, service: float) -> tuple[float, float]:
    """A response of 0 has no logarithm; it counts as a thousandth of a job."""
    return tuple(  # type: ignore[return-value]
        math.log(max(seconds / service, 1e-3)) for seconds in (measured.mean, measured.p95)
    )


def folds_of(runs: Sequence[Run], folds: int = FOLDS) -> list[list[Run]]:
    """Every run in one fold, runs of one setting in the same one; settings are dealt out in their order.

    Dealing spreads the mechanisms, which datasets list one after another, over all folds.
    """
    settings = list(dict.fromkeys(run.setting.setting for run in runs))
    fold = {setting: index % folds for index, setting in enumerate(settings)}
    dealt = [[run for run in runs if fold[run.setting.setting] == index] for index in range(folds)]
    return [some for some in dealt if some and len(some) < len(runs)]


@contextmanager
def _quiet() -> Iterator[None]:
    """Small data make learners complain of too few iterations; the score says how good they are.

    Their matrices are so small that a second thread only gets in the way of the first.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with warnings.catch_warnings(), threadpool_limits(limits=1):
        warnings.simplefilter("ignore")
        yield


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
