"""A scikit-learn estimator that keeps a white box and learns only the rest, if that helps.

Needs scikit-learn to fit. What is fitted answers from plain tables (`tables.Forest`).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import GroupKFold, KFold
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from kubesprint.learn.tables import Floats, Forest, forest_of

WhiteBoxFunction = Callable[[Floats], Floats]


def grow(
    rows: Floats,
    target: Floats,
    weights: Floats | None,
    names: Sequence[str],
    *,
    trees: int = 200,
    leaf: int = 3,
    seed: int = 0,
) -> Forest:
    """A random forest fitted to rows of features, as tables."""
    forest = RandomForestRegressor(n_estimators=trees, min_samples_leaf=leaf, random_state=seed)
    forest.fit(rows, target, sample_weight=weights)
    return forest_of(forest.estimators_, names, rows)


class GreyBoxRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A known function, and a random forest on what it misses.

    The forest is kept only if cross-validation says that it lowers the mean absolute error by more than
    the standard error of the difference; else `forest_` is None and `reason_` says why. Outside the range
    of the training rows the white box answers alone.

    Parameters
    ----------
    white_box : callable or None
        From rows of features to answers; None: the mean of the training targets.
    residual : {"difference", "ratio"}
        What the forest learns; "ratio" needs answers and targets above 0.
    n_estimators, min_samples_leaf : int
        Of the forest.
    cv : int
        Folds of the cross-validation; below 2: the forest is kept unseen.
    random_state : int
        Seed of the forest and of the folds.
    """

    def __init__(
        self,
        white_box: WhiteBoxFunction | None = None,
        *,
        residual: str = "difference",
        n_estimators: int = 100,
        min_samples_leaf: int = 2,
        cv: int = 5,
        random_state: int = 0,
    ) -> None:
        self.white_box = white_box
        self.residual = residual
        self.n_estimators = n_estimators
        self.min_samples_leaf = min_samples_leaf
        self.cv = cv
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> "GreyBoxRegressor":  # noqa: N803
        """Fit to rows of features; rows with equal `groups` are left out together in cross-validation."""
        if self.residual not in ("difference", "ratio"):
            raise ValueError(f'residual is "difference" or "ratio", not {self.residual!r}')
        rows, target = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        weights = _check_sample_weight(sample_weight, rows, dtype=np.float64, ensure_non_negative=True)
        self.mean_ = float(np.average(target, weights=weights))
        self.forest_: Forest | None = None
        self.reason_ = self._judge(rows, target, weights, groups)
        if not self.reason_:
            self.forest_ = self._grow(rows, target, weights)
        return self

    def predict(self, X: Any) -> Floats:  # noqa: N803
        """One answer a row."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=np.float64, reset=False)
        return self._answer(rows, self.forest_)

    def _white(self, rows: Floats) -> Floats:
        if self.white_box is None:
            return np.full(len(rows), self.mean_)
        return np.asarray(self.white_box(rows), dtype=np.float64)

    def _grow(self, rows: Floats, target: Floats, weights: Floats) -> Forest:
        white = self._white(rows)
        if self.residual == "ratio":
            if (white <= 0).any() or (target <= 0).any():
                raise ValueError('residual="ratio" needs answers of the white box and targets above 0')
            left = target / white
        else:
            left = target - white
        names = [f"x{column}" for column in range(rows.shape[1])]
        return grow(
            rows, left, weights, names,
            trees=self.n_estimators, leaf=self.min_samples_leaf, seed=self.random_state,
        )  # fmt: skip

    def _answer(self, rows: Floats, forest: Forest | None) -> Floats:
        white = self._white(rows)
        if forest is None:
            return white
        learned = forest.predict(rows)
        corrected = white * learned if self.residual == "ratio" else white + learned
        return np.where(forest.knows(rows), corrected, white)

    def _judge(self, rows: Floats, target: Floats, weights: Floats, groups: Any) -> str:
        """Why the forest is not used; empty: it helps."""
        if self.cv < 2:
            return ""
        gains: list[NDArray[np.float64]] = []
        for inner, outer in self._folds(rows, groups):
            if weights[inner].sum() <= 0:
                continue
            forest = self._grow(rows[inner], target[inner], weights[inner])
            without = np.abs(target[outer] - self._white(rows[outer]))
            gains.append(without - np.abs(target[outer] - self._answer(rows[outer], forest)))
        gain = np.concatenate(gains) if gains else np.zeros(0)
        if len(gain) < 2:
            return "too few rows to see by cross-validation whether the forest helps"
        mean, error = float(gain.mean()), float(gain.std(ddof=1)) / len(gain) ** 0.5
        if mean > error:
            return ""
        return (
            f"cross-validation: the forest lowers the mean absolute error by {mean:.3g}, "
            f"which is not more than the standard error {error:.3g}"
        )

    def _folds(self, rows: Floats, groups: Any) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        count = len(rows) if groups is None else len(np.unique(np.asarray(groups)))
        folds = min(self.cv, count)
        if folds < 2:
            return []
        if groups is not None:
            return list(GroupKFold(folds).split(rows, groups=groups))
        return list(KFold(folds, shuffle=True, random_state=self.random_state).split(rows))
