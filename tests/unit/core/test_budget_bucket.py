"""The bucket: whatever is planned and settled, no window holds more sprint than capacity and refill allow."""

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kubesprint.core.budget import Bucket, Budget, RefillRule, full

NEAR = 1e-6


def bucket(capacity: float = 10.0, refill: float = 0.5, **more: object) -> Bucket:
    return full(Budget(capacity=capacity, refill=refill, **more), 0.0)


@dataclass
class Use:
    """One grant as it was really used, at its rate, from its first write to its read-back."""

    rate: float
    since: float
    until: float

    def inside(self, start: float, end: float) -> float:
        return self.rate * max(0.0, min(end, self.until) - max(start, self.since))


class Purse(RuleBasedStateMachine):
    """An engine that plans and settles at will, and a meter on what is really used."""

    def __init__(self) -> None:
        super().__init__()
        self.running: dict[str, Use] = {}
        self.past: list[Use] = []
        self.names = 0

    @initialize(
        capacity=st.sampled_from([0.5, 3.0, 20.0]),
        refill=st.sampled_from([0.0, 0.25, 1.0, 5.0]),
        rule_=st.sampled_from(RefillRule),
    )
    def start(self, capacity: float, refill: float, rule_: RefillRule) -> None:
        self.bucket = bucket(capacity, refill, while_sprinting=rule_)
        self.budget = self.bucket.budget

    def end(self, name: str, at: float) -> None:
        use = self.running.pop(name)
        use.until = at
        self.past.append(use)
        self.bucket = self.bucket.settle(name, at)

    @rule(span=st.sampled_from([0.0, 0.25, 1.0, 7.0]))
    def time_passes(self, span: float) -> None:
        """Grants end with their leases; the engine settles late."""
        now = self.bucket.at + span
        self.bucket = self.bucket.advance(now)
        for name, reservation in list(self.bucket.reserved.items()):
            self.running[name].until = min(now, reservation.until)
            if reservation.until <= now:
                self.end(name, reservation.until)

    @rule(rates=st.lists(st.sampled_from([0.6, 1.0, 3.0]), max_size=2), lease=st.sampled_from([0.5, 5.0]))
    def plan(self, rates: list[float], lease: float) -> None:
        plan = {name: use.rate for name, use in self.running.items()}
        if self.bucket.level + self.bucket.reserved_total <= 0:
            return
        for rate in rates:
            if self.bucket.holds_threshold(rate):
                self.names += 1
                plan[f"grant{self.names}"] = rate
        if not plan:
            return
        self.bucket = self.bucket.plan_leases(plan, lease)
        for name, reservation in self.bucket.reserved.items():
            assert reservation.until - self.bucket.at <= lease + NEAR
            self.running.setdefault(name, Use(plan[name], self.bucket.at, self.bucket.at))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), ago=st.sampled_from([0.0, 0.1]))
    def a_job_ends(self, data: st.DataObject, ago: float) -> None:
        name = data.draw(st.sampled_from(sorted(self.running)))
        self.end(name, max(self.running[name].since, self.bucket.at - ago))

    @invariant()
    def no_window_holds_more_than_the_budget(self) -> None:
        if not hasattr(self, "bucket"):
            return
        uses = [*self.past, *self.running.values()]
        for start in {use.since for use in uses}:
            for end in {use.until for use in uses}:
                used = sum(use.inside(start, end) for use in uses)
                allowed = self.budget.capacity + self.budget.refill * max(0.0, end - start)
                assert used <= allowed + NEAR

    @invariant()
    def the_level_is_between_nothing_and_the_capacity(self) -> None:
        if hasattr(self, "bucket"):
            assert self.bucket.level >= -NEAR
            assert self.bucket.physical_level() <= self.budget.capacity + NEAR


Purse.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestPurse = Purse.TestCase


def test_a_grant_is_paid_before_it_runs_and_refunded_at_its_end() -> None:
    granted = bucket(refill=0.0).plan_leases({"a": 2.0}, 4.0)
    assert (granted.level, granted.reserved_total, granted.physical_level()) == (2.0, 8.0, 10.0)
    ended = granted.advance(1.0).settle("a", 1.0)
    assert (ended.level, ended.reserved_total) == (8.0, 0.0)


def test_renewing_a_lease_pays_for_the_extension_only() -> None:
    later = bucket(refill=0.0).plan_leases({"a": 1.0}, 4.0).advance(1.0).plan_leases({"a": 1.0}, 4.0)
    assert (later.level, later.reserved["a"].since, later.reserved["a"].until) == (5.0, 0.0, 5.0)


def test_a_lease_is_no_longer_than_the_pool_reaches() -> None:
    granted = bucket(refill=0.0).plan_leases({"a": 2.0, "b": 3.0}, 100.0)
    assert {r.until for r in granted.reserved.values()} == {2.0}
    assert granted.level == 0.0


def test_a_newcomer_shortens_the_others_and_all_end_together() -> None:
    first = bucket(refill=0.0).plan_leases({"a": 1.0}, 8.0).advance(2.0)
    both = first.plan_leases({"a": 1.0, "b": 1.0}, 8.0)
    assert {r.until for r in both.reserved.values()} == {6.0}
    assert (both.level, both.physical_level()) == (0.0, 8.0)


def test_a_plan_must_name_every_running_grant() -> None:
    with pytest.raises(ValueError, match="'a'"):
        bucket().plan_leases({"a": 1.0}, 1.0).plan_leases({"b": 1.0}, 1.0)


def test_an_overrun_is_a_debt_that_the_refill_repays_first() -> None:
    spent = bucket(capacity=4.0, refill=1.0).plan_leases({"a": 1.0}, 4.0)
    late = spent.advance(7.0).settle("a", 7.0)
    assert (late.level, late.debt) == (-3.0, 3.0)
    assert not late.holds_threshold(1.0)
    assert late.time_of_threshold(1.0) == pytest.approx(10.2)
    assert late.advance(10.0).debt == 0.0
    assert late.advance(10.3).holds_threshold(1.0)


def test_nothing_is_leased_out_of_a_debt() -> None:
    indebted = bucket(capacity=4.0).charge(6.0).plan_leases({"a": 1.0}, 5.0)
    assert indebted.reserved["a"].until == indebted.at
    assert indebted.level == -2.0


def test_paused_does_not_refill_while_anything_is_reserved() -> None:
    granted = bucket(refill=1.0).plan_leases({"a": 1.0}, 5.0)
    assert granted.advance(3.0).level == granted.level
    continuous = bucket(refill=1.0, while_sprinting=RefillRule.CONTINUOUS).plan_leases({"a": 1.0}, 5.0)
    assert continuous.advance(3.0).level == continuous.level + 3.0


def test_the_threshold_is_the_smaller_of_hysteresis_and_capacity_and_is_reached_with_equality() -> None:
    budget = Budget(capacity=0.5, refill=0.0, hysteresis=2.0)
    assert budget.threshold(1.0) == 0.5
    assert full(budget, 0.0).holds_threshold(1.0)
    assert not full(budget, 0.0).charge(0.01).holds_threshold(1.0)
    assert not bucket(capacity=0.0).holds_threshold(1.0)


def test_time_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="cannot go back"):
        bucket().advance(5.0).advance(4.0)
