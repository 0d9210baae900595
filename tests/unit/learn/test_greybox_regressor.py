"""The estimator contract of scikit-learn, and what is kept of the white box."""

from typing import Any

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from kubesprint.learn.regressor import GreyBoxRegressor

EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": (
        "trees are grown on rows drawn at random: a row of weight 2 is not two rows to the dice"
    ),
}
"""As for scikit-learn's own forests."""


@parametrize_with_checks(
    [GreyBoxRegressor(n_estimators=10), GreyBoxRegressor(n_estimators=10, cv=0)],
    expected_failed_checks=lambda _: EXPECTED_FAILURES,
)
def test_the_estimator_contract(estimator: Any, check: Any) -> None:
    check(estimator)


def line(rows: Any) -> Any:
    return 3.0 + 2.0 * np.asarray(rows)[:, 0]


def data(seed: int, missed: float) -> tuple[Any, Any]:
    dice = np.random.default_rng(seed)
    rows = dice.uniform(0.0, 1.0, size=(120, 2))
    return rows, line(rows) + missed * np.sin(6.0 * rows[:, 1]) + 0.05 * dice.normal(size=120)


def test_a_forest_that_helps_is_kept_and_one_that_does_not_is_dropped_with_its_reason() -> None:
    rows, target = data(1, missed=1.0)
    helped = GreyBoxRegressor(line).fit(rows, target)
    assert helped.forest_ is not None
    assert not helped.reason_
    rows, target = data(2, missed=0.0)
    plain = GreyBoxRegressor(line).fit(rows, target)
    assert plain.forest_ is None
    assert "cross-validation" in plain.reason_
    assert (plain.predict(rows) == line(rows)).all()


def test_outside_the_training_range_the_white_box_answers_alone() -> None:
    rows, target = data(3, missed=1.0)
    model = GreyBoxRegressor(line).fit(rows, target)
    beyond = np.array([[0.5, 1.5], [-0.2, 0.5]])
    assert (model.predict(beyond) == line(beyond)).all()
    assert not (model.predict(rows) == line(rows)).any()


def test_a_ratio_needs_numbers_above_zero() -> None:
    rows, target = data(4, missed=0.5)
    ratio = GreyBoxRegressor(line, residual="ratio", cv=0).fit(rows, target)
    assert np.abs(ratio.predict(rows) - target).mean() < np.abs(line(rows) - target).mean()
    with pytest.raises(ValueError, match="above 0"):
        GreyBoxRegressor(line, residual="ratio", cv=0).fit(rows, -target)
    with pytest.raises(ValueError, match="not 'product'"):
        GreyBoxRegressor(line, residual="product").fit(rows, target)


def test_rows_of_one_group_are_left_out_together() -> None:
    """A residual that is only a property of the run must not be learned from the run's other rows."""
    dice = np.random.default_rng(5)
    groups = np.repeat(np.arange(12), 10)
    rows = np.column_stack([dice.uniform(size=120), groups + dice.uniform(0, 0.1, size=120)])
    target = line(rows) + dice.normal(size=12)[groups]
    assert GreyBoxRegressor(line).fit(rows, target).forest_ is not None
    assert GreyBoxRegressor(line).fit(rows, target, groups=groups).forest_ is None
