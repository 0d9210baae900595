"""Deadlines: no sprint that is not needed, none too late, none for what is lost, and all of it said."""

import pytest

from kubesprint.core.deadline import EARLY, LeastSprint
from kubesprint.core.policy import JobTrigger
from kubesprint.core.reasons import Reason
from kubesprint.core.units import FOREVER
from kubesprint.core.view import View
from storyboards import estimates, measured, queued, rows, running, view

MODELS = {
    "fit": measured(work=10.0, rate=2.0),
    "loose": measured("loose", work=10.0, rate=2.0, deviation=2.0),
    "odd": measured("odd", work=10.0, rate=1.0),
}


def triggers(seen: View) -> dict[str, JobTrigger]:
    trigger = LeastSprint().choose(seen, estimates(seen.jobs, MODELS), hurry=False)
    assert (trigger.after, trigger.needs_trust) == (FOREVER, True)
    return dict(trigger.own)


def test_one_job_of_ten_seconds_that_a_sprint_halves() -> None:
    """`at`: when it has to start so as to be over `EARLY` (0.1 s) before its deadline."""
    story = """
        deadline | reason             | at
        12       | OnTime             | inf
        10       | OnTime             | inf
        9.9      | DeadlineAtRisk     | 4.8
        8        | DeadlineAtRisk     | 2.9
        5.1      | DeadlineAtRisk     | 0
        5.0      | DeadlineAtRisk     | 0
        4.9      | CannotMeetDeadline | inf
    """
    for row in rows(story):
        own = triggers(view(running("a", deadline=float(row["deadline"]))))["a"]
        assert own.reason.value == row["reason"], row
        assert own.at == pytest.approx(float(row["at"])), row


def test_a_job_on_its_way_to_a_deadline_after_eight_seconds() -> None:
    """What it still has to do shows in its CPU seconds; OVERTIME_SHARE leaves the last tenth open."""
    story = """
        now | cpu | grants | reason             | at
        0   | 0   |        | DeadlineAtRisk     | 2.9
        2   | 2   |        | DeadlineAtRisk     | 3.9
        2   | 4   |        | OnTime             | inf
        2   | 0   |        | DeadlineAtRisk     | 2.9
        2.9 | 0   |        | DeadlineAtRisk     | 2.9
        3.1 | 0   |        | CannotMeetDeadline | inf
        4   | 3   |        | DeadlineAtRisk     | 4.4
        4.4 | 3.4 |        | DeadlineAtRisk     | 4.6
        4.6 | 3.6 | a      | DeadlineAtRisk     | 4.6
        6   | 6   |        | DeadlineAtRisk     | 6
        6   | 8   |        | OnTime             | inf
        7.9 | 5   |        | DeadlineAtRisk     | 7.9
        8.1 | 9   |        | CannotMeetDeadline | inf
    """
    for row in rows(story):
        job = running("a", cpu=float(row["cpu"]), deadline=8.0)
        own = triggers(view(job, now=float(row["now"]), sprint=row["grants"]))["a"]
        assert own.reason.value == row["reason"], row
        assert own.at == pytest.approx(float(row["at"])), row


def test_what_cannot_be_met_is_said_with_how_late_it_would_be() -> None:
    own = triggers(view(running("a", deadline=4.0)))["a"]
    assert own.sentence == "a cannot meet its deadline: sprinting all the way it would be 1.00 s late."


def test_the_spread_of_a_kind_is_planned_for() -> None:
    sure = triggers(view(running("a", deadline=11.0)))["a"]
    unsure = triggers(view(running("a", kind="loose", deadline=11.0)))["a"]
    assert sure.reason is Reason.ON_TIME
    assert (unsure.reason, unsure.at) == (Reason.DEADLINE_AT_RISK, pytest.approx(11.0 - EARLY - 6.0))


def test_a_job_without_a_deadline_before_nobody_never_sprints() -> None:
    own = triggers(view(running("a"), queued("b")))["a"]
    assert (own.at, own.reason) == (FOREVER, Reason.ON_TIME)


