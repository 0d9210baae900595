"""What is left of a running job: known shapes, known sizes, and an allocation that changes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesprint.core.allocation import Allocation
from kubesprint.core.remaining import CostShape, Trail, remaining_time, remaining_work, scale_of, shape_of
from kubesprint.core.speedup import SpeedModel


def trail(
    size: float = 1.0, start: float = 0.5, first: float = 4.0, each: float = 1.0, tail: float = 0.5
) -> Trail:
    """Ten iterations of which the first one builds something: the way of boosting libraries."""
    steps, spent = [(0.0, size * start)], size * start
    for iteration in range(1, 11):
        spent += size * (first if iteration == 1 else each)
        steps.append((iteration / 10, spent))
    return Trail(steps=steps, total=spent + size * tail)


SHAPE = shape_of([trail(0.98), trail(1.02)])  # 14 CPU seconds: 0.5, then 4, nine times 1, 0.5


def test_a_shape_knows_the_start_the_dear_first_iteration_and_the_tail() -> None:
    assert SHAPE.work == pytest.approx(14.0)
    assert SHAPE.at(0.0) == pytest.approx(0.5 / 14)
    assert SHAPE.at(0.1) == pytest.approx(4.5 / 14)
    assert SHAPE.at(1.0) == pytest.approx(13.5 / 14)


def test_the_iteration_rate_misleads_and_the_shape_does_not() -> None:
    """After one of ten iterations: 9.5 of 14 CPU seconds are left, not nine times 4.5."""
    left = remaining_work(SHAPE, 0.1, 4.5)
    by_rate = 9 * 4.5
    assert left == pytest.approx(9.5, rel=1e-6)
    assert by_rate / left > 4.0


def test_a_change_of_allocation_changes_the_time_of_what_is_left_and_nothing_else() -> None:
    speed = SpeedModel(serial_share=0.5, work_inflation=1.2)
    slow, full, two = (remaining_time(SHAPE, speed, Allocation(c), 0.5, 8.5) for c in (0.4, 1.0, 2.0))
    assert full == pytest.approx(5.5)
    assert slow == pytest.approx(5.5 / 0.4)
    assert two == pytest.approx(5.5 * (0.5 + 0.5 * 1.2 / 2))


@pytest.mark.parametrize("size", [0.5, 1.0, 2.0])
def test_a_job_of_another_size_is_found_out_as_it_goes_on(size: float) -> None:
    errors = []
    for progress, spent in trail(size).steps[1:10]:
        truth = trail(size).total - spent
        errors.append(round(abs(remaining_work(SHAPE, progress, spent) / truth - 1.0), 9))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.12
    assert errors[0] <= abs(1.0 / size - 1.0) * 0.5 + 1e-9  # never as wrong as believing in the usual size


def test_nothing_seen_is_the_usual_size_and_a_lie_moves_it_only_so_far() -> None:
    assert scale_of(SHAPE, 0.0, 0.0) == 1.0
    assert scale_of(SHAPE, 0.0, 3.0) == 1.0
    assert scale_of(SHAPE, 0.5, 1e9) <= 5.0
    assert scale_of(SHAPE, 0.5, 1e-9) >= 0.2


@given(st.floats(0.0, 1.0), st.floats(0.0, 1e6), st.floats(0.1, 8.0))
def test_what_is_left_is_never_negative_and_shrinks_with_progress(
    progress: float, spent: float, cores: float
) -> None:
    now = remaining_time(SHAPE, SpeedModel(), Allocation(cores), progress, spent)
    assert 0.0 < now < float("inf")
    usual = SHAPE.work * SHAPE.at(progress)
    assert (
        remaining_work(SHAPE, 1.0, SHAPE.work * SHAPE.at(1.0))
        <= remaining_work(SHAPE, progress, usual) + 1e-9
    )


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        [Trail(steps=[(0.0, 0.0)], total=1.0)],
        [Trail(steps=[(0.0, 1.0), (1.0, 0.5)], total=1.0)],
        [Trail(steps=[(0.5, 0.1), (0.2, 0.5)], total=1.0)],
        [Trail(steps=[(0.0, 0.1), (1.0, 2.0)], total=1.0)],
        [Trail(steps=[(0.0, 0.0), (1.0, 0.0)], total=0.0)],
    ],
)
def test_trails_that_fall_are_refused(wrong: list[Trail]) -> None:
    with pytest.raises(ValueError, match=r"finished job|never fall"):
        shape_of(wrong)


def test_a_shape_may_be_written_by_hand() -> None:
    shape = CostShape(marks=(0.0, 1.0), spent=(0.0, 1.0), work=10.0)
    assert remaining_work(shape, 0.25, 2.5) == pytest.approx(7.5)
