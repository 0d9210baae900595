"""Which running job sprints now: triggers by a strategy, then the same rules for all of them.

A strategy answers one question: from which instant on may a job sprint? The rest (budget, threshold,
order, trust) is decided here, once, exactly as the simulator does it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from kubesprint.core.decision import Decision, Verb
from kubesprint.core.forecast import Estimate
from kubesprint.core.reasons import Reason
from kubesprint.core.simulation import TriggerClock
from kubesprint.core.units import FOREVER, Seconds
from kubesprint.core.view import View
from kubesprint.core.workload import JobView


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTrigger:
    """One job's own trigger, where it differs from the time-out that holds for all."""

    at: Seconds  # inf: no sprint
    reason: Reason
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """What a strategy chose: a time-out for all jobs, and exceptions."""

    after: Seconds  # inf: never
    clock: TriggerClock
    needs_trust: bool  # chosen by a model, so only trusted jobs may start on it
    basis: str
    sentence: str
    curve: Sequence[tuple[Seconds, float]] = ()  # time-outs tried and the predicted objective
    own: Mapping[str, JobTrigger] = field(default_factory=lambda: MappingProxyType({}))

    def instant(self, job: JobView) -> Seconds:
        """When this job may sprint, on the engine's clock."""
        if job.name in self.own:
            return self.own[job.name].at
        origin = job.arrival if self.clock is TriggerClock.ARRIVAL else job.start
        return FOREVER if origin is None else Seconds(origin + self.after)


class Strategy(Protocol):
    """Chooses triggers."""

    def choose(self, view: View, estimates: Mapping[str, Estimate], *, hurry: bool) -> Trigger:
        """The triggers from now on. With `hurry` the last choice is good enough: a slot is waiting."""
        ...


@dataclass(frozen=True, slots=True)
class FixedTimeout:
    """A time-out that never changes: `inf` never sprints, 0 sprints always until the bucket is empty."""

    after: Seconds
    clock: TriggerClock = TriggerClock.ARRIVAL

    def choose(self, view: View, estimates: Mapping[str, Estimate], *, hurry: bool) -> Trigger:
        """The same trigger every time; it needs no model and so no trust."""
        if self.after == FOREVER:
            sentence = "Never sprint."
        elif self.after <= 0:
            sentence = "Always sprint until the bucket is empty."
        else:
            sentence = f"Sprint a job {self.after:.3g} s after its {self.clock.value.lower()}."
        return Trigger(
            after=self.after, clock=self.clock, needs_trust=False, basis="Fixed", sentence=sentence
        )


def decide(
    view: View, estimates: Mapping[str, Estimate], trigger: Trigger, withheld: Reason | None
) -> list[Decision]:
    """One decision for every running job, the oldest first.

    Args:
        view: what is known now.
        estimates: by job name.
        trigger: what the strategy chose.
        withheld: why no sprint may start or go on at all (mode, pause, stopping), if so.
    """
    return [_decide_one(view, job, estimates.get(job.name), trigger, withheld) for job in view.running()]


def _decide_one(
    view: View, job: JobView, estimate: Estimate | None, trigger: Trigger, withheld: Reason | None
) -> Decision:
    sprinting = job.name in view.grants
    at = trigger.instant(job)
    inputs: dict[str, float | str | None] = {
        "trigger_in_seconds": None if at == FOREVER else at - view.now,
        "level_core_seconds": view.bucket.physical_level(),
        "remaining_base_seconds": estimate.remaining if estimate else None,
        "speed_up": estimate.rate if estimate else None,
        "basis": estimate.basis.value if estimate else None,
        "finished_of_kind": float(estimate.samples) if estimate else None,
        "node_drift": estimate.drift if estimate else None,
        "learned_factor": estimate.learned if estimate else None,
        "queued": float(len(view.queued())),
    }
    verb, reason, sentence, look = _rule(view, job, estimate, trigger, withheld, at=at, sprinting=sprinting)
    return Decision(job=job.name, verb=verb, reason=reason, sentence=sentence, inputs=inputs, next_look=look)


