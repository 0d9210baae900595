"""Allocations: what is at least as fast as what, and what a sprint costs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesprint.core.allocation import Allocation

ALLOCATIONS = st.builds(Allocation, st.floats(0.1, 64.0), st.floats(0.3, 3.0))


@pytest.mark.parametrize(("cores", "clock"), [(0.0, 1.0), (-1.0, 1.0), (1.0, 0.0), (float("nan"), 1.0)])
def test_nothing_is_no_allocation(cores: float, clock: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Allocation(cores, clock)


def test_more_cores_at_a_lower_clock_are_neither_faster_nor_slower() -> None:
    wide, fast = Allocation(2.0, 0.8), Allocation(1.0, 1.2)
    assert not wide.at_least_as_fast_as(fast)
    assert not fast.at_least_as_fast_as(wide)


@given(ALLOCATIONS, ALLOCATIONS, ALLOCATIONS)
def test_at_least_as_fast_is_a_partial_order(a: Allocation, b: Allocation, c: Allocation) -> None:
    assert a.at_least_as_fast_as(a)
    if a.at_least_as_fast_as(b) and b.at_least_as_fast_as(a):
        assert a == b
    if a.at_least_as_fast_as(b) and b.at_least_as_fast_as(c):
        assert a.at_least_as_fast_as(c)


@given(ALLOCATIONS, ALLOCATIONS)
def test_what_is_at_least_as_fast_never_costs_less_than_nothing(a: Allocation, b: Allocation) -> None:
    if a.at_least_as_fast_as(b):
        assert a.cost_rate(b) >= -1e-9 * a.cores


def test_the_extra_clock_counts_for_all_the_sprinted_cores() -> None:
    assert Allocation(1.0).cost_rate(Allocation(0.4)) == pytest.approx(0.6)
    assert Allocation(4.0, 1.5).cost_rate(Allocation(2.0)) == pytest.approx(4.0)
    assert Allocation(4.0, 1.2).cost_rate(Allocation(4.0, 0.8)) == pytest.approx(2.0)
