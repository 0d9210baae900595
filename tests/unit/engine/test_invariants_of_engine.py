"""The safety invariants that the engine keeps, by their numbers in the architecture's list."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine_bench import ALWAYS, BASE, SPRINT, EngineBench, finished, measured, queued, running
from kubesprint.adapters.virtual.machine import VirtualJob, VirtualMachine
from kubesprint.core.budget import Budget, RefillRule, full
from kubesprint.core.deadline import LeastSprint
from kubesprint.core.decision import Decision, Verb
from kubesprint.core.forecast import Forecaster
from kubesprint.core.policy import FixedTimeout, JobTrigger, Trigger
from kubesprint.core.reasons import Reason
from kubesprint.core.simulation import TriggerClock
from kubesprint.core.spec import Mode
from kubesprint.core.units import FOREVER
from kubesprint.core.workload import Reading
from kubesprint.engine.engine import Engine, EngineSettings
from kubesprint.engine.turn import SprintSpan

# 5. Observe and Recommend write nothing but our own objects


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.RECOMMEND])
def test_invariant_5_a_mode_that_only_looks_publishes_nothing_and_leaves_the_purse_alone(mode: Mode) -> None:
    bench = EngineBench(running("a"), queued("b"), mode=mode)
    for now in (0.0, 1.0, 2.0):
        bench.turn(now)
    bench.engine.release("a")
    bench.engine.listen()
    bench.turn(3.0, finished(running("a"), 3.0), running("b"))
    bench.engine.lose_keeper()
    bench.turn(4.0)

    assert bench.log == []
    assert bench.engine.bucket.level == 20.0
    assert not [d for turn in bench.turns for d in turn.decisions if d.verb is not Verb.HOLD]


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.RECOMMEND])
def test_invariant_5_a_decision_that_slipped_through_is_still_not_published(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    sprint = Decision(job="a", verb=Verb.SPRINT, reason=Reason.TRIGGER_REACHED, sentence="", inputs={})
    monkeypatch.setattr("kubesprint.engine.engine.decide", lambda *_: [sprint])
    monkeypatch.setattr("kubesprint.engine.engine._as_advice", lambda decision: decision)
    bench = EngineBench(running("a"), mode=mode)
    assert bench.turn().decisions == [sprint]
    assert bench.log == []


def test_invariant_5_recommend_says_what_enforce_would_do() -> None:
    advice = EngineBench(running("a"), mode=Mode.RECOMMEND).turn().decisions[0]
    assert advice.reason is Reason.MODE_RECOMMEND
    assert advice.sentence == "Would act: a starts to sprint. Always sprint until the bucket is empty."


def test_invariant_5_observe_says_that_it_only_observes() -> None:
    decision = EngineBench(running("a"), mode=Mode.OBSERVE).turn().decisions[0]
    assert (decision.verb, decision.reason) == (Verb.HOLD, Reason.MODE_OBSERVE)


# 6. Granted sprint never exceeds the budget over any window


def _spans(machine: VirtualMachine) -> list[SprintSpan]:
    return [span for turn in machine.turns for span in turn.ended]


def _excess(spans: list[SprintSpan], budget: Budget, rate: float) -> float:
    """The most by which any window exceeds capacity and refill; windows that matter begin and end at spans.

    Under the paused rule a window refills only while nothing sprints.
    """
    worst = -budget.capacity
    for start in {span.start for span in spans}:
        for end in {span.end for span in spans if span.end is not None and span.end > start}:
            inside = [(max(start, s.start), min(end, s.end or end)) for s in spans]
            used = rate * sum(max(0.0, b - a) for a, b in inside)
            refilling = end - start
            if budget.while_sprinting is RefillRule.PAUSED:
                refilling -= _covered([(a, b) for a, b in inside if b > a])
            worst = max(worst, used - budget.capacity - budget.refill * refilling)
    return worst


def _covered(intervals: list[tuple[float, float]]) -> float:
    total, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


_JOBS = st.lists(
    st.tuples(st.floats(0.0, 30.0), st.floats(0.05, 12.0), st.floats(1.0, 3.0)), min_size=1, max_size=8
)


@settings(max_examples=60, deadline=None)
@given(
    jobs=_JOBS,
    slots=st.integers(1, 3),
    capacity=st.sampled_from([0.3, 2.0, 8.0]),
    refill=st.sampled_from([0.0, 0.1, 0.5, 1.5]),
    rule=st.sampled_from(RefillRule),
    timeout=st.sampled_from([0.0, 1.0, 4.0]),
    lease=st.sampled_from([0.5, 5.0]),
    clock=st.sampled_from(TriggerClock),
)
def test_invariant_6_sprints_as_read_back_stay_within_the_budget_over_any_window(
    jobs: list[tuple[float, float, float]],
    slots: int,
    capacity: float,
    refill: float,
    rule: RefillRule,
    timeout: float,
    lease: float,
    clock: TriggerClock,
) -> None:
    budget = Budget(capacity=capacity, refill=refill, while_sprinting=rule)
    machine = VirtualMachine(
        [
            VirtualJob(name=f"j{i}", kind="fit", arrival=arrival, work=work, rate=rate)
            for i, (arrival, work, rate) in enumerate(jobs)
        ],
        slots,
        BASE,
    )
    engine = Engine(
        EngineSettings(
            run="r", epoch=1, mode=Mode.ENFORCE, base=BASE, sprint=SPRINT, servers=slots, lease=lease
        ),
        clock=machine,
        workloads=machine,
        nodes=machine,
        purse=machine,
        recorder=machine,
        forecaster=Forecaster({}, BASE, SPRINT),
        strategy=FixedTimeout(timeout, clock),
        bucket=full(budget, 0.0),
    )
    done = machine.run(engine)

    assert len(done) == len(jobs)
    spans = _spans(machine)
    assert _excess(spans, budget, SPRINT.cost_rate(BASE)) <= 1e-6
    if timeout == 0.0:
        assert spans


def test_invariant_6_the_level_is_durable_before_a_grant_leaves() -> None:
    bench = EngineBench(running("a"))
    bench.turn()
    assert [kind for kind, _ in bench.log] == ["save", "publish"]
    saved = bench.log[0][1]
    assert saved.level == 15.0  # the whole lease is paid for


def test_invariant_6_the_lease_that_leaves_is_shorter_than_what_was_paid_for() -> None:
    bench = EngineBench(running("a"))
    bench.turn()
    assert bench.leases()["slot0"] < 5.0


def test_invariant_6_a_sprint_that_ran_on_beyond_its_lease_is_a_debt() -> None:
    bench = EngineBench(running("a"), capacity=4.0)
    grant = bench.turn(0.0).directive.grants[0].grant
    bench.read_back(grant=grant)
    bench.turn(3.9)  # renewed with what is left: until 4.0
    bench.read_back(grant=None, at=7.0, outcome=Reason.LEASE_ENDED)
    turn = bench.turn(7.0)

    assert turn.ended[0].cost == 7.0
    assert bench.engine.bucket.debt == pytest.approx(3.0)


def test_invariant_6_a_lapsed_lease_is_not_renewed_and_its_overrun_is_charged() -> None:
    bench = EngineBench(running("a"), capacity=20.0)
    first = bench.turn(0.0).directive.grants[0].grant
    bench.read_back(grant=first)
    bench.turn(0.5)
    turn = bench.turn(9.0)  # the engine was away for longer than the lease, and nobody has read back
    second = turn.directive.grants[0].grant
    assert second != first
    bench.read_back(grant=second, at=9.25)
    ended = bench.turn(9.25).ended

    assert [(span.grant, span.end, span.reason) for span in ended] == [(first, 9.25, Reason.LEASE_ENDED)]
    used = bench.engine.bucket.budget.capacity - bench.engine.bucket.physical_level()
    assert used >= 9.25


def test_invariant_6_a_late_return_is_charged_from_the_moment_its_grant_was_let_go() -> None:
    bench = EngineBench(running("a"), capacity=20.0)
    bench.read_back(grant=bench.turn(0.0).directive.grants[0].grant)
    bench.turn(1.0)
    bench.engine.release("a")
    assert bench.engine.bucket.level == pytest.approx(19.0)
    bench.read_back(grant=None, at=3.0)
    bench.turn(3.0, finished(running("a"), 1.0))
    assert bench.engine.bucket.level == pytest.approx(17.0)


def test_invariant_6_a_paused_bucket_does_not_refill_during_an_overrun() -> None:
    bench = EngineBench(running("a"), capacity=20.0, refill=0.5)
    bench.read_back(grant=bench.turn(0.0).directive.grants[0].grant)
    bench.turn(5.0 - 0.01)
    bench.engine.release("a")
    level = bench.engine.bucket.level
    bench.read_back(grant=None, at=7.0)
    bench.turn(7.0, finished(running("a"), 5.0))
    assert bench.engine.bucket.level <= level - 2.0


def test_invariant_6_a_paused_bucket_does_not_refill_before_a_lease_that_ended_between_two_turns() -> None:
    bench = EngineBench(running("a"), capacity=20.0, refill=1.0)
    bench.read_back(grant=bench.turn(0.0).directive.grants[0].grant)
    bench.turn(0.1)
    bench.read_back(grant=None, at=4.9, outcome=Reason.LEASE_ENDED)
    bench.engine.stopping = True
    bench.turn(4.95)
    assert bench.engine.bucket.level == pytest.approx(20.0 - 4.9 + 0.05)


def test_invariant_6_a_debt_blocks_new_grants_until_the_refill_has_repaid_it() -> None:
    bench = EngineBench(running("a"), capacity=4.0, refill=1.0)
    grant = bench.turn(0.0).directive.grants[0].grant
    bench.read_back(grant=grant)
    bench.turn(0.1)
    bench.read_back(grant=None, at=7.0, outcome=Reason.LEASE_ENDED)  # three beyond the lease
    turn = bench.turn(7.0)
    assert turn.decisions[0].reason is Reason.BUDGET_SHORT
    assert "-3.00 core-seconds" in turn.decisions[0].sentence
    repaid = turn.decisions[0].next_look
    assert repaid == pytest.approx(7.0 + 3.0 + 0.2)

    assert bench.turn(repaid - 0.05).decisions[0].verb is Verb.HOLD
    assert bench.turn(repaid + 0.001).decisions[0].verb is Verb.SPRINT


@settings(max_examples=60, deadline=None)
@given(
    delays=st.lists(st.floats(0.0, 3.0), min_size=1, max_size=12),
    capacity=st.sampled_from([2.0, 8.0]),
    refill=st.sampled_from([0.0, 0.5]),
    rule=st.sampled_from(RefillRule),
)
def test_invariant_6_whatever_a_late_keeper_uses_is_paid_for_in_the_end(
    delays: list[float], capacity: float, refill: float, rule: RefillRule
) -> None:
    """A keeper that returns late: what all sprints used is never more than what left the bucket."""
    bench = EngineBench(running("a"), capacity=capacity, refill=refill, rule=rule)
    used, now, idle = 0.0, 0.0, 0.0
    for delay in delays:
        directive = bench.turn(now).directive
        if directive is None or not directive.grants:
            now, idle = now + 1.0, idle + 1.0
            continue
        grant = directive.grants[0]
        bench.read_back(grant=grant.grant)
        bench.turn(now)
        end = now + grant.lease + delay
        bench.read_back(grant=None, at=end, outcome=Reason.LEASE_ENDED)
        bench.engine.stopping = True
        bench.turn(end)
        bench.engine.stopping = False
        used, now = used + end - now, end
    bench.turn(now)
    refilled = refill * (idle if rule is RefillRule.PAUSED else now)
    assert used <= capacity + refilled - bench.engine.bucket.physical_level() + 1e-6


# 7. Unknown, stale or untrusted input can end a sprint, never start one


class ByModel:
    """A strategy that says: sprint everything now, and that a model says so."""

    def choose(self, view: object, estimates: object, *, hurry: bool) -> Trigger:
        return Trigger(
            after=0.0,
            clock=TriggerClock.ARRIVAL,
            needs_trust=True,
            basis="Model",
            sentence="The model says so.",
        )


BAD_INPUTS = {
    "no CPU reading": (running("a", cpu=None), Reason.STALE),
    "an old CPU reading": (replace(running("a"), cpu=Reading(value=1.0, age=11.0)), Reason.STALE),
    "an unknown kind": (running("a", kind="unheard-of"), Reason.UNTRUSTED),
}


@pytest.mark.parametrize(("job", "reason"), BAD_INPUTS.values(), ids=BAD_INPUTS)
def test_invariant_7_bad_input_starts_no_sprint(job: object, reason: Reason) -> None:
    bench = EngineBench(job, strategy=ByModel())
    decision = bench.turn().decisions[0]
    assert (decision.verb, decision.reason) == (Verb.HOLD, reason)
    assert bench.log == []


@pytest.mark.parametrize(("job", "reason"), BAD_INPUTS.values(), ids=BAD_INPUTS)
def test_invariant_7_bad_input_ends_a_sprint(job: object, reason: Reason) -> None:
    bench = EngineBench(running("a"), strategy=ByModel())
    assert bench.turn().decisions[0].verb is Verb.SPRINT
    decision = bench.turn(1.0, job).decisions[0]
    assert (decision.verb, decision.reason) == (Verb.RELEASE, reason)
    assert bench.directives()[-1].grants == ()


@pytest.mark.parametrize("job", [job for job, _ in BAD_INPUTS.values()], ids=BAD_INPUTS)
def test_invariant_7_a_fixed_time_out_needs_no_model(job: object) -> None:
    assert EngineBench(job, strategy=ALWAYS).turn().decisions[0].verb is Verb.SPRINT


def test_invariant_7_the_deadline_strategy_needs_trust() -> None:
    job = running("a", kind="unheard-of", deadline=0.9)
    decision = EngineBench(job, strategy=LeastSprint()).turn().decisions[0]
    assert (decision.verb, decision.reason) == (Verb.HOLD, Reason.UNTRUSTED)


def test_invariant_7_a_kind_without_a_profile_is_trusted_after_three_finished_jobs() -> None:
    done = [finished(running(f"d{i}", kind="new", slot=None), end=10.0 + i, cpu=10.0 + i) for i in range(3)]
    bench = EngineBench(*done[:2], running("a", kind="new"), strategy=ByModel(), kinds=())
    bench.clock.advance_to(20.0)
    assert bench.turn().decisions[0].reason is Reason.UNTRUSTED
    assert bench.turn(21.0, *done, running("a", kind="new")).decisions[0].verb is Verb.SPRINT


def test_invariant_7_failed_jobs_teach_nothing() -> None:
    failed = [replace(finished(running(f"d{i}", kind="new"), 10.0), succeeded=False) for i in range(5)]
    bench = EngineBench(*failed, running("a", kind="new"), strategy=ByModel(), kinds=())
    assert bench.turn(20.0).decisions[0].reason is Reason.UNTRUSTED


def test_invariant_7_an_incomplete_inventory_decides_nothing() -> None:
    bench = EngineBench(running("a"))
    bench.synced = False
    turn = bench.turn()
    assert (turn.view, turn.troubles) == (None, (Reason.NOT_SYNCED.value,))
    assert bench.log == []


def test_invariant_7_a_job_outside_the_selector_never_sprints() -> None:
    decision = EngineBench(running("a", selected=False)).turn().decisions[0]
    assert (decision.verb, decision.reason) == (Verb.HOLD, Reason.NOT_SELECTED)


def test_invariant_7_a_trigger_of_its_own_does_not_lend_trust() -> None:
    class Own(ByModel):
        def choose(self, view: object, estimates: object, *, hurry: bool) -> Trigger:
            mine = JobTrigger(at=0.0, reason=Reason.DEADLINE_AT_RISK, sentence="Now.")
            return replace(super().choose(view, estimates, hurry=hurry), after=FOREVER, own={"a": mine})

    assert (
        EngineBench(running("a"), strategy=Own(), kinds=[measured()]).turn().decisions[0].verb is Verb.SPRINT
    )
    assert EngineBench(running("a"), strategy=Own(), kinds=[]).turn().decisions[0].verb is Verb.HOLD
