"""Processor clocks that are shared: which CPUs move together, what raising them costs, and who pays.

A clock is raised for all CPUs of its domain, whoever runs on them. So a clock sprint costs the extra clock
of all these CPUs, and those who asked for it share the cost by their granted cores; what anybody else on
these CPUs gains is free.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kubesprint.core.units import Cores


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockDomain:
    """CPUs whose clock moves together."""

    knob: str
    cpus: int  # all of them, also those on which no job of ours runs
    ratio: float  # sprint clock / base clock, at least 1

    @property
    def cost(self) -> Cores:
        """Extra core-seconds granted per second while it is raised."""
        return Cores(self.cpus * (self.ratio - 1.0))


def mean_ratio(domains: Iterable[ClockDomain]) -> float:
    """Sprint clock / base clock of a job that runs on any CPU of these; 1 where there are none."""
    weights = {domain: domain.cpus for domain in domains}
    total = sum(weights.values())
    return sum(d.ratio * cpus for d, cpus in weights.items()) / total if total else 1.0


def clock_rates(
    use: Mapping[str, Sequence[ClockDomain]], sprinting: Mapping[str, Cores]
) -> Mapping[str, Cores]:
    """What the raised clocks cost each sprinting slot, in core-seconds per second.

    Args:
        use: the domains that each slot's CPUs belong to, by slot.
        sprinting: granted cores by slot, above 0.
    """
    share = dict.fromkeys(sprinting, 0.0)
    askers: dict[ClockDomain, list[str]] = {}
    for slot in sprinting:
        for domain in use.get(slot, ()):
            askers.setdefault(domain, []).append(slot)
    for domain, slots in askers.items():
        granted = sum(sprinting[slot] for slot in slots)
        for slot in slots:
            share[slot] += domain.cost * sprinting[slot] / granted
    return {slot: Cores(rate) for slot, rate in share.items()}
