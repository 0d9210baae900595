"""Policies compared in pairs: what the ratios mean."""

import os

import pytest
from bench.ratios import Run, policy_rows, ratio_rows
from bench.real import busy_seconds


def run(policy: str, seed: int, *responses: float, cpu: float = 10.0, failed: int = 0) -> Run:
    named = {f"j{n}": value for n, value in enumerate(responses)}
    return Run(policy=policy, seed=seed, responses=named, failed=failed, cpu=cpu, sprint=1.0)


def centre(rows: list[dict[str, object]], ratio: str, of: str) -> object:
    return next(row["centre"] for row in rows if (row["ratio"], row["of"]) == (ratio, of))


def test_a_policy_twice_as_fast_as_always_has_the_ratio_two() -> None:
    rows = ratio_rows([run("always", 1, 4.0, 8.0), run("new", 1, 2.0, 4.0)])
    assert centre(rows, "always / new", "raw") == pytest.approx(2.0)
    assert centre(rows, "always / new", "per job") == pytest.approx(2.0)


def test_a_machine_that_was_slow_for_one_run_is_taken_out_of_the_normalised_ratio_only() -> None:
    rows = ratio_rows([run("always", 1, 6.0, cpu=20.0), run("new", 1, 3.0, cpu=10.0)])
    assert centre(rows, "always / new", "raw") == pytest.approx(2.0)
    assert centre(rows, "always / new", "cpu-normalised") == pytest.approx(1.0)


def test_only_jobs_that_both_finished_are_compared_and_failures_are_counted() -> None:
    runs = [run("always", 1, 4.0, 100.0), run("new", 1, 2.0, failed=1)]
    assert centre(ratio_rows(runs), "always / new", "raw") == pytest.approx(2.0)
    assert [row["failed"] for row in policy_rows(runs)] == [0, 1]


def test_seeds_are_paired_with_themselves_whatever_the_order() -> None:
    runs = [run("always", 1, 2.0), run("always", 2, 9.0), run("new", 2, 3.0), run("new", 1, 2.0)]
    row = next(r for r in ratio_rows(runs) if r["ratio"] == "always / new" and r["of"] == "raw")
    assert (row["least"], row["most"], row["seeds"]) == (pytest.approx(1.0), pytest.approx(3.0), 2)


def test_busy_time_leaves_out_idle_and_waiting_for_disks() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    user, idle, wait, stolen = 3 * ticks, 50 * ticks, 7 * ticks, 2 * ticks
    assert busy_seconds(f"cpu  {user} 0 0 {idle} {wait} 0 0 {stolen} 0 0\ncpu0 1 1\n") == pytest.approx(5.0)
