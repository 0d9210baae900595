"""A forest as tables: the same answers as scikit-learn's, to the last bit, and nothing that is broken."""

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestRegressor

from kubesprint.core.errors import Corrupt
from kubesprint.learn.tables import Forest, forest_of

NAMES = ("a", "b", "c")


def fitted(seed: int, *, rows: int = 60, trees: int = 30, leaf: int = 1) -> tuple[RandomForestRegressor, Any]:
    dice = np.random.default_rng(seed)
    table = dice.normal(size=(rows, 3))
    table[:, 2] = dice.integers(0, 4, size=rows)
    target = np.sin(3 * table[:, 0]) + table[:, 1] * table[:, 2] + dice.normal(size=rows) * 0.1
    forest = RandomForestRegressor(n_estimators=trees, min_samples_leaf=leaf, random_state=seed)
    forest.fit(table, target, sample_weight=dice.uniform(0.1, 2.0, size=rows))
    return forest, table


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(2, 60))
def test_tables_answer_exactly_what_scikit_learn_answers(seed: int, leaf: int, rows: int) -> None:
    forest, table = fitted(seed, rows=rows, leaf=leaf)
    ours = forest_of(forest.estimators_, NAMES, table)
    asked = np.concatenate([table, np.random.default_rng(seed + 1).normal(size=(200, 3)) * 3])
    assert (ours.predict(asked) == forest.predict(asked)).all()


def test_a_value_exactly_on_a_threshold_goes_the_same_way() -> None:
    forest, table = fitted(3)
    ours = forest_of(forest.estimators_, NAMES, table)
    on = np.tile(np.median(table, axis=0), (len(ours.threshold), 1))
    for row, (feature, threshold) in enumerate(zip(ours.feature, ours.threshold, strict=True)):
        on[row, feature] = threshold
    for nudged in (on, np.nextafter(on, np.inf), np.nextafter(on, -np.inf)):
        assert (ours.predict(nudged) == forest.predict(nudged)).all()


def test_a_document_gives_back_the_same_answers_to_the_last_bit() -> None:
    forest, table = fitted(4)
    ours = forest_of(forest.estimators_, NAMES, table)
    again = Forest.of_document(json.loads(json.dumps(ours.document())))
    assert again.names == NAMES
    assert (again.predict(table) == forest.predict(table)).all()
    assert (again.low == table.min(axis=0)).all()


def test_what_lies_outside_the_training_range_is_not_known() -> None:
    forest, table = fitted(5)
    ours = forest_of(forest.estimators_, NAMES, table)
    assert ours.knows(table).all()
    for column in range(3):
        for edge, step in ((table.max(axis=0), 1e-9), (table.min(axis=0), -1e-9)):
            beyond = np.median(table, axis=0)
            beyond[column] = edge[column] + step
            assert not ours.knows([beyond])[0]


@pytest.mark.parametrize(
    "damage",
    [
        {"roots": []},
        {"roots": [-1]},
        {"left": [10**6]},
        {"feature": [9]},
        {"value": [float("nan")]},
        {"low": [0.0]},
        {"threshold": "x"},
        {"names": 3},
    ],
)
def test_damaged_tables_are_named_and_never_walked(damage: dict[str, Any]) -> None:
    forest, table = fitted(6, trees=2)
    document = forest_of(forest.estimators_, NAMES, table).document()
    for name, value in damage.items():
        if isinstance(value, list) and value and name != "low":
            document[name] = [*value, *document[name][1:]]
        else:
            document[name] = value
    with pytest.raises(Corrupt, match="forest"):
        Forest.of_document(document)


def test_a_child_before_its_parent_could_loop_for_ever_and_is_refused() -> None:
    forest, table = fitted(7, trees=1)
    document = forest_of(forest.estimators_, NAMES, table).document()
    inner = next(place for place, child in enumerate(document["left"]) if child > 0 and place > 0)
    document["left"][inner] = 0
    with pytest.raises(Corrupt, match="does not exist"):
        Forest.of_document(document)


def test_serving_imports_no_scikit_learn_and_no_pickle() -> None:
    code = (
        "import sys, kubesprint.learn.serving, kubesprint.learn.tables\n"
        "print([m for m in ('sklearn', 'joblib') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
