"""The engine: one turn at a time, on whatever world its ports show it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from types import MappingProxyType

from kubesprint.core.allocation import Allocation
from kubesprint.core.budget import Bucket
from kubesprint.core.clocks import ClockDomain
from kubesprint.core.decision import Decision, Verb
from kubesprint.core.errors import Unavailable
from kubesprint.core.forecast import Forecaster
from kubesprint.core.lease import Directive, Grant
from kubesprint.core.policy import Strategy, decide
from kubesprint.core.reasons import Reason
from kubesprint.core.spec import Mode
from kubesprint.core.units import Cores, CoreSeconds, Seconds
from kubesprint.core.view import View
from kubesprint.core.workload import JobState, JobView
from kubesprint.engine.clocks import ClockBook
from kubesprint.engine.ledger import Ledger
from kubesprint.engine.ports import Clock, Inventory, Nodes, Purse, Report, Workloads
from kubesprint.engine.turn import Recorder, SprintSpan, Turn

SHORTEST_LOOK = Seconds(0.02)
"""Two turns that nothing caused are at least this far apart."""

RENEW_EARLY = 0.9
"""Of a period: a renewal that is due with this turn must not wait for the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """What holds for a whole run."""

    run: str
    epoch: int
    mode: Mode
    base: Allocation
    sprint: Allocation
    servers: int
    lease: Seconds = Seconds(5.0)
    period: Seconds = Seconds(1.0)
    paused: bool = False
    clocks: Mapping[str, Sequence[ClockDomain]] = field(default_factory=lambda: MappingProxyType({}))
    """The clocks that a sprint raises, by slot; none: sprints raise cores only."""


