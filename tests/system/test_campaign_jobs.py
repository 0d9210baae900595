"""The campaign's training jobs as real processes: they train, they repeat, and two threads are two."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bench.campaign_jobs import KINDS

pytest.importorskip("sklearn", reason="the campaign's jobs train with scikit-learn")

ROOT = Path(__file__).resolve().parents[2]
GUESS = {"factors": 0.0, "components": 0.3}  # a score that needs no training; else a tenth, or a half


def train(kind: str, *options: str) -> tuple[dict[str, object], int]:
    """The line that the job prints, and the most threads it was seen to have."""
    words = [sys.executable, "-m", "bench.campaign_jobs", kind, *options]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, text=True
    ) as process:
        tasks, most = Path(f"/proc/{process.pid}/task"), 1
        while process.poll() is None:
            most = max(most, len(list(tasks.glob("*"))))
            time.sleep(0.0005)
        assert process.stdout is not None
        assert process.stderr is not None
        out, errors = process.stdout.read(), process.stderr.read()
    assert errors == ""
    assert process.returncode == 0
    (line,) = out.splitlines()
    return dict(json.loads(line)), most


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_job_of_one_thread_has_one_and_the_same_arguments_give_the_same_score(kind: str) -> None:
    first, threads = train(kind, "--seed", "3", "--scale", "0.3")
    again, _ = train(kind, "--seed", "3", "--scale", "0.3")
    assert threads == 1
    assert first == again
    assert set(first) == {"kind", "seed", "score"}
    score = first["score"]
    assert isinstance(score, float)
    assert max(0.3, GUESS.get(kind, 0.5 if kind == "boosting" else 0.1)) < score <= 1.0


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_job_of_two_threads_has_two_and_learns_as_much(kind: str) -> None:
    one, _ = train(kind, "--seed", "3", "--scale", "0.3")
    two, threads = train(kind, "--seed", "3", "--scale", "0.3", "--threads", "2")
    if kind == "logistic":
        assert threads == 1  # one step after another: the kind without anything parallel
    else:
        assert threads >= 2
    assert two["score"] == pytest.approx(one["score"], abs=0.02)


def test_a_kind_that_is_none_is_refused_by_name() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.campaign_jobs", "nonsense"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 2
    assert "nonsense" in done.stderr
