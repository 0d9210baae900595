"""The demo's training jobs as real processes: they train, they repeat, a quick start changes no score."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from kubesprint.apps.demo.train import KINDS

pytest.importorskip("sklearn", reason="the demo's jobs train with scikit-learn")


def train(kind: str, *options: str, **environment: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "kubesprint.apps.demo.train", kind, "--scale", "0.15", *options],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (line,) = done.stdout.splitlines()
    return dict(json.loads(line))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_job_prints_one_line_and_its_score_depends_on_nothing_but_kind_seed_and_scale(kind: str) -> None:
    first = train(kind, "--seed", "3")
    again = train(kind, "--seed", "3")
    plain = train(kind, "--seed", "3", "--plain-imports")
    assert set(first) == {"kind", "seed", "score", "fit_seconds"}
    assert (first["kind"], first["seed"]) == (kind, 3)
    assert 0.5 < first["score"] <= 1.0  # it has learnt: a guess is right in a tenth, or in half
    assert first["fit_seconds"] > 0
    assert again["score"] == first["score"]
    assert plain["score"] == first["score"]  # late packages change no result


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_job_that_may_use_two_cores_still_trains(kind: str) -> None:
    assert train(kind, "--seed", "5", OMP_NUM_THREADS="2")["score"] > 0.5


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["nonsense"], "nonsense"),
        (["svm", "--scale", "0"], "--scale"),
        (["svm", "--threads", "0"], "--threads"),
    ],
)
def test_what_cannot_be_trained_is_refused_by_name(arguments: list[str], named: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kubesprint.apps.demo.train", *arguments], capture_output=True, text=True
    )
    assert done.returncode != 0
    assert named in done.stderr
    assert done.stdout == ""
