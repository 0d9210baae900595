"""The exponent of drift is found, and taken out of the comparison."""

import math
import random

import pytest
from bench.adjusted import adjusted_rows
from bench.ratios import Run

TRUE = {"always": 1.0, "never": 1.5, "model-driven": 0.8}  # response over that of always, without drift


def runs(noise: float, exponent: float = 2.5, seeds: int = 6, of: int = 7) -> list[Run]:
    """Every run drifts by its own factor; the seeds differ in how hard they are."""
    dice = random.Random(of)
    made = []
    for seed in range(seeds):
        hard = dice.uniform(3.0, 9.0)
        for policy, factor in TRUE.items():
            drift = dice.uniform(1.0, 1.5)
            mean = hard * factor * drift**exponent * math.exp(dice.gauss(0.0, noise))
            made.append(
                Run(policy=policy, seed=seed, responses={"a": mean}, failed=0, cpu=40.0 * drift, sprint=0.0)
            )
    return made


def centres(made: list[Run]) -> dict[str, float]:
    return {row["ratio"]: row["centre"] for row in adjusted_rows(made)}


def test_without_noise_the_ratios_are_the_true_ones_whatever_drifted() -> None:
    found = centres(runs(noise=0.0))
    assert found["always / model-driven"] == pytest.approx(1.0 / 0.8)
    assert found["never / model-driven"] == pytest.approx(1.5 / 0.8)
    assert found["response ~ CPU seconds ^"] == pytest.approx(2.5)


def test_with_noise_the_truth_is_within_the_interval_as_often_as_it_says() -> None:
    within = []
    for of in range(200):
        row = {row["ratio"]: row for row in adjusted_rows(runs(noise=0.1, of=of))}["always / model-driven"]
        within.append(row["low"] < 1.0 / 0.8 < row["high"])
    assert 0.90 <= sum(within) / len(within) <= 0.99  # 0.95, give or take three standard errors


def test_too_few_runs_to_tell_an_exponent_give_no_row() -> None:
    assert adjusted_rows(runs(noise=0.0, seeds=1)) == []
