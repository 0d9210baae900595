"""What is decided, turn by turn, as tables: trigger, budget, and what takes precedence over what."""

import pytest

from kubesprint.core.decision import Decision, Verb
from kubesprint.core.forecast import Basis, Estimate
from kubesprint.core.policy import FixedTimeout, JobTrigger, Trigger, decide
from kubesprint.core.reasons import Reason
from kubesprint.core.simulation import TriggerClock
from kubesprint.core.units import FOREVER
from kubesprint.core.view import View
from storyboards import measured, queued, rows, running, view

HALF = FixedTimeout(0.5)


def told(view_: View, trigger: Trigger, withheld: Reason | None = None) -> dict[str, str]:
    """Job to "Verb Reason"."""
    return {d.job: f"{d.verb.value} {d.reason.value}" for d in decide(view_, {}, trigger, withheld)}


def only(view_: View, trigger: Trigger, withheld: Reason | None = None) -> Decision:
    (decision,) = decide(view_, {}, trigger, withheld)
    return decision


def test_a_job_from_its_arrival_to_an_empty_bucket_and_back() -> None:
    """Time-out 0.5 s, threshold 0.2 core-seconds; the job holds a grant once it has started to sprint."""
    story = """
        now | level | grants | decision
        0.0 | 10    |        | Hold BeforeTrigger
        0.4 |       |        | Hold BeforeTrigger
        0.5 |       |        | Sprint TriggerReached
        0.6 |       | a      | Sprint TriggerReached
        9.0 | 0.1   |        | Sprint TriggerReached
        9.1 | 0     |        | Release BudgetExhausted
    """
    for row in rows(story):
        seen = view(running("a"), now=float(row["now"]), level=float(row["level"]), sprint=row["grants"])
        assert told(seen, HALF.choose(seen, {}, hurry=False)) == {"a": row["decision"]}, row
    after = """
        now  | level | decision
        9.2  | 0     | Hold BudgetShort
        9.5  | 0.19  | Hold BudgetShort
        9.6  | 0.2   | Sprint TriggerReached
    """
    for row in rows(after):
        seen = view(running("a"), now=float(row["now"]), level=float(row["level"]))
        assert told(seen, HALF.choose(seen, {}, hurry=False)) == {"a": row["decision"]}, row


def test_the_clock_of_a_trigger_counts_from_arrival_or_from_start() -> None:
    story = """
        now | clock   | decision
        3.9 | Arrival | Hold BeforeTrigger
        4.0 | Arrival | Sprint TriggerReached
        4.0 | Start   | Hold BeforeTrigger
        5.9 | Start   | Hold BeforeTrigger
        6.0 | Start   | Sprint TriggerReached
    """
    for row in rows(story):
        seen = view(running("a", arrival=1.0, start=3.0), now=float(row["now"]))
        trigger = FixedTimeout(3.0, TriggerClock(row["clock"])).choose(seen, {}, hurry=False)
        assert told(seen, trigger) == {"a": row["decision"]}, row


def test_two_jobs_share_one_bucket() -> None:
    """b arrived one second after a; both may sprint 2 s after their arrival, as long as the bucket holds."""
    story = """
        now | level | grants | a                        | b
        1.9 | 1     |        | Hold BeforeTrigger       | Hold BeforeTrigger
        2.0 |       |        | Sprint TriggerReached    |
        2.5 | 0.5   | a      |                          |
        3.0 | 0.1   |        |                          | Hold BudgetShort
        3.0 | 0.2   |        |                          | Sprint TriggerReached
        3.1 | 0     | a b    | Release BudgetExhausted  | Release BudgetExhausted
        3.2 | 0.3   | b      | Sprint TriggerReached    | Sprint TriggerReached
    """
    for row in rows(story):
        seen = view(
            running("a"),
            running("b", "slot1", arrival=1.0),
            now=float(row["now"]),
            level=float(row["level"]),
            sprint=row["grants"],
            servers=2,
        )
        trigger = FixedTimeout(2.0).choose(seen, {}, hurry=False)
        assert told(seen, trigger) == {"a": row["a"], "b": row["b"]}, row


@pytest.mark.parametrize(
    "reason",
    [
        Reason.MODE_OBSERVE,
        Reason.PAUSED,
        Reason.STOPPING,
        Reason.NO_KEEPER,
        Reason.JOURNAL_UNWRITABLE,
        Reason.STALE_EPOCH,
        Reason.REJECTED,
    ],
)
def test_what_is_withheld_comes_before_everything_else_and_is_said_in_words(reason: Reason) -> None:
    always = FixedTimeout(0.0).choose(view(), {}, hurry=False)
    holding = only(view(running("a")), always, reason)
    assert (holding.verb, holding.reason, holding.next_look) == (Verb.HOLD, reason, None)
    assert only(view(running("a"), sprint="a"), always, reason).verb is Verb.RELEASE
    assert reason.value not in holding.sentence  # a sentence, not a code
    assert holding.sentence.startswith("a stays at base: ")


