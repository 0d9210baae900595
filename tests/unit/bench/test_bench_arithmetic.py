"""The policy benchmark reports what its folder holds, and counts a run only when it is complete."""

import json
from pathlib import Path

import pytest
from bench import policies

HEAD = "name,exit,arrival_seconds,end_seconds,cpu_seconds,sprint_seconds\n"


def keep_run(folder: Path, policy: str, seed: int, response: float, *, whole: bool = True) -> None:
    run = folder / "runs" / f"seed-{seed}" / policy
    run.mkdir(parents=True)
    (run / "jobs.csv").write_text(f"{HEAD}a,0,1.0,{1.0 + response},2.0,0.5\nb,1,1.0,9.0,2.0,\n")
    if whole:
        (run / "foreign.json").write_text('{"cores": 0.25}')


def keep_plan(folder: Path) -> None:
    (folder / "shape.json").write_text('{"jobs": 2}')
    (folder / "timeout.json").write_text('{"timeout_seconds": 3.0, "curve": []}')


def test_only_complete_runs_count_in_the_order_of_the_policies_and_seeds(tmp_path: Path) -> None:
    keep_run(tmp_path, "model-driven", 1, 2.0)
    keep_run(tmp_path, "always", 10, 4.0)
    keep_run(tmp_path, "always", 2, 5.0)
    keep_run(tmp_path, "never", 1, 6.0, whole=False)
    found = policies.runs_below(tmp_path)
    assert [(run.policy, run.seed) for run in found] == [("always", 2), ("always", 10), ("model-driven", 1)]
    assert (found[0].mean, found[0].failed, found[0].cpu, found[0].sprint) == (5.0, 1, 4.0, 0.5)


def test_a_report_needs_no_run_and_pairs_what_was_measured_before_an_interruption(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep_plan(tmp_path)
    keep_run(tmp_path, "always", 1, 4.0)
    keep_run(tmp_path, "model-driven", 1, 2.0)
    keep_run(tmp_path, "always", 2, 4.0)  # its partner was cut short
    policies.main(["--report-only", "--out", str(tmp_path)])
    summary = json.loads((tmp_path / "summary.json").read_text())
    ratio = next(r for r in summary["ratios"] if (r["ratio"], r["of"]) == ("always / model-driven", "raw"))
    assert (ratio["centre"], ratio["seeds"]) == (pytest.approx(2.0), 1)
    assert summary["seeds"]["runs"] == [1, 2]
    assert "always / model-driven" in capsys.readouterr().out


@pytest.mark.parametrize("made", [True, False])
def test_a_report_of_nothing_is_refused(
    made: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path if made else tmp_path / "absent"
    with pytest.raises(SystemExit) as refused:
        policies.main(["--report-only", "--out", str(folder)])
    assert refused.value.code == 2
    assert str(folder) in capsys.readouterr().err
