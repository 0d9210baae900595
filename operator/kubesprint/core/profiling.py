"""A profile is a run of its own: each kind at base and at sprint, interleaved, and what that says of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kubesprint.core.allocation import Allocation
from kubesprint.core.forecast import Estimate
from kubesprint.core.policy import JobTrigger, Trigger
from kubesprint.core.reasons import Reason
from kubesprint.core.records import JobRecord
from kubesprint.core.simulation import TriggerClock
from kubesprint.core.spec import JobSpec, ProfileFit, ProfilePoint, ProfileSpec
from kubesprint.core.speedup import Measured, fit
from kubesprint.core.units import FOREVER, CoreSeconds, Seconds
from kubesprint.core.view import View

BASE, SPRINT = "base", "sprint"


def profile_jobs(jobs: Sequence[JobSpec], runs: int) -> list[JobSpec]:
    """`runs` rounds of every kind at base and at sprint, neighbours in time so that drift hits both alike.

    The order within a pair alternates, and each round takes another job of the kind if there are several.
    """
    by_kind: dict[str, list[JobSpec]] = {}
    for job in jobs:
        by_kind.setdefault(job.kind, []).append(job)
    result = []
    for number in range(runs):
        for kind, several in by_kind.items():
            job = several[number % len(several)]
            order = (BASE, SPRINT) if number % 2 == 0 else (SPRINT, BASE)
            result += [
                replace(job, name=f"{kind}-{number}-{level}", arrival=Seconds(0.0), deadline=None)
                for level in order
            ]
    return result


@dataclass(frozen=True, slots=True)
class ProfileTriggers:
    """The strategy of a profile run: its sprint jobs sprint from start to end, the others never."""

    def choose(self, view: View, estimates: Mapping[str, Estimate], *, hurry: bool) -> Trigger:
        """A trigger of its own for every running job."""
        sentence = "A profile run measures each kind at both speeds."
        own = {
            job.name: JobTrigger(
                at=view.now if job.name.endswith(SPRINT) else FOREVER,
                reason=Reason.TRIGGER_REACHED if job.name.endswith(SPRINT) else Reason.NEVER,
                sentence=sentence,
            )
            for job in view.running()
        }
        return Trigger(
            after=FOREVER,
            clock=TriggerClock.ARRIVAL,
            needs_trust=False,
            basis="Profile",
            sentence=sentence,
            own=own,
        )


def profiles_from(
    records: Sequence[JobRecord], base: Allocation, sprint: Allocation, sprint_clock: str = "Base"
) -> tuple[list[ProfileSpec], list[str]]:
    """What a profile run measured, a profile a kind, and the kinds that could not be measured.

    Only jobs that ended well count; a kind needs at least one at each speed.

    Args:
        records: of the run.
        base: what jobs had.
        sprint: what they had while they sprinted.
        sprint_clock: the clock of `sprint` as a policy spells it.
    """
    profiles, missing = [], []
    for kind in dict.fromkeys(record.kind for record in records):
        good = [r for r in records if r.kind == kind and r.exit == 0 and r.start is not None]
        slow = [r for r in good if r.name.endswith(BASE)]
        fast = [r for r in good if r.name.endswith(SPRINT)]
        if slow and fast:
            profiles.append(_profile(kind, (slow, fast), (base, sprint), sprint_clock))
        else:
            missing.append(kind)
    return profiles, missing


def _profile(
    kind: str,
    records: tuple[Sequence[JobRecord], Sequence[JobRecord]],
    speeds: tuple[Allocation, Allocation],
    sprint_clock: str,
) -> ProfileSpec:
    slow, fast = records
    base, sprint = speeds
    points = (_point(slow, base), _point(fast, sprint, sprint_clock))
    fitted = fit(
        [
            Measured(allocation=allocation, wall=point.wall, cpu=CoreSeconds(point.cpu_time), runs=point.runs)
            for allocation, point in zip(speeds, points, strict=True)
        ]
    )
    cpus = [float(record.cpu or 0.0) for record in slow]
    return ProfileSpec(
        workload=kind,
        points=points,
        fit=ProfileFit(
            samples=len(slow) + len(fast),
            cpu_time=Seconds(_mean(cpus)),
            dispersion=_variation(cpus) if len(cpus) > 1 else None,
            serial_share=fitted.model.serial_share if "serial_share" in fitted.fitted else None,
            work_inflation=fitted.model.work_inflation if "work_inflation" in fitted.fitted else None,
            # Up to one core the clock is all that can explain a speed beyond the quota's.
            compute_share=fitted.model.compute_share
            if "compute_share" in fitted.fitted and sprint.cores <= 1
            else None,
            basis="WhiteBox",
            valid_cores=(base.cores, sprint.cores),
        ),
    )


def _point(records: Sequence[JobRecord], allocation: Allocation, clock: str = "Base") -> ProfilePoint:
    walls = [float(r.end - r.start) for r in records if r.end is not None and r.start is not None]
    return ProfilePoint(
        cores=allocation.cores,
        clock=clock,
        runs=len(walls),
        wall=Seconds(_mean(walls)),
        cpu_time=Seconds(_mean([float(r.cpu or 0.0) for r in records])),
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _variation(values: Sequence[float]) -> float:
    mean = _mean(values)
    spread = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))
    return spread / mean if mean > 0 else 0.0
