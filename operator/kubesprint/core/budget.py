"""The sprint budget: a token bucket in extra core-seconds, spent through reservations.

A grant is paid for its whole lease before the first write and the unused part comes back at its
end, so a crash can waste budget but never overspend it. What a sprint used beyond its lease
(something outside kept it running) is debt, repaid by the refill before anything else is granted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType

from kubesprint.core.units import FOREVER, Cores, CoreSeconds, Seconds

_NOTHING: Mapping[str, "Reservation"] = MappingProxyType({})


class RefillRule(StrEnum):
    """Whether the bucket refills while any job sprints."""

    PAUSED = "Paused"
    CONTINUOUS = "Continuous"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The rules of a bucket, as in `SprintPolicy.spec.budget`."""

    capacity: CoreSeconds
    refill: Cores  # core-seconds per second
    while_sprinting: RefillRule = RefillRule.PAUSED
    hysteresis: Seconds = Seconds(0.2)  # in sprint time; above 0, or a sprint could restart without end

    def threshold(self, cost_rate: Cores) -> CoreSeconds:
        """What the bucket must hold (>=) before a sprint of this cost rate may start."""
        return CoreSeconds(min(self.hysteresis * cost_rate, self.capacity))


@dataclass(frozen=True, slots=True)
class Reservation:
    """One grant: paid at `rate` from `since` to `until`."""

    rate: Cores
    since: Seconds
    until: Seconds

    @property
    def cost(self) -> CoreSeconds:
        """What the whole reservation costs."""
        return CoreSeconds(self.rate * (self.until - self.since))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """The state of a budget at one instant. `level` is what is free; reservations are already paid."""

    budget: Budget
    level: CoreSeconds
    at: Seconds
    reserved: Mapping[str, Reservation] = field(default_factory=lambda: _NOTHING)

    @property
    def debt(self) -> CoreSeconds:
        """What was used beyond what was granted, still to be repaid by the refill."""
        return CoreSeconds(max(0.0, -self.level))

    @property
    def reserved_total(self) -> CoreSeconds:
        """What running grants have paid and not yet used at `at`."""
        return CoreSeconds(
            sum(r.rate * max(0.0, r.until - max(self.at, r.since)) for r in self.reserved.values())
        )

    def physical_level(self) -> CoreSeconds:
        """What a meter on the bucket would show: the free level and what grants have yet to use."""
        return CoreSeconds(self.level + self.reserved_total)

    def at_instant(self, now: Seconds) -> "Bucket":
        """The same level on another clock that shows `now`; only without reservations."""
        if self.reserved:
            raise ValueError("reservations cannot be moved to another clock")
        return replace(self, at=now)

    def advance(self, now: Seconds) -> "Bucket":
        """The bucket at `now`, refilled by its rule. Going back in time is refused."""
        if now < self.at:
            raise ValueError(f"the bucket is at {self.at} s and cannot go back to {now} s")
        if self.reserved and self.budget.while_sprinting is RefillRule.PAUSED:
            return replace(self, at=now)
        later = replace(self, at=now)
        room = self.budget.capacity - later.reserved_total
        refilled = self.level + self.budget.refill * (now - self.at)
        return replace(later, level=CoreSeconds(max(self.level, min(room, refilled))))

    def holds_threshold(self, cost_rate: Cores) -> bool:
        """Whether a sprint of this cost rate may start now."""
        return self.physical_level() >= self.budget.threshold(cost_rate) > 0

    def time_of_threshold(self, cost_rate: Cores) -> Seconds:
        """When the bucket will hold the threshold if nothing is granted meanwhile (may be never)."""
        missing = self.budget.threshold(cost_rate) - self.physical_level()
        if missing <= 0:
            return self.at
        paused = self.reserved and self.budget.while_sprinting is RefillRule.PAUSED
        if paused or self.budget.refill <= 0:
            return FOREVER
        return Seconds(self.at + missing / self.budget.refill)

    def plan_leases(self, rates: Mapping[str, Cores], lease: Seconds) -> "Bucket":
        """Reserve every sprint that is to run from now on: `lease` seconds each, or what the pool allows.

        The pool is the free level and what these grants have paid and not used. All end together when
        it runs out, whatever their order, and a newcomer may shorten the others: so the leases of one
        call must travel in one directive, which its keeper takes whole or not at all.

        Args:
            rates: cost rate by grant, of *all* grants that go on or start now.
            lease: the wished length of every lease from now.

        Raises:
            ValueError: a running grant is missing from `rates`; settle it first.
        """
        if missing := self.reserved.keys() - rates.keys():
            raise ValueError(f"grants {sorted(missing)} are still reserved and not in the plan")
        pool = max(0.0, self.physical_level())
        total_rate = sum(rates.values())
        length = lease if total_rate * lease <= pool else pool / total_rate
        until = Seconds(self.at + length)
        reserved = {
            grant: Reservation(rate, self.reserved[grant].since if grant in self.reserved else self.at, until)
            for grant, rate in rates.items()
        }
        return replace(
            self,
            level=CoreSeconds(self.physical_level() - total_rate * length),
            reserved=MappingProxyType(reserved),
        )

    def settle(self, grant: str, ended: Seconds) -> "Bucket":
        """End a grant: refund what it did not use, or charge what it used beyond its lease."""
        reservation = self.reserved[grant]
        used_until = max(ended, reservation.since)
        difference = reservation.rate * (reservation.until - used_until)
        others = {g: r for g, r in self.reserved.items() if g != grant}
        after = replace(self, reserved=MappingProxyType(others))
        room = self.budget.capacity - after.reserved_total
        return replace(after, level=CoreSeconds(min(room, self.level + difference)))

    def charge(self, amount: CoreSeconds) -> "Bucket":
        """Take what was used without a reservation; the level may fall below zero, which is debt."""
        return replace(self, level=CoreSeconds(self.level - amount))


def full(budget: Budget, at: Seconds) -> Bucket:
    """A bucket that nothing was ever taken from."""
    return Bucket(budget=budget, level=budget.capacity, at=at)
