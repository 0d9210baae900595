"""The small calculations inside single benchmarks."""

import importlib
import json
from pathlib import Path

import pytest
from bench.__main__ import NAMES
from bench.decision import lindley
from bench.overhead import running
from bench.simulated_policies import MIXES, Cell

from kubesprint.core.events import simulate_servers
from kubesprint.core.simulation import Present, SimJob, SprintRules


def test_the_plain_recursion_and_the_simulator_agree_where_nothing_sprints() -> None:
    jobs = [SimJob(arrival=0.7 * n, work=1.0 + 0.3 * (n % 4)) for n in range(40)]
    outcomes = simulate_servers(jobs, SprintRules(), 1, Present())
    assert lindley(jobs) == pytest.approx([o.end - j.arrival for o, j in zip(outcomes, jobs, strict=True)])


def test_running_jobs_and_changes_are_counted_within_the_window_only(tmp_path: Path) -> None:
    spans = {"a": (0.0, 6.0), "b": (5.0, 20.0), "c": (9.0, None)}  # c was running when the run was cut short
    events = [("run", "", 0.0)]
    for job, (start, end) in spans.items():
        events.append(("started", job, start))
        events += [] if end is None else [("finished", job, end)]
    lines = [json.dumps({"type": kind, "job": job, "at": at}) for kind, job, at in events]
    (tmp_path / "events.jsonl").write_text("\n".join(lines) + "\n")
    jobs, changes = running(tmp_path / "events.jsonl", 5.0, 10.0)
    assert jobs == pytest.approx((1 + 5 + 1) / 5)
    assert changes == pytest.approx(3 / 5)  # the end of a, the starts of b and c


@pytest.mark.parametrize("mix", MIXES)
def test_a_cell_has_the_load_that_it_names(mix: str) -> None:
    cell = Cell(load=0.9, mix=mix, budget="small", slots=2, jobs=20_000)
    jobs = cell.arrivals(1)
    offered = sum(job.work for job in jobs) / (2 * jobs[-1].arrival)
    assert offered == pytest.approx(0.9, rel=0.05)
    assert jobs == cell.arrivals(1)


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_that_can_be_named_can_be_loaded_and_says_what_it_measures(name: str) -> None:
    module = importlib.import_module(f"bench.{name}")
    assert module.__doc__
    assert callable(module.main)
