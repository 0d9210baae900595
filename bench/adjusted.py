"""Policies compared as if no run had drifted: analysis of covariance over all runs. Pure.

The same work needs more CPU seconds in one run than in another, for reasons that no policy has a hand in
(caches, memory, the clock, the host of a virtual machine). Near saturation the response grows by a power of
that, so dividing by the CPU seconds corrects too little. Here the power is fitted, from all runs together:

    log response = seed + policy + exponent * log CPU seconds

Policies are told apart within a seed; intervals are those of least squares (Student's t).
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from bench.ratios import REFERENCES, Run


def adjusted_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Rows as those of `ratio_rows`; none where there are too few runs to tell an exponent."""
    seeds = sorted({run.seed for run in runs})
    policies = list(dict.fromkeys(run.policy for run in runs))
    width = len(seeds) + len(policies)  # seeds, policies but the first, exponent
    freedom = len(runs) - width
    if freedom < 2 or len(policies) < 2:
        return []
    design = np.zeros((len(runs), width))
    for row, run in zip(design, runs, strict=True):
        row[seeds.index(run.seed)] = 1.0
        if place := policies.index(run.policy):
            row[len(seeds) + place - 1] = 1.0
        row[-1] = math.log(run.cpu)
    target = np.log([run.mean for run in runs])
    effects, _, rank, _ = np.linalg.lstsq(design, target, rcond=None)
    if rank < width:
        return []
    rest = target - design @ effects
    covariance = np.linalg.inv(design.T @ design) * float(rest @ rest) / freedom
    reach = float(stats.t.ppf(0.975, freedom))
    rows = []
    for reference in [name for name in REFERENCES if name in policies]:
        for policy in [name for name in policies if name != reference]:
            contrast = _effect(policies, len(seeds), width, reference) - _effect(
                policies, len(seeds), width, policy
            )
            error = math.sqrt(float(contrast @ covariance @ contrast))
            rows.append(_row(f"{reference} / {policy}", len(seeds), float(contrast @ effects), reach * error))
    return [*rows, _exponent(len(seeds), float(effects[-1]), reach * math.sqrt(float(covariance[-1, -1])))]


def _effect(policies: Sequence[str], seeds: int, width: int, policy: str) -> Any:
    """Where a policy stands in the design; the first one is what the others are told apart from."""
    unit = np.zeros(width)
    if place := policies.index(policy):
        unit[seeds + place - 1] = 1.0
    return unit


def _row(name: str, seeds: int, log_ratio: float, reach: float) -> dict[str, Any]:
    return {
        "ratio": name,
        "of": "drift-adjusted",
        "seeds": seeds,
        "centre": math.exp(log_ratio),
        "low": math.exp(log_ratio - reach),
        "high": math.exp(log_ratio + reach),
    }


def _exponent(seeds: int, exponent: float, reach: float) -> dict[str, Any]:
    return {
        "ratio": "response ~ CPU seconds ^",
        "of": "exponent",
        "seeds": seeds,
        "centre": exponent,
        "low": exponent - reach,
        "high": exponent + reach,
    }
