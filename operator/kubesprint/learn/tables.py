"""A forest as plain tables: what serves a learned residual without the library that fitted it.

The answer is the same, to the last bit, as that of the scikit-learn forest it was taken from: inputs
are rounded to single precision, trees are walked with `<=`, and their answers are added in order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kubesprint.core.errors import Corrupt

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

LEAF = -1
"""In place of a child: there is none."""

_NUMBERS = ("threshold", "value", "low", "high")
_PLACES = ("roots", "feature", "left", "right")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forest:
    """All nodes of all trees, one after another; a child is the place of a node, or `LEAF`."""

    names: tuple[str, ...]  # of the features, in the order of the columns
    roots: Integers  # one a tree
    feature: Integers  # one a node: the column that it asks about; 0 in a leaf
    threshold: Floats  # go left if the column holds at most this
    left: Integers
    right: Integers
    value: Floats  # what a leaf answers
    low: Floats  # one a feature: the smallest that was seen in training
    high: Floats

    def predict(self, rows: ArrayLike) -> Floats:
        """The mean answer of the trees, one a row of features."""
        # single precision, as the trees were grown
        table = np.asarray(rows, dtype=np.float64).astype(np.float32)
        columns = np.arange(len(table))
        place = np.repeat(self.roots[:, None], len(table), axis=1)
        while True:
            inner = np.asarray(self.left[place] != LEAF)
            if not inner.any():
                break
            smaller = table[columns, self.feature[place]] <= self.threshold[place]
            place = np.where(inner, np.where(smaller, self.left[place], self.right[place]), place)
        total = np.zeros(len(table), dtype=np.float64)
        for answers in self.value[place]:  # one after another: a sum in another order is another number
            total += answers
        return total / len(self.roots)

    def knows(self, rows: ArrayLike) -> NDArray[np.bool_]:
        """Whether each row lies within what was seen in training, feature by feature."""
        table = np.asarray(rows, dtype=np.float64)
        inside = np.asarray((table >= self.low) & (table <= self.high), dtype=np.bool_)
        return np.asarray(inside.all(axis=1), dtype=np.bool_)

    def document(self) -> dict[str, Any]:
        """As JSON values; numbers come back exactly as they are."""
        return {"names": list(self.names)} | {
            name: getattr(self, name).tolist() for name in _PLACES + _NUMBERS
        }

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> "Forest":
        """What `document` wrote. Raises `Corrupt` if the tables do not fit together."""
        try:
            columns: dict[str, Any] = {name: np.array(document[name], dtype=np.int64) for name in _PLACES}
            columns |= {name: np.array(document[name], dtype=np.float64) for name in _NUMBERS}
            forest = cls(names=tuple(str(name) for name in document["names"]), **columns)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise Corrupt(f"the tables of the forest cannot be read: {error}") from error
        forest._check()
        return forest

    def _check(self) -> None:
        """Every walk ends in a leaf: children come after their parents, and features exist."""
        nodes, features = len(self.feature), len(self.names)
        per_node = (self.threshold, self.left, self.right, self.value)
        if len(self.roots) == 0 or any(len(table) != nodes for table in per_node):
            raise Corrupt("the tables of the forest have different lengths, or no tree")
        if len(self.low) != features or len(self.high) != features:
            raise Corrupt("the tables of the forest have no range for some feature")
        numbers = np.arange(nodes)
        leaf = (self.left == LEAF) & (self.right == LEAF)
        inner = (self.left > numbers) & (self.right > numbers) & (self.left < nodes) & (self.right < nodes)
        known = (self.feature >= 0) & (self.feature < features)
        if not (leaf | inner).all() or not known.all() or not np.isfinite(self.value).all():
            raise Corrupt("the tables of the forest name a node or a feature that does not exist")
        if (self.roots < 0).any() or (self.roots >= nodes).any():
            raise Corrupt("the tables of the forest start a tree at a node that does not exist")


def forest_of(trees: Sequence[Any], names: Sequence[str], rows: Floats) -> Forest:
    """The tables of fitted scikit-learn trees.

    Args:
        trees: `forest.estimators_` of a regression forest with one output.
        names: of the features.
        rows: what it was fitted to, for the range in which it may be used.
    """
    roots, parts = [], []
    offset = 0
    for estimator in trees:
        tree = estimator.tree_
        leaf = tree.children_left == LEAF
        parts.append(
            (
                np.where(leaf, 0, tree.feature),
                np.where(leaf, 0.0, tree.threshold),
                np.where(leaf, LEAF, tree.children_left + offset),
                np.where(leaf, LEAF, tree.children_right + offset),
                tree.value[:, 0, 0],
            )
        )
        roots.append(offset)
        offset += tree.node_count
    feature, threshold, left, right, value = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return Forest(
        names=tuple(names),
        roots=np.array(roots, dtype=np.int64),
        feature=feature.astype(np.int64),
        threshold=threshold.astype(np.float64),
        left=left.astype(np.int64),
        right=right.astype(np.int64),
        value=value.astype(np.float64),
        low=rows.min(axis=0),
        high=rows.max(axis=0),
    )