def test_a_job_that_is_not_selected_any_more_returns_to_base() -> None:
    always = FixedTimeout(0.0).choose(view(), {}, hurry=False)
    decision = only(view(running("a", selected=False), sprint="a"), always)
    assert (decision.verb, decision.reason) == (Verb.RELEASE, Reason.NOT_SELECTED)


def test_a_later_time_out_ends_a_sprint() -> None:
    seen = view(running("a"), now=2.0, sprint="a")
    decision = only(seen, FixedTimeout(5.0).choose(seen, {}, hurry=False))
    assert (decision.verb, decision.reason, decision.next_look) == (Verb.RELEASE, Reason.BEFORE_TRIGGER, 5.0)


def test_a_decision_says_when_it_is_worth_taking_again() -> None:
    before = view(running("a"))
    assert only(before, HALF.choose(before, {}, hurry=False)).next_look == 0.5
    short = view(running("a"), now=1.0, level=0.1, refill=0.05)
    assert only(short, HALF.choose(short, {}, hurry=False)).next_look == pytest.approx(3.0)
    dry = view(running("a"), now=1.0, level=0.1)
    assert only(dry, HALF.choose(dry, {}, hurry=False)).next_look is None
    never = FixedTimeout(FOREVER).choose(before, {}, hurry=False)
    assert (only(before, never).reason, only(before, never).next_look) == (Reason.NEVER, None)


def test_a_trigger_of_its_own_comes_before_the_time_out_for_all() -> None:
    own = JobTrigger(at=4.0, reason=Reason.DEADLINE_AT_RISK, sentence="It would be late.")
    trigger = Trigger(
        after=0.0,
        clock=TriggerClock.ARRIVAL,
        needs_trust=False,
        basis="Test",
        sentence="Always.",
        own={"a": own},
    )
    seen = view(running("a"), running("b", "slot1"), now=3.0, servers=2)
    assert told(seen, trigger) == {"a": "Hold DeadlineAtRisk", "b": "Sprint TriggerReached"}
    later = view(running("a"), now=4.0)
    assert only(later, trigger).sentence == "a starts to sprint. It would be late."


def test_a_decision_carries_the_inputs_it_was_taken_on() -> None:
    seen = view(running("a"), queued("b"), queued("c"), now=0.25, level=7.0)
    estimate = Estimate(
        job="a", remaining=3.0, deviation=0.0, rate=1.5, trusted=True, stale=False, basis=Basis.PROFILE
    )
    (decision,) = decide(seen, {"a": estimate}, HALF.choose(seen, {}, hurry=False), None)
    assert decision.inputs == {
        "trigger_in_seconds": 0.25,
        "level_core_seconds": 7.0,
        "remaining_base_seconds": 3.0,
        "speed_up": 1.5,
        "basis": "Profile",
        "finished_of_kind": 0.0,
        "node_drift": 1.0,
        "learned_factor": 1.0,
        "queued": 2.0,
    }
    assert decision.sentence == "a may sprint in 0.25 s. Sprint a job 0.5 s after its arrival."


def test_fixed_time_outs_say_what_they_are() -> None:
    sentences = [
        FixedTimeout(after).choose(view(), {}, hurry=False).sentence for after in (FOREVER, 0.0, 2.5)
    ]
    assert sentences == [
        "Never sprint.",
        "Always sprint until the bucket is empty.",
        "Sprint a job 2.5 s after its arrival.",
    ]
    assert not FixedTimeout(1.0).choose(view(), {}, hurry=True).needs_trust


def test_who_is_not_trusted_is_told_how_to_become_so() -> None:
    trigger = Trigger(after=0.0, clock=TriggerClock.ARRIVAL, needs_trust=True, basis="M", sentence="Now.")
    prior = Estimate(
        job="a", remaining=1.0, deviation=1.0, rate=2.0, trusted=False, stale=False, basis=Basis.PRIOR
    )
    (decision,) = decide(view(running("a", kind="odd")), {"a": prior}, trigger, None)
    assert decision.reason is Reason.UNTRUSTED
    assert "kind odd has no measured profile and fewer than 3 finished jobs" in decision.sentence
    assert "kubesprint profile" in decision.sentence
    (decision,) = decide(view(running("a")), {}, trigger, None)
    assert decision.reason is Reason.STALE


def test_measured_models_are_trusted() -> None:
    assert measured().trusted
