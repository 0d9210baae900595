"""Speed from first principles, and its fit from measured points."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesprint.core.allocation import Allocation
from kubesprint.core.speedup import Measured, SpeedModel, fit


def measured(
    model: SpeedModel, cores: float, work: float = 2.0, clock: float = 1.0, noise: float = 1.0
) -> Measured:
    """What a job of this kind would show."""
    wall = work * model.time(Allocation(cores, clock)) * noise
    inflated = model.serial_share + (1 - model.serial_share) * model.work_inflation
    return Measured(
        allocation=Allocation(cores, clock), wall=wall, cpu=work * noise * (inflated if cores > 1 else 1.0)
    )


def test_throttling_is_the_ratio_of_the_quotas() -> None:
    for model in (SpeedModel(), SpeedModel(serial_share=0.3, work_inflation=1.4)):
        assert model.speedup(Allocation(0.4), Allocation(1.0)) == pytest.approx(2.5)


def test_a_serial_job_gains_nothing_from_a_second_core() -> None:
    assert SpeedModel().speedup(Allocation(1.0), Allocation(8.0)) == 1.0


def test_amdahl_with_inflation() -> None:
    assert SpeedModel(serial_share=0.25).speed(Allocation(3.0)) == pytest.approx(2.0)
    assert SpeedModel(serial_share=0.25, work_inflation=1.2).speed(Allocation(3.0)) == pytest.approx(1 / 0.55)


def test_inflation_can_make_two_cores_slower_than_one() -> None:
    assert SpeedModel(serial_share=0.5, work_inflation=3.0).speedup(Allocation(1.0), Allocation(2.0)) < 1.0


def test_cores_beyond_the_usable_ones_are_of_no_use() -> None:
    model = SpeedModel(serial_share=0.0, usable_cores=2.0)
    assert model.speed(Allocation(16.0)) == model.speed(Allocation(2.0)) == 2.0


def test_the_clock_speeds_up_its_share_only() -> None:
    assert SpeedModel(compute_share=1.0).speed(Allocation(1.0, 1.5)) == pytest.approx(1.5)
    assert SpeedModel(compute_share=0.5).speed(Allocation(1.0, 2.0)) == pytest.approx(1 / 0.75)
    assert SpeedModel(compute_share=0.0).speed(Allocation(1.0, 2.0)) == 1.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"serial_share": 1.1},
        {"serial_share": float("nan")},
        {"compute_share": -0.1},
        {"work_inflation": 0.9},
        {"usable_cores": 0.5},
    ],
)
def test_impossible_models_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"from 0 to 1|1 or more"):
        SpeedModel(**wrong)


@given(st.floats(0.0, 0.95), st.floats(1.0, 1.5), st.floats(0.0, 1.0), st.floats(0.5, 9.0))
def test_a_fit_finds_the_model_that_made_the_points(
    serial: float, inflation: float, compute: float, work: float
) -> None:
    model = SpeedModel(serial_share=serial, work_inflation=inflation, compute_share=compute)
    points = [measured(model, cores, work) for cores in (0.4, 1.0, 2.0, 4.0)]
    points += [measured(model, 1.0, work, clock=1.5)]
    found = fit(points)
    assert found.work == pytest.approx(work)
    assert found.model.serial_share == pytest.approx(serial, abs=1e-6)
    assert found.model.work_inflation == pytest.approx(inflation, abs=1e-4)
    assert found.model.compute_share == pytest.approx(compute, abs=1e-6)
    assert found.fitted == {"serial_share", "work_inflation", "compute_share"}


def test_points_at_one_core_claim_no_parallelism() -> None:
    found = fit([measured(SpeedModel(serial_share=0.2), 0.4), measured(SpeedModel(serial_share=0.2), 1.0)])
    assert (found.model, found.fitted) == (SpeedModel(), frozenset())
    assert found.standard_errors == {}


def test_points_above_one_core_give_the_serial_share_alone() -> None:
    found = fit([measured(SpeedModel(serial_share=0.3), 2.0)])
    assert found.model.serial_share == pytest.approx(0.3)
    assert found.fitted == {"serial_share"}
    assert found.standard_errors == {}


def test_work_that_shrinks_on_two_cores_is_no_inflation_below_one() -> None:
    one, two = measured(SpeedModel(), 1.0), measured(SpeedModel(serial_share=0.4), 2.0, noise=0.9)
    found = fit([one, two])
    assert found.model.work_inflation == 1.0
    assert 0.0 <= found.model.serial_share <= 1.0


def test_standard_errors_grow_with_the_noise_and_cover_the_truth() -> None:
    model = SpeedModel(serial_share=0.4, work_inflation=1.2)
    quiet, loud = (
        fit([measured(model, c, noise=1 + s * n) for c, s in
             [(1.0, 1), (1.0, -1), (2.0, 1), (2.0, -1), (3.0, 1), (3.0, -1)]])
        for n in (0.01, 0.05)
    )  # fmt: skip
    for name in ("serial_share", "work_inflation"):
        assert 0 < quiet.standard_errors[name] < loud.standard_errors[name]
    error = abs(loud.model.serial_share - 0.4)
    assert error < 3 * loud.standard_errors["serial_share"]


def test_not_knowing_the_work_is_not_knowing_the_rest() -> None:
    """Perfect points above one core do not make up for noisy ones at one core."""
    model = SpeedModel(serial_share=0.4, work_inflation=1.3)
    points = [measured(model, 1.0, noise=n) for n in (0.96, 1.04)] + [measured(model, c) for c in (2.0, 3.0)]
    errors = fit(points).standard_errors
    assert errors["serial_share"] == pytest.approx(0.4 * 0.04)  # the spread of two, over the root of two
    assert errors["work_inflation"] == pytest.approx(1.3 / 0.6 * 0.04)


@pytest.mark.parametrize("points", [[], [Measured(allocation=Allocation(1.0), wall=0.0, cpu=1.0)]])
def test_a_fit_without_usable_points_is_refused(points: list[Measured]) -> None:
    with pytest.raises(ValueError, match="at least one point"):
        fit(points)


def test_a_quota_above_the_threads_of_a_job_is_seen_as_its_threads() -> None:
    """Two threads measured on four cores are two threads on two: the same fit, and no gain from more."""
    model = SpeedModel(serial_share=0.3, work_inflation=1.1, usable_cores=2.0)
    found = fit([measured(model, 1.0), measured(model, 4.0)], usable_cores=2.0)
    assert found.model.serial_share == pytest.approx(0.3)
    assert found.model.work_inflation == pytest.approx(1.1)
    assert found.model.speedup(Allocation(2.0), Allocation(8.0)) == 1.0
    one = fit([measured(SpeedModel(usable_cores=1.0), cores) for cores in (0.4, 2.0)], usable_cores=1.0)
    assert one.model.speedup(Allocation(0.4), Allocation(2.0)) == pytest.approx(2.5)


def test_single_runs_at_each_allocation_give_standard_errors() -> None:
    """Three runs at either of two allocations are enough."""
    model = SpeedModel(serial_share=0.4, work_inflation=1.2)
    runs = [measured(model, cores, noise=1 + n) for cores in (1.0, 2.0) for n in (-0.03, 0.0, 0.03)]
    found = fit(runs)
    assert found.model.serial_share == pytest.approx(0.4, abs=0.05)
    assert 0 < found.standard_errors["serial_share"] < 0.2
    assert 0 < found.standard_errors["work_inflation"] < 0.3