def test_a_deadline_in_the_queue_makes_the_running_job_sprint() -> None:
    """b needs 5 s of sprint and must be over at 13: so a must be over at 8."""
    own = triggers(view(running("a"), queued("b", deadline=13.0)))["a"]
    assert (own.reason, own.at) == (Reason.DEADLINE_AT_RISK, pytest.approx(8.0 - EARLY - 5.0))
    assert "a would miss a deadline behind it by 2.00 s" in own.sentence
    easy = triggers(view(running("a"), queued("b", deadline=15.0)))["a"]
    assert easy.reason is Reason.ON_TIME


def test_a_deadline_further_back_counts_everything_before_it() -> None:
    own = triggers(view(running("a"), queued("b"), queued("c", deadline=18.0)))["a"]
    assert own.at == pytest.approx(18.0 - 10.0 - EARLY - 5.0)


def test_a_job_behind_that_gains_nothing_from_a_sprint_counts_at_base_speed() -> None:
    own = triggers(view(running("a"), queued("b", kind="odd", deadline=18.0)))["a"]
    assert own.at == pytest.approx(8.0 - EARLY - 5.0)


def test_a_deadline_that_is_lost_behind_does_not_cost_the_running_job_its_own() -> None:
    own = triggers(view(running("a", deadline=8.0), queued("b", deadline=3.0)))["a"]
    assert (own.reason, own.at) == (Reason.DEADLINE_AT_RISK, pytest.approx(8.0 - EARLY - 5.0))
    assert "its deadline" in own.sentence


def test_of_two_deadlines_that_can_be_met_the_tighter_one_counts() -> None:
    for own_deadline, behind in ((20.0, 13.0), (8.0, 30.0)):
        seen = view(running("a", deadline=own_deadline), queued("b", deadline=behind))
        assert triggers(seen)["a"].at == pytest.approx(8.0 - EARLY - 5.0)


def test_on_two_servers_a_queued_job_leans_on_the_one_that_is_free_first() -> None:
    """a has 10 s left and b 4 s: c follows b, and c's deadline is b's business only."""
    seen = view(running("a"), running("b", "slot1", cpu=6.0), queued("c", deadline=8.0), servers=2)
    own = triggers(seen)
    assert own["a"].reason is Reason.ON_TIME
    assert (own["b"].reason, own["b"].at) == (Reason.DEADLINE_AT_RISK, pytest.approx(3.0 - EARLY - 2.0))


def test_on_two_servers_the_second_in_the_queue_follows_whoever_is_free_then() -> None:
    """b ends at 4, then c at 14; so d follows a, which ends at 10."""
    seen = view(
        running("a"),
        running("b", "slot1", cpu=6.0),
        queued("c"),
        queued("d", deadline=13.0),
        servers=2,
    )
    own = triggers(seen)
    assert own["b"].reason is Reason.ON_TIME
    assert (own["a"].reason, own["a"].at) == (Reason.DEADLINE_AT_RISK, pytest.approx(8.0 - EARLY - 5.0))


def test_a_sprint_that_has_begun_goes_on_until_its_deadline_has_passed() -> None:
    late = view(running("a", cpu=5.0, deadline=8.0), now=7.0, sprint="a")  # 2.5 s left, 1 s to go
    assert (triggers(late)["a"].reason, triggers(late)["a"].at) == (Reason.DEADLINE_AT_RISK, 7.0)
    passed = view(running("a", cpu=6.0, deadline=8.0), now=8.01, sprint="a")
    assert (triggers(passed)["a"].reason, triggers(passed)["a"].at) == (Reason.CANNOT_MEET_DEADLINE, FOREVER)
    lucky = view(running("a", cpu=9.5, deadline=8.0), now=5.0, sprint="a")
    assert triggers(lucky)["a"].reason is Reason.ON_TIME