class Engine:
    """Observe, estimate, decide, plan, publish, report. No thread, no sleep, no I/O of its own."""

    def __init__(
        self,
        settings: EngineSettings,
        *,
        clock: Clock,
        workloads: Workloads,
        nodes: Nodes,
        purse: Purse,
        recorder: Recorder,
        forecaster: Forecaster,
        strategy: Strategy,
        bucket: Bucket,
    ) -> None:
        self.settings = settings
        self.stopping = False
        self.keeper_gone = False
        self._clock = clock
        self._workloads = workloads
        self._nodes = nodes
        self._purse = purse
        self._recorder = recorder
        self._forecaster = forecaster
        self._strategy = strategy
        self._ledger = Ledger(bucket, settings.run, settings.epoch)
        self._clocks = ClockBook(settings.clocks)
        self._sequence = count(1)
        self._sprinted: dict[str, tuple[float, float]] = {}  # job -> (wall, CPU) seconds in ended sprints
        self._held: Directive | None = None
        self._spans: tuple[list[SprintSpan], list[SprintSpan]] = ([], [])
        self._sent = Seconds(0.0)
        self._trouble: Reason | None = None  # of the keeper
        self._unsaved = False  # the purse failed, and nothing may be granted until it does not

    @property
    def bucket(self) -> Bucket:
        """The budget as it stands."""
        return self._ledger.bucket

    @property
    def may_sprint(self) -> bool:
        """Whether decisions are acted upon: not in Observe and Recommend, nor without a keeper."""
        return self.settings.mode is Mode.ENFORCE and self._withheld() is None

    def at_base(self, knob: str) -> bool:
        """Whether a knob was read back at base since its last grant: only then may a new job use it."""
        return knob not in self._ledger.busy_knobs()

    def sprint_open(self, job: str) -> bool:
        """Whether a sprint of this job still has to be read back at base, and its cost to be known."""
        return self._ledger.has_open(job)

    def step(self, *, hurry: bool = False) -> Turn:
        """Take one turn. With `hurry` a strategy reuses its last choice: somebody waits for the outcome."""
        now = self._clock.now()
        inventory = self._workloads.observe()
        self._account(inventory, now)
        started, ended = self._drain()
        view = self._look(inventory, now)
        if not inventory.synced:
            return self._report(_held_turn(now, started, ended, self.settings.period))

        if self._unsaved:
            self._save()
        estimates = self._forecaster.forecast(view)
        trigger = self._strategy.choose(view, estimates, hurry=hurry)
        decisions = decide(view, estimates, trigger, self._withheld())
        if self.settings.mode is Mode.RECOMMEND:
            decisions = [_as_advice(decision) for decision in decisions]
        directive = self._publish(view, decisions, now)
        if self._unsaved:  # nothing was granted, whatever was decided
            decisions = decide(view, estimates, trigger, self._withheld())
        return self._report(
            Turn(
                at=now,
                view=replace(view, bucket=self._ledger.bucket),
                estimates=estimates,
                trigger=trigger,
                decisions=decisions,
                directive=directive,
                started=started,
                ended=ended,
                troubles=self._troubles(),
                next_look=self._next_look(decisions, now),
            )
        )

    def lose_keeper(self) -> None:
        """Nobody holds the knobs any more: no grant is alive, and none may be made."""
        self.keeper_gone = True
        cpu = _cpu_used(self._workloads.observe())
        self._note_ended(self._ledger.abandon(self._clock.now(), cpu))

    def release(self, job: str, reason: Reason = Reason.FINISHED) -> None:
        """Let go of a job's sprint at once, without thinking: its slot is wanted.

        Nothing new is granted and no lease is longer than it was, so what is on disk covers it, and the slot
        need not wait for the disk. Where clocks are shared those who stay may have to pay more.
        """
        now = self._clock.now()
        if self._ledger.holding_of(job) is None:
            return
        self._ledger.release(job, now, reason)
        if self.settings.clocks:
            self._send({job: knob for job, (knob, _) in self._ledger.running().items()}, now)
            return
        self._hand_over(self._ledger.remaining(now), next(self._sequence), now)
        if not self._save():
            sequence = next(self._sequence)
            self._withdraw_all(sequence, now)
            self._hand_over({}, sequence, now)

    def listen(self) -> None:
        """Take in what keepers read back, without deciding anything: a slot may be free to use."""
        if self.settings.mode is not Mode.ENFORCE:
            return  # nobody holds anything, and to look at all jobs costs
        self._account(self._workloads.observe(), self._clock.now())

    def _account(self, inventory: Inventory, now: Seconds) -> None:
        reports: Sequence[Report] = [r for r in self._nodes.reports() if r.run == self.settings.run]
        if reports:
            superseded = reports[-1].epoch > self.settings.epoch
            self._trouble = Reason.STALE_EPOCH if superseded else reports[-1].trouble
        started, ended = self._ledger.account(reports, _cpu_used(inventory), now)
        self._ledger.bucket = self._ledger.bucket.advance(max(now, self._ledger.bucket.at))
        self._account_clocks(reports, now)
        self._ledger.lapse(now)
        self._spans[0].extend(started)
        self._note_ended(ended)
        for job in inventory.jobs:
            if job.state is JobState.FINISHED:
                self._ledger.release(job.name, now, Reason.FINISHED)

    def _account_clocks(self, reports: Sequence[Report], now: Seconds) -> None:
        """A clock that stays up though no sprint asks for it is an overrun, charged as it goes on."""
        asking = [knob for knob, _ in self._ledger.running().values()]
        for report in reports:
            newest = self._held is not None and report.sequence >= self._held.sequence
            self._clocks.hear(report, asking, newest=newest)
        if owed := self._clocks.owed(now):
            self._ledger.bucket = self._ledger.bucket.charge(owed)

    def _note_ended(self, ended: Sequence[SprintSpan]) -> None:
        for span in ended:
            wall, used = self._sprinted.get(span.job, (0.0, 0.0))
            length = 0.0 if span.end is None else span.end - span.start
            self._sprinted[span.job] = (wall + length, used + span.cpu)
        self._spans[1].extend(ended)

    def _drain(self) -> tuple[list[SprintSpan], list[SprintSpan]]:
        """Sprints that started and ended since the last turn."""
        drained, self._spans = self._spans, ([], [])
        return drained

    def _look(self, inventory: Inventory, now: Seconds) -> View:
        return View(
            now=now,
            jobs=[self._with_sprint(job) for job in inventory.jobs],
            bucket=self._ledger.bucket,
            base=self.settings.base,
            sprint=self.settings.sprint,
            servers=self.settings.servers,
            grants=self._ledger.grants(),
            clock_rate=self._clocks.alone(self.settings.sprint.cores) if self._clocks else None,
        )

    def _with_sprint(self, job: JobView) -> JobView:
        wall, cpu = self._sprinted.get(job.name, (0.0, 0.0))
        return replace(job, sprint=Seconds(wall), sprint_cpu=CoreSeconds(cpu)) if wall else job

    def _withheld(self) -> Reason | None:
        """Why nothing may sprint at all, if so: invariants 5 and 7 begin here."""
        if self.stopping:
            return Reason.STOPPING
        if self.keeper_gone:
            return Reason.NO_KEEPER
        if self.settings.mode is Mode.OBSERVE:
            return Reason.MODE_OBSERVE
        if self.settings.paused:
            return Reason.PAUSED
        return Reason.JOURNAL_UNWRITABLE if self._unsaved else self._trouble

    def _troubles(self) -> Sequence[str]:
        unsaved = Reason.JOURNAL_UNWRITABLE if self._unsaved else None
        ours = dict.fromkeys(t.value for t in (self._trouble, unsaved) if t is not None)
        return (*ours, *self._clocks.troubles)

    def _publish(self, view: View, decisions: Sequence[Decision], now: Seconds) -> Directive | None:
        """Let go of what is over, pay for what goes on, and tell the keeper if anything is new to it."""
        if self.settings.mode is not Mode.ENFORCE or self.keeper_gone:
            return None
        for decision in decisions:
            if decision.verb is Verb.RELEASE:
                self._ledger.release(decision.job, now, decision.reason)
        running = {job.name: job for job in view.running()}
        wanted = {
            d.job: slot
            for d in decisions
            if d.verb is Verb.SPRINT and (slot := running[d.job].slot) is not None
        }
        held = {grant.grant for grant in self._held.grants} if self._held else set()
        same = held == set(self._ledger.grants().values()) and wanted.keys() == self._ledger.grants().keys()
        if same and (not held or now - self._sent < self.settings.period * RENEW_EARLY):
            return None
        return self._send(wanted, now)

    def _rates(self, wanted: Mapping[str, str]) -> Mapping[str, tuple[str, Cores]]:
        """Slot and cost rate of each job that is to sprint: jobs that share a clock share its cost."""
        base, sprint = self.settings.base, self.settings.sprint
        if not self.settings.clocks:
            return {job: (slot, sprint.cost_rate(base)) for job, slot in wanted.items()}
        clocks = self._clocks.rates(dict.fromkeys(wanted.values(), sprint.cores))
        return {job: (slot, Cores(sprint.cores - base.cores + clocks[slot])) for job, slot in wanted.items()}

    def _send(self, wanted: Mapping[str, str], now: Seconds) -> Directive:
        """Reserve, make the level durable, publish: in this order, so that a crash never overspends.

        If the level cannot be made durable, nothing goes on: the directive grants nothing.

        Args:
            wanted: the slot of each job that is to sprint from now on.
            now: the instant.
        """
        sequence = next(self._sequence)
        leases = self._ledger.reserve(self._rates(wanted), self.settings.lease, now, sequence)
        for grant in [grant for grant, lease in leases.items() if lease <= 0]:
            self._ledger.withdraw(grant, now, sequence, Reason.BUDGET_EXHAUSTED)
        if not self._save():
            self._withdraw_all(sequence, now)
        return self._hand_over(
            {grant: leases[grant] for grant in self._ledger.grants().values()}, sequence, now
        )

    def _withdraw_all(self, sequence: int, now: Seconds) -> None:
        """Nothing may go on whose cost cannot be written down."""
        for grant in list(self._ledger.grants().values()):
            self._ledger.withdraw(grant, now, sequence, Reason.JOURNAL_UNWRITABLE)

    def _hand_over(self, leases: Mapping[str, Seconds], sequence: int, now: Seconds) -> Directive:
        """Publish what is granted, and for how long; nothing else is."""
        grants = tuple(
            Grant(
                grant=grant,
                knob=self._ledger.knob_of(grant),
                allocation=Allocation(self.settings.sprint.cores)
                if self.settings.clocks
                else self.settings.sprint,
                lease=lease,
            )
            for grant, lease in leases.items()
        )
        directive = Directive(
            run=self.settings.run,
            epoch=self.settings.epoch,
            sequence=sequence,
            grants=(
                *grants,
                *self._clocks.grants(grants),
            ),  # clocks last: cores pay for them from their write on
        )
        self._nodes.publish(directive)
        self._held, self._sent = directive, now
        return directive

    def _save(self) -> bool:
        """Whether the level is durable now."""
        try:
            self._purse.save(self._ledger.bucket)
        except Unavailable:
            self._unsaved = True
        else:
            self._unsaved = False
        return not self._unsaved

    def _next_look(self, decisions: Sequence[Decision], now: Seconds) -> Seconds:
        looks = [d.next_look for d in decisions if d.next_look is not None]
        return Seconds(max(now + SHORTEST_LOOK, min([now + self.settings.period, *looks])))

    def _report(self, turn: Turn) -> Turn:
        self._recorder.record(turn)
        return turn


def _cpu_used(inventory: Inventory) -> Mapping[str, float]:
    """CPU seconds by job, where they were read."""
    return {job.name: job.cpu.value for job in inventory.jobs if job.cpu is not None}


def _held_turn(
    now: Seconds, started: Sequence[SprintSpan], ended: Sequence[SprintSpan], period: Seconds
) -> Turn:
    """A turn that decided nothing, because some jobs may not have been seen yet."""
    return Turn(
        at=now,
        view=None,
        estimates={},
        trigger=None,
        decisions=(),
        directive=None,
        started=started,
        ended=ended,
        troubles=(Reason.NOT_SYNCED.value,),
        next_look=Seconds(now + period),
    )


def _as_advice(decision: Decision) -> Decision:
    """What Recommend says: the decision as it would be, and that nothing was done."""
    if decision.verb is not Verb.SPRINT:
        return decision
    sentence = f"Would act: {decision.sentence}"
    return replace(decision, verb=Verb.HOLD, reason=Reason.MODE_RECOMMEND, sentence=sentence)