_Ruling = tuple[Verb, Reason, str, Seconds | None]


def _rule(
    view: View,
    job: JobView,
    estimate: Estimate | None,
    trigger: Trigger,
    withheld: Reason | None,
    *,
    at: Seconds,
    sprinting: bool,
) -> _Ruling:
    stop = Verb.RELEASE if sprinting else Verb.HOLD
    if withheld is not None:
        return stop, withheld, f"{job.name} stays at base: {_WITHHELD.get(withheld, withheld.value)}.", None
    if not job.selected:
        return stop, Reason.NOT_SELECTED, f"{job.name} is not selected by the policy.", None
    distrust = _distrust(job, estimate, trigger)
    if distrust is not None:
        return stop, distrust[0], distrust[1], None
    if view.now < at:
        return stop, *_before_trigger(view, job, trigger, at)
    why = trigger.own.get(job.name)
    reason = why.reason if why else Reason.TRIGGER_REACHED
    because = why.sentence if why else trigger.sentence
    if sprinting:
        if view.bucket.physical_level() > 0:
            return Verb.SPRINT, reason, f"{job.name} goes on sprinting. {because}", None
        return (
            Verb.RELEASE,
            Reason.BUDGET_EXHAUSTED,
            f"{job.name} returns to base: the bucket is empty.",
            None,
        )
    if view.bucket.holds_threshold(view.cost_rate):
        return Verb.SPRINT, reason, f"{job.name} starts to sprint. {because}", None
    return Verb.HOLD, *_budget_short(view, job)


def _before_trigger(
    view: View, job: JobView, trigger: Trigger, at: Seconds
) -> tuple[Reason, str, Seconds | None]:
    if job.name in trigger.own:
        own = trigger.own[job.name]
        return own.reason, own.sentence, (None if at == FOREVER else at)
    if at == FOREVER:
        return Reason.NEVER, f"{job.name} stays at base. {trigger.sentence}", None
    wait = at - view.now
    return Reason.BEFORE_TRIGGER, f"{job.name} may sprint in {wait:.2f} s. {trigger.sentence}", at


def _budget_short(view: View, job: JobView) -> tuple[Reason, str, Seconds | None]:
    look = view.bucket.time_of_threshold(view.cost_rate)
    level, needed = view.bucket.physical_level(), view.bucket.budget.threshold(view.cost_rate)
    sentence = f"{job.name} waits: the bucket holds {level:.2f} core-seconds and a sprint needs {needed:.2f}."
    return Reason.BUDGET_SHORT, sentence, (None if look == FOREVER else look)


def _distrust(job: JobView, estimate: Estimate | None, trigger: Trigger) -> tuple[Reason, str] | None:
    """Why a model's choice may not touch this job, if so (invariant 7)."""
    if not trigger.needs_trust:
        return None
    if estimate is None or (estimate.stale and not estimate.trusted):
        return Reason.STALE, f"{job.name} stays at base: its CPU time was not read recently enough."
    if not estimate.trusted:
        sentence = (
            f"{job.name} stays at base: kind {job.kind} has no measured profile and fewer than 3 finished "
            "jobs, so its forecast is not trusted; measure one with `kubesprint profile`."
        )
        return Reason.UNTRUSTED, sentence
    return None


_WITHHELD = {
    Reason.MODE_OBSERVE: "the policy only observes",
    Reason.MODE_RECOMMEND: "the policy only recommends",
    Reason.PAUSED: "the policy is paused",
    Reason.STOPPING: "the run is ending",
    Reason.NO_KEEPER: "no keeper holds the knobs",
    Reason.JOURNAL_UNWRITABLE: "what is needed after a crash cannot be written (journal, budget level)",
    Reason.STALE_EPOCH: "the keeper obeys a newer engine",
    Reason.REJECTED: "the keeper refused what it was last told",
}
