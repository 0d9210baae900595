"""Who holds which grant, what it has cost, and when it really ended.

The bucket is charged for a whole lease before the directive leaves, corrected when a keeper reports
what it read back, and charged once more for anything that ran on beyond its lease.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kubesprint.core.budget import Bucket, RefillRule
from kubesprint.core.reasons import Reason
from kubesprint.core.units import Cores, CoreSeconds, Seconds
from kubesprint.engine.ports import KnobReport, Report
from kubesprint.engine.turn import SprintSpan

RETURN_MARGIN = Seconds(0.02)
"""Every lease ends this much before what was paid for, so that the return is read back within it."""

WAS_HELD = frozenset({Reason.APPLIED, Reason.CLAMPED, Reason.LEASE_ENDED})
"""A knob that returned to base with one of these may have been raised, even if nobody saw it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A grant from its publication to the read-back of its return."""

    grant: str
    job: str
    knob: str
    rate: Cores
    published: Seconds
    sequence: int  # of the directive that first named it; older reports say nothing about it
    raised: Seconds | None = None  # start of the write that raised the knob, once read back
    spent: CoreSeconds = CoreSeconds(0.0)  # since it was raised, at earlier rates
    rated: Seconds = Seconds(0.0)  # since when `rate` holds, if it ever changed
    cpu_at_start: float = 0.0
    released: Seconds | None = None  # when the engine let go of it; its reservation was settled then
    reason: Reason = Reason.TRIGGER_REACHED


class Ledger:
    """Grants of one engine, and the bucket they are paid from."""

    def __init__(self, bucket: Bucket, run: str, epoch: int) -> None:
        self.bucket = bucket
        self._epoch = epoch
        self._prefix = f"{run}/{epoch}/"
        self._holdings: dict[str, Holding] = {}
        self._count = 0

    def holding_of(self, job: str) -> Holding | None:
        """The grant that a job sprints on now, if any."""
        return next((h for h in self._holdings.values() if h.job == job and h.released is None), None)

    def has_open(self, job: str) -> bool:
        """Whether any grant of a job, let go or not, is still without the read-back of its return."""
        return any(h.job == job for h in self._holdings.values())

    def grants(self) -> Mapping[str, str]:
        """Job to grant, of all that are not let go."""
        return {h.job: h.grant for h in self._holdings.values() if h.released is None}

    def running(self) -> Mapping[str, tuple[str, Cores]]:
        """Job to (knob, cost rate), of all that are not let go: what `reserve` takes."""
        return {h.job: (h.knob, h.rate) for h in self._holdings.values() if h.released is None}

    def knob_of(self, grant: str) -> str:
        """The knob that a grant raises."""
        return self._holdings[grant].knob

    def withdraw(self, grant: str, now: Seconds, sequence: int, reason: Reason) -> None:
        """Take a grant out of the directive `sequence`, which has not left yet.

        A grant that this directive would have been the first to name was never used. Any other may be
        held by its keeper at this moment: it is let go, and waits for its read-back.
        """
        holding = self._holdings[grant]
        if holding.sequence == sequence:
            self.bucket = self.bucket.settle(grant, now)
            del self._holdings[grant]
        else:
            self.release(holding.job, now, reason)

    def lapse(self, now: Seconds) -> None:
        """Let go of grants whose lease is over though nobody has read their knobs back yet.

        They are not renewed: what their knobs use beyond the lease is an overrun, charged at the read-back.
        """
        for grant, reservation in self.bucket.reserved.items():
            if reservation.until < now:
                self.bucket = self.bucket.settle(grant, reservation.until)
                holding = self._holdings[grant]
                self._holdings[grant] = replace(
                    holding, released=reservation.until, reason=Reason.LEASE_ENDED
                )

    def abandon(self, now: Seconds, cpu: Mapping[str, float]) -> list[SprintSpan]:
        """Nobody will ever report on these grants: they stay charged for their whole lease.

        Returns:
            What is known of their sprints: those seen to rise, up to now.
        """
        self.bucket = self.bucket.advance(now)
        for grant in list(self.bucket.reserved):
            self.bucket = self.bucket.settle(grant, max(now, self.bucket.reserved[grant].until))
        raised = [h for h in self._holdings.values() if h.raised is not None]
        self._holdings.clear()
        return [_span(replace(h, reason=Reason.NO_KEEPER), now, cpu) for h in raised]

    def busy_knobs(self) -> set[str]:
        """Knobs that are, or may be, above base."""
        return {h.knob for h in self._holdings.values()}

    def release(self, job: str, now: Seconds, reason: Reason) -> None:
        """Let go of a job's grant; its reservation is refunded now, and corrected at the read-back."""
        holding = self.holding_of(job)
        if holding is None:
            return
        self.bucket = self.bucket.advance(now).settle(holding.grant, now)
        self._holdings[holding.grant] = replace(holding, released=now, reason=reason)

    def reserve(
        self, sprints: Mapping[str, tuple[str, Cores]], lease: Seconds, now: Seconds, sequence: int
    ) -> Mapping[str, Seconds]:
        """Pay for every job that is to sprint from now on; returns the lease by grant.

        Args:
            sprints: job to (knob, cost rate); a job that sprints already keeps its grant, and pays the new
                rate from now on (who shares a clock pays more once others no longer do).
            lease: the wished length.
            now: the instant.
            sequence: of the directive that will carry these leases.
        """
        for job, (knob, rate) in sprints.items():
            holding = self.holding_of(job)
            if holding is not None:
                self._holdings[holding.grant] = _rerated(holding, rate, now)
            else:
                self._count += 1
                grant = f"{self._prefix}{self._count}"
                self._holdings[grant] = Holding(
                    grant=grant, job=job, knob=knob, rate=rate, published=now, sequence=sequence
                )
        rates = {h.grant: h.rate for h in self._holdings.values() if h.released is None}
        self.bucket = self.bucket.advance(now).plan_leases(rates, lease)
        length = {grant: self.bucket.reserved[grant].until - now for grant in rates}
        return {grant: Seconds(max(0.0, seconds - RETURN_MARGIN)) for grant, seconds in length.items()}

    def remaining(self, now: Seconds) -> Mapping[str, Seconds]:
        """What is left of the lease of every grant that is not let go; none that is over."""
        left = {
            grant: Seconds(self.bucket.reserved[grant].until - now - RETURN_MARGIN)
            for grant in self.grants().values()
        }
        return {grant: lease for grant, lease in left.items() if lease > 0}

    def account(
        self, reports: Sequence[Report], cpu: Mapping[str, float], now: Seconds
    ) -> tuple[list[SprintSpan], list[SprintSpan]]:
        """Take in what keepers read back: sprints that started, and sprints that ended with their cost.

        Args:
            reports: oldest first.
            cpu: CPU seconds used so far, by job.
            now: the instant; nothing can have been read back later.
        """
        started: list[SprintSpan] = []
        ended: list[SprintSpan] = []
        for report in reports:
            for knob in sorted(report.knobs.values(), key=lambda knob: knob.at):
                seen = replace(knob, at=Seconds(min(knob.at, now)))
                self._account_knob(report, seen, cpu, started, ended)
        return started, ended

    def _account_knob(
        self,
        report: Report,
        knob: KnobReport,
        cpu: Mapping[str, float],
        started: list[SprintSpan],
        ended: list[SprintSpan],
    ) -> None:
        """A report says nothing about grants that came after the directive it answers."""
        answered = (report.epoch, report.sequence)
        for holding in [h for h in self._holdings.values() if h.knob == knob.knob]:
            if (self._epoch, holding.sequence) > answered:
                continue
            if knob.grant != holding.grant:
                ended.append(self._close(holding, knob, cpu))
            elif holding.raised is None:
                raised = replace(holding, raised=knob.since, cpu_at_start=cpu.get(holding.job, 0.0))
                self._holdings[holding.grant] = raised
                started.append(_span(raised, None, cpu))

    def _close(self, holding: Holding, knob: KnobReport, cpu: Mapping[str, float]) -> SprintSpan:
        """The knob no longer holds the grant: correct what was charged to what was used."""
        del self._holdings[holding.grant]
        raised = holding.raised
        if raised is None and knob.outcome in WAS_HELD and knob.at > holding.published:
            raised = holding.published  # up and down again between two reports
        if holding.released is None:  # the lease ended by itself, or the keeper could not raise the knob
            # up to the end of the sprint the bucket may not have refilled
            self.bucket = self.bucket.advance(Seconds(max(self.bucket.at, knob.at)))
            self.bucket = self.bucket.settle(holding.grant, holding.published if raised is None else knob.at)
        elif raised is not None:
            self._charge_overrun(holding.rate, knob.at - holding.released)
        if raised is None:
            reason = knob.outcome
        elif holding.released is None:
            reason = Reason.LEASE_ENDED
        else:
            reason = holding.reason
        start = knob.at if raised is None else raised
        return _span(replace(holding, raised=start, reason=reason), knob.at, cpu)

    def _charge_overrun(self, rate: Cores, overrun: float) -> None:
        """What a knob used after its grant was let go, and what a paused bucket refilled meanwhile."""
        if overrun <= 0:
            return
        budget = self.bucket.budget
        refilled = budget.refill if budget.while_sprinting is RefillRule.PAUSED else 0.0
        self.bucket = self.bucket.charge(CoreSeconds((rate + refilled) * overrun))


def _cost(holding: Holding, end: Seconds) -> CoreSeconds:
    """What a raised holding has cost up to an instant."""
    assert holding.raised is not None
    since = max(holding.raised, holding.rated)
    return CoreSeconds(holding.spent + holding.rate * max(0.0, end - since))


def _rerated(holding: Holding, rate: Cores, now: Seconds) -> Holding:
    """The same holding at another rate from now on."""
    if rate == holding.rate:
        return holding
    spent = CoreSeconds(0.0) if holding.raised is None else _cost(holding, now)
    return replace(holding, rate=rate, spent=spent, rated=Seconds(0.0) if holding.raised is None else now)


def _span(holding: Holding, end: Seconds | None, cpu: Mapping[str, float]) -> SprintSpan:
    assert holding.raised is not None
    cost = CoreSeconds(0.0) if end is None else _cost(holding, end)
    return SprintSpan(
        grant=holding.grant,
        job=holding.job,
        knob=holding.knob,
        start=holding.raised,
        end=end,
        cost=cost,
        cpu=CoreSeconds(max(0.0, cpu.get(holding.job, holding.cpu_at_start) - holding.cpu_at_start)),
        reason=holding.reason,
    )
