"""Policies compared in pairs: the same arrivals, job by job and seed by seed. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.stats import bootstrap, geometric_mean, normalised, paired_ratios, spread

REFERENCES = ("always", "never")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One policy on one seed: response seconds by name of the jobs that succeeded, and the totals."""

    policy: str
    seed: int
    responses: Mapping[str, float]
    failed: int
    cpu: float
    sprint: float
    foreign: float = 0.0  # cores that others kept busy meanwhile

    @property
    def mean(self) -> float:
        """Mean response of the jobs that succeeded."""
        return math.fsum(self.responses.values()) / len(self.responses)


def policy_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """One row a policy: the spread of all its jobs' responses, and what the runs used in the mean."""
    rows = []
    for policy in dict.fromkeys(run.policy for run in runs):
        own = [run for run in runs if run.policy == policy]
        s = spread([value for run in own for value in run.responses.values()])
        rows.append(
            {
                "policy": policy,
                "seeds": len(own),
                "jobs": s.count,
                "failed": sum(run.failed for run in own),
                "mean s": s.mean,
                "median s": s.median,
                "p95 s": s.p95,
                "p99 s": s.p99,
                "mad s": s.mad,
                "sprint s": math.fsum(run.sprint for run in own) / len(own),
                "cpu s": math.fsum(run.cpu for run in own) / len(own),
                "foreign cores": math.fsum(run.foreign for run in own) / len(own),
            }
        )
    return rows


def seed_ratios(reference: Run, other: Run, expected_cpu: float) -> dict[str, float]:
    """reference / other of one seed, above 1 where `other` is faster, over the jobs that both finished."""
    names = sorted(reference.responses.keys() & other.responses.keys())
    pairs = [[run.responses[name] for name in names] for run in (reference, other)]
    means = [math.fsum(values) / len(values) for values in pairs]
    levelled = [
        normalised(mean, run.cpu, expected_cpu) for mean, run in zip(means, (reference, other), strict=True)
    ]
    return {
        "raw": means[0] / means[1],
        "cpu-normalised": levelled[0] / levelled[1],
        "per job": geometric_mean(paired_ratios(*pairs)),
    }


def ratio_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """For each policy and reference: geometric means over seeds and their 95 % bootstrap intervals.

    The CPU seconds expected of a seed are the mean over its runs: all runs of a seed do the same work.
    """
    found = {(run.policy, run.seed): run for run in runs}
    seeds = sorted({run.seed for run in runs})
    cpu = {seed: geometric_mean([run.cpu for run in runs if run.seed == seed]) for seed in seeds}
    rows = []
    for reference in REFERENCES:
        for policy in dict.fromkeys(run.policy for run in runs if run.policy != reference):
            both = [s for s in seeds if (reference, s) in found and (policy, s) in found]
            each = [seed_ratios(found[reference, s], found[policy, s], cpu[s]) for s in both]
            for kind in each[0] if each else ():
                interval = bootstrap([ratios[kind] for ratios in each])
                rows.append(
                    {
                        "ratio": f"{reference} / {policy}",
                        "of": kind,
                        "seeds": len(both),
                        "centre": interval.centre,
                        "low": interval.low,
                        "high": interval.high,
                        "least": min(ratios[kind] for ratios in each),
                        "most": max(ratios[kind] for ratios in each),
                    }
                )
    return rows
