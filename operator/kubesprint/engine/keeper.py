"""The node's side: it holds knobs for the length of a lease and puts everything back.

`NodeKeeper` trusts nobody: not the engine (every grant is clamped, and ends by the keeper's own
clock), not the kernel (a write counts when it is read back), not itself (what was found is on disk
before the first write).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from kubesprint.core.allocation import Allocation
from kubesprint.core.errors import Refused, Unavailable
from kubesprint.core.lease import Directive, Grant
from kubesprint.core.reasons import Reason
from kubesprint.core.units import Seconds
from kubesprint.engine.keeper_hand import Hand, Outcome, Unrecorded, place
from kubesprint.engine.keeper_restore import Restoration, put_back
from kubesprint.engine.ports import (
    Address,
    Hardware,
    Journal,
    KnobReport,
    PatientClock,
    Report,
    Write,
)

PERIOD = Seconds(1.0)
"""How often a keeper looks at its knobs when nothing else wakes it."""


@dataclass(frozen=True, slots=True)
class _Lease:
    grant: Grant
    until: Seconds  # on the keeper's clock


@dataclass(frozen=True, slots=True)
class _Ending:
    """Why a knob is at base."""

    reason: Reason = Reason.APPLIED
    detail: str = ""


class NodeKeeper:
    """Clamp, journal, apply, read back, expire, restore: for one run on one machine."""

    def __init__(
        self,
        clock: PatientClock,
        hardware: Hardware,
        journal: Journal,
        run: str,
        *,
        period: Seconds = PERIOD,
        owned: Callable[[Address], bool] = lambda _: False,
    ) -> None:
        """Take charge of the knobs of `hardware`; nothing is written before `open`.

        Args:
            clock: ends the leases.
            hardware: the knobs.
            journal: empty, or `open` refuses.
            run: directives of another run are stale.
            period: between two looks at the knobs.
            owned: things of our own making (groups and what is in them), which are undone whatever
                somebody else has put there.
        """
        self._clock = clock
        self._hardware = hardware
        self._journal = journal
        self._run = run
        self._period = period
        self._owned = owned
        self._hand = Hand(clock, hardware, journal)
        self._newest = (0, 0)  # epoch, sequence
        self._leases: dict[str, _Lease] = {}
        self._rejected: dict[str, str] = {}  # knob -> the grant that the machine rejected
        self._endings: dict[str, _Ending] = {}
        self._held: dict[str, tuple[str, Allocation]] = {}  # from before the first write of a sprint on
        self._knobs: dict[str, KnobReport] = {}
        self._unheeded: _Ending | None = None  # the last directive that was not taken
        self._trouble = ""

    @property
    def conflicts(self) -> Mapping[str, int]:
        """How often somebody else changed something of a knob, by knob."""
        return self._hand.conflicts

    def open(self, setup: Sequence[Write], moved: Sequence[Address] = ()) -> None:
        """Do the set-up, then bring every knob to its base; on failure undo what was done.

        Args:
            setup: in order.
            moved: addresses that its later steps may move (boost moves limits): nobody else's doing.

        Raises:
            Refused: the machine will not do it, or an earlier run's journal is not restored yet.
            Unavailable: not now, or the journal cannot be written.
        """
        if self._journal.found():
            raise Refused("the journal still holds what an earlier run found; restore that first")
        try:
            for write in setup:
                self._hand.prepare([write])  # one by one: a file of a group exists once the group does
                self._demand(self._hand.put(write, insist=True))
            self._hand.forget(moved)
            for knob in self._hardware.knobs():
                self._open_at_base(knob)
        except (Refused, Unavailable) as error:
            undone = self.restore()
            if undone.complete:
                raise
            rest = ", ".join(place(address) for address in undone.failed)
            raise type(error)(f"{error}; not put back: {rest}") from error

    def receive(self, directive: Directive) -> Reason:
        """Take a directive whole, or not at all: APPLIED, STALE_EPOCH or REJECTED.

        Leases count from now. The newest directive may come twice: the second changes nothing, and
        lengthens nothing. Older ones, and those of another run, are stale.
        """
        stamp = (directive.epoch, directive.sequence)
        if directive.run != self._run or stamp < self._newest:
            detail = f"directive {stamp} of run {directive.run}; the newest is {self._newest} of {self._run}"
            self._unheeded = _Ending(Reason.STALE_EPOCH, detail)
            return Reason.STALE_EPOCH
        if problem := _problem(directive.grants):
            self._unheeded = _Ending(Reason.REJECTED, problem)
            return Reason.REJECTED
        self._unheeded = None
        if stamp != self._newest:
            self._newest = stamp
            self._take(directive.grants)
        return Reason.APPLIED

    def step(self) -> Report:
        """Make the knobs what the live leases say, base without one; report what was read back."""
        self._expire(self._clock.now())
        self._probe()
        for knob in self._hardware.knobs():
            if knob not in self._leases:
                self._return(knob)  # first, so that the sum of what is held never swells
        for knob in list(self._leases):
            self._sprint(knob, self._leases[knob])
        return self._report()

    def next_deadline(self) -> Seconds:
        """When `step` is due again at the latest: the end of a lease, or one period from now."""
        period = self._clock.now() + self._period
        return Seconds(min([period, *(lease.until for lease in self._leases.values())]))

    def replaced(self, addresses: Sequence[Address]) -> None:
        """Something else now sits behind these addresses (a new process): forget what was confirmed."""
        self._hand.forget(addresses)

    def release(self) -> Report:
        """End every lease now and report what was read back at base; `restore` comes next."""
        self._take(())
        return self.step()

    def restore(self) -> Restoration:
        """Put back everything that was found; the journal is cleared only if all of it was verified."""
        self._leases.clear()
        memory = {a: m for a, m in self._hand.memory.items() if not self._owned(a)}
        return put_back(self._clock, self._hardware, self._journal, memory=memory)

    def _take(self, grants: Sequence[Grant]) -> None:
        now = self._clock.now()
        wanted = {grant.knob: _Lease(grant, Seconds(now + grant.lease)) for grant in grants}
        known = set(self._hardware.knobs())
        for knob in self._leases.keys() - wanted.keys():
            self._end(knob, Reason.APPLIED)
        for knob in self._knobs.keys() - known:
            del self._knobs[knob]
        for knob, lease in wanted.items():
            if knob in known:
                self._leases[knob] = lease
            else:
                self._note(knob, _Ending(Reason.UNSUPPORTED, f"this machine has no knob {knob}"), now)

    def _expire(self, now: Seconds) -> None:
        for knob in [knob for knob, lease in self._leases.items() if lease.until <= now]:
            self._end(knob, Reason.LEASE_ENDED)

    def _probe(self) -> None:
        """A journal that cannot be written ends every sprint: what changes must be possible to put back."""
        if not (self._leases or self._trouble):
            return
        try:
            self._journal.probe()
            self._trouble = ""
        except Unavailable as error:
            self._distrust(str(error))

    def _distrust(self, trouble: str) -> None:
        self._trouble = trouble
        for knob in list(self._leases):
            self._end(knob, Reason.JOURNAL_UNWRITABLE, trouble)

    def _end(self, knob: str, reason: Reason, detail: str = "") -> None:
        self._leases.pop(knob, None)
        self._endings[knob] = _Ending(reason, detail)

    def _sprint(self, knob: str, lease: _Lease) -> None:
        since = self._clock.now()
        grant = lease.grant
        if self._rejected.get(knob) == grant.grant:  # a renewal does not revive what the machine rejected
            self._give_up(knob, self._endings[knob], since)
            return
        try:
            allowed, why = self._hardware.clamp(knob, grant.allocation)
            writes = self._hardware.writes(knob, allowed)
            if dispute := self._hand.disputed(writes):
                self._give_up(knob, _Ending(Reason.CONFLICT, dispute), since)
                return
            self._hand.prepare(writes)
        except Unrecorded as error:
            self._distrust(str(error))
            self._return(knob, since)
            return
        except (Refused, Unavailable) as error:
            self._reject(knob, grant.grant, _Ending(Reason.REJECTED, str(error)), since)
            return
        self._held[knob] = (grant.grant, allowed)
        details = [why] if why else []
        for write in writes:
            outcome = self._hand.put(write, insist=False)
            if outcome.reason in (Reason.REJECTED, Reason.CONFLICT):
                self._reject(knob, grant.grant, _Ending(outcome.reason, outcome.detail), since)
                return
            details += [outcome.detail] if outcome.detail else []
        self._endings.pop(knob, None)
        reason = Reason.CLAMPED if details else Reason.APPLIED
        self._note(knob, _Ending(reason, "; ".join(details)), since)

    def _reject(self, knob: str, grant: str, ending: _Ending, since: Seconds) -> None:
        self._rejected[knob] = grant
        self._give_up(knob, ending, since)

    def _give_up(self, knob: str, ending: _Ending, since: Seconds) -> None:
        self._end(knob, ending.reason, ending.detail)
        self._return(knob, since)

    def _return(self, knob: str, since: Seconds | None = None) -> None:
        """Bring a knob to base. What fails is tried again at every step, and stays reported as held."""
        since = self._clock.now() if since is None else since
        problems, disputes = self._put_base(knob)
        if problems:
            detail = "not back at base: " + "; ".join(problems)
            self._note(knob, _Ending(Reason.REJECTED, detail), since)
            return
        self._held.pop(knob, None)
        if disputes:
            self._note(knob, _Ending(Reason.CONFLICT, "; ".join(disputes)), since)
        else:
            self._note(knob, self._endings.get(knob, _Ending()), since)

    def _put_base(self, knob: str) -> tuple[list[str], list[str]]:
        """What failed, and what somebody else holds."""
        try:
            writes = self._hardware.writes(knob, None)
            self._hand.prepare(writes)
        except (Refused, Unavailable) as error:
            return [str(error)], []
        outcomes = [self._hand.put(write, insist=True) for write in writes]
        problems = [o.detail for o in outcomes if o.reason not in (Reason.APPLIED, Reason.CONFLICT)]
        return problems, [o.detail for o in outcomes if o.reason is Reason.CONFLICT]

    def _open_at_base(self, knob: str) -> None:
        since = self._clock.now()
        writes = self._hardware.writes(knob, None)
        self._hand.prepare(writes)
        for write in writes:
            self._demand(self._hand.put(write, insist=True))
        self._note(knob, _Ending(), since)

    @staticmethod
    def _demand(outcome: Outcome) -> None:
        if outcome.reason is not Reason.APPLIED:
            raise Refused(outcome.detail)

    def _note(self, knob: str, what: _Ending, since: Seconds) -> None:
        """Remember the state that was just read back; its instants stand still until it changes."""
        grant, allocation = self._held.get(knob, (None, None))
        new = KnobReport(
            knob=knob,
            grant=grant,
            outcome=what.reason,
            allocation=allocation,
            since=since,
            at=self._clock.now(),
            detail=what.detail,
        )
        old = self._knobs.get(knob)
        if old is None or replace(new, since=old.since, at=old.at) != old:
            self._knobs[knob] = new

    def _report(self) -> Report:
        trouble, detail = (Reason.JOURNAL_UNWRITABLE, self._trouble) if self._trouble else (None, "")
        if trouble is None and self._unheeded is not None:
            trouble, detail = self._unheeded.reason, self._unheeded.detail
        self._unheeded = None
        epoch, sequence = self._newest
        knobs = MappingProxyType(dict(self._knobs))
        return Report(
            run=self._run, epoch=epoch, sequence=sequence, knobs=knobs, trouble=trouble, detail=detail
        )


def _problem(grants: Sequence[Grant]) -> str:
    """Why a directive with these grants cannot be taken; empty if it can."""
    knobs = [grant.knob for grant in grants]
    if len(set(knobs)) != len(knobs):
        return f"two grants for one knob: {sorted(knobs)}"
    for grant in grants:
        if not (math.isfinite(grant.lease) and grant.lease >= 0):
            return f"grant {grant.grant} has a lease of {grant.lease} s; a lease has an end"
    return ""
