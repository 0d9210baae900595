"""The white box: work, speed, drift and dead time of every kind and mechanism, measured and no more."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kubesprint.core.dataset import Dataset, Mechanism
from kubesprint.learn.observations import Seen, dead_time, see
from kubesprint.learn.speeds import KindSpeed, fit_everywhere, read_speed, speed_from_principles, usable
from kubesprint.learn.work import KindWork, fit_work

UNKNOWN_SPREAD = 0.3
"""Standard deviation of the logarithm of the work of a kind that was not seen."""

PRIOR_WORK = 1.0
"""CPU seconds of a job where no job of any kind was seen: a guess that is never trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind under one mechanism."""

    work: KindWork
    speed: KindSpeed

    @property
    def speedup(self) -> float:
        """How many times faster a job runs in a sprint, at least 1."""
        return max(1.0, self.speed.speedup(self.work.inflation))

    @property
    def guessed(self) -> str:
        """What is not from this kind under this mechanism; empty: nothing."""
        return self.speed.guessed


@dataclass(frozen=True, slots=True, kw_only=True)
class WhiteBox:
    """Everything that was measured. Keys are mechanism and kind."""

    kinds: Mapping[tuple[str, str], Kind]
    mechanisms: Mapping[str, Mechanism]
    drift_spread: Mapping[str, float]  # by mechanism: of the logarithm of a run's drift
    drifts: Mapping[str, float]  # by training run
    dead: Mapping[str, float]  # by mechanism: seconds that the machine needs to start a job
    elsewhere: Mapping[tuple[str, str], Kind]  # guesses for what was seen under other mechanisms only

    def of(self, mechanism: Mechanism, kind: str) -> Kind:
        """What is known of a kind, or the best guess; `Kind.guessed` says which."""
        key = mechanism.name, kind
        return self.kinds.get(key) or self.elsewhere.get(key) or self._prior(mechanism, kind)

    def _prior(self, mechanism: Mechanism, kind: str) -> Kind:
        """A kind or a mechanism that nothing is known of."""
        same_kind = [found for (_, name), found in self.kinds.items() if name == kind]
        neighbours = [found for (name, _), found in self.kinds.items() if name == mechanism.name]
        if mechanism.name in self.mechanisms:
            why = f"kind {kind!r} is not in the training runs of mechanism {mechanism.name!r}"
        else:
            why = f"mechanism {mechanism.name!r} is not in the training runs"
        base, sprint = (usable(mechanism, cores) for cores in (mechanism.base_cores, mechanism.sprint_cores))
        speed = KindSpeed(
            base_rate=base, base_error=0.1, sprint_rate=max(base, sprint), sprint_error=0.3, guessed=why
        )
        if neighbours:
            speed = replace(
                speed,
                base_rate=_typical([found.speed.base_rate for found in neighbours]),
                sprint_rate=_typical([found.speed.base_rate for found in neighbours])
                * _typical([found.speedup for found in neighbours]),
            )
        known = same_kind or neighbours or list(self.kinds.values())
        work = KindWork(
            work=_typical([found.work.work for found in known]) if known else PRIOR_WORK,
            spread=UNKNOWN_SPREAD,
            inflation=1.0,
            work_error=UNKNOWN_SPREAD,
            inflation_error=0.1,
            own=(),
            samples=0,
        )
        return Kind(work=work, speed=speed)


def _typical(values: Sequence[float]) -> float:
    return math.exp(math.fsum(math.log(value) for value in values) / len(values))


def fit_white_box(training: Dataset) -> WhiteBox:
    """What the training runs and the profile show."""
    mechanisms = training.mechanisms
    by_mechanism: defaultdict[str, list[Seen]] = defaultdict(list)
    by_kind: defaultdict[str, list[Seen]] = defaultdict(list)
    for job in see(training):
        by_mechanism[job.mechanism].append(job)
        by_kind[job.kind].append(job)
    kinds: dict[tuple[str, str], Kind] = {}
    spreads: dict[str, float] = {}
    drifts: dict[str, float] = {}
    for name, jobs in sorted(by_mechanism.items()):
        fitted = fit_work(jobs)
        spreads[name] = fitted.drift_spread
        drifts.update(fitted.drifts)
        for kind, work in fitted.kinds.items():
            own = [job for job in jobs if job.kind == kind]
            kinds[name, kind] = Kind(work=work, speed=read_speed(mechanisms[name], own, work))
    white = WhiteBox(
        kinds=kinds,
        mechanisms=mechanisms,
        drift_spread=spreads,
        drifts=drifts,
        dead={name: dead_time(training, name) for name in mechanisms},
        elsewhere={},
    )
    return replace(white, elsewhere=_elsewhere(white, by_kind))


def _elsewhere(white: WhiteBox, jobs: Mapping[str, Sequence[Seen]]) -> dict[tuple[str, str], Kind]:
    """Kinds under mechanisms that they were not seen under, from first principles."""
    guesses = {}
    for name, mechanism in white.mechanisms.items():
        shares = [
            found.speed.base_rate / usable(mechanism, mechanism.base_cores)
            for (where, _), found in white.kinds.items()
            if where == name
        ]
        for kind in sorted(jobs):
            if (name, kind) in white.kinds:
                continue
            fitted = fit_everywhere(jobs[kind], white.mechanisms)
            if fitted is None:
                continue
            why = f"kind {kind!r} is not in the training runs of mechanism {name!r}"
            speed = speed_from_principles(mechanism, fitted, _typical(shares) if shares else 1.0, why)
            seen = [found.work for (_, other), found in white.kinds.items() if other == kind]
            work = replace(seen[0], work=_typical([one.work for one in seen]), inflation=1.0)
            guesses[name, kind] = Kind(work=work, speed=speed)
    return guesses
