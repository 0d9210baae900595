"""The arithmetic under the benchmark tables."""

import pytest
from bench import stats


def test_a_ratio_and_its_inverse_average_to_one() -> None:
    assert stats.geometric_mean([2.0, 0.5]) == pytest.approx(1.0)


def test_ratios_are_above_one_where_the_policy_is_faster_and_pairs_are_never_dropped() -> None:
    assert stats.paired_ratios([10.0, 3.0], [5.0, 6.0]) == [2.0, 0.5]
    with pytest.raises(ValueError, match="zip"):
        stats.paired_ratios([1.0, 2.0], [1.0])


def test_an_interval_holds_its_centre_and_repeats_with_its_seed() -> None:
    ratios = [0.9, 1.1, 1.3, 1.2, 1.0]
    interval = stats.bootstrap(ratios, seed=3)
    assert min(ratios) <= interval.low < interval.centre < interval.high <= max(ratios)
    assert interval == stats.bootstrap(ratios, seed=3)


def test_equal_ratios_leave_no_doubt() -> None:
    interval = stats.bootstrap([1.25] * 5)
    assert (interval.low, interval.high) == (pytest.approx(1.25), pytest.approx(1.25))


def test_quantiles_interpolate_and_the_spread_resists_an_outlier() -> None:
    assert stats.quantile([1.0, 2.0, 4.0], 0.75) == 3.0
    row = stats.spread([1.0, 2.0, 3.0, 100.0, 2.0])
    assert (row.median, row.mad, row.count) == (2.0, 1.0, 5)


def test_a_run_that_drew_more_cpu_than_expected_is_credited_for_it() -> None:
    assert stats.normalised(11.0, cpu=55.0, expected_cpu=50.0) == pytest.approx(10.0)
