"""One engine, turn by turn: what it publishes, when it renews, what it lets go, whom it believes."""

import pytest

from engine_bench import ALWAYS, EPOCH, RUN, EngineBench, finished, queued, running
from kubesprint.core.decision import Verb
from kubesprint.core.policy import FixedTimeout
from kubesprint.core.reasons import Reason
from kubesprint.core.spec import Mode
from kubesprint.core.units import FOREVER
from kubesprint.engine.ports import Inventory

LEASE = 5.0 - 0.02  # less the margin of the return


def test_a_sprint_is_published_under_the_run_the_epoch_and_a_growing_sequence() -> None:
    bench = EngineBench(running("a"))
    first = bench.turn(0.0).directive
    bench.obey()
    second = bench.turn(1.0).directive
    assert (first.run, first.epoch, first.sequence) == (RUN, EPOCH, 1)
    assert second.sequence == 2
    assert [g.grant for g in second.grants] == [g.grant for g in first.grants]


def test_a_turn_that_has_nothing_new_to_say_publishes_nothing() -> None:
    bench = EngineBench(running("a"))
    bench.turn(0.0)
    bench.obey()
    assert bench.turn(0.5).directive is None
    assert bench.turn(0.89).directive is None
    assert bench.turn(0.9).directive is not None
    idle = EngineBench(running("a"), strategy=FixedTimeout(FOREVER))
    assert [idle.turn(float(now)).directive for now in range(4)] == [None] * 4
    assert idle.log == []


def test_a_renewal_pays_only_for_what_it_adds() -> None:
    bench = EngineBench(running("a"), capacity=20.0)
    bench.turn(0.0)
    bench.obey()
    bench.turn(1.0)
    assert bench.engine.bucket.level == pytest.approx(14.0)
    assert bench.leases() == {"slot0": pytest.approx(LEASE)}


def test_a_lease_is_shortened_to_what_the_bucket_holds() -> None:
    bench = EngineBench(running("a"), capacity=3.0)
    bench.turn(0.0)
    assert bench.leases() == {"slot0": pytest.approx(2.98)}
    assert bench.engine.bucket.level == 0.0


def test_all_sprinters_end_together_whoever_is_older() -> None:
    bench = EngineBench(running("a"), running("b", "slot1", arrival=0.5), capacity=4.0)
    bench.turn(1.0)
    assert bench.leases() == {"slot0": pytest.approx(1.98), "slot1": pytest.approx(1.98)}


def test_a_joiner_shares_what_is_left_and_shortens_the_others_in_the_same_directive() -> None:
    bench = EngineBench(running("a"), capacity=6.0)
    bench.turn(0.0)
    bench.obey()
    turn = bench.turn(2.0, running("a"), running("b", "slot1"))
    assert [d.verb for d in turn.decisions] == [Verb.SPRINT, Verb.SPRINT]
    assert bench.leases() == {"slot0": pytest.approx(1.98), "slot1": pytest.approx(1.98)}


def test_a_joiner_waits_while_the_bucket_holds_less_than_the_threshold() -> None:
    bench = EngineBench(running("a"), capacity=3.0)
    bench.turn(0.0)
    bench.obey()
    turn = bench.turn(2.9, running("a"), running("b", "slot1"))
    assert [(d.job, d.verb) for d in turn.decisions] == [("a", Verb.SPRINT), ("b", Verb.HOLD)]
    assert turn.decisions[1].reason is Reason.BUDGET_SHORT


def test_what_a_lease_did_not_use_comes_back_when_its_job_ends() -> None:
    bench = EngineBench(running("a"), capacity=20.0)
    bench.turn(0.0)
    bench.obey()
    bench.turn(0.5)
    bench.clock.advance_to(0.7)
    bench.engine.release("a")
    assert bench.directives()[-1].grants == ()
    assert bench.engine.bucket.level == pytest.approx(19.3)


def test_what_was_never_raised_comes_back_whole() -> None:
    bench = EngineBench(running("a"), capacity=20.0)
    bench.turn(0.0)
    bench.clock.advance_to(2.0)
    bench.read_back(grant=None, outcome=Reason.REJECTED)
    bench.engine.stopping = True
    turn = bench.turn(2.0)
    assert bench.engine.bucket.level == pytest.approx(20.0)
    assert [(span.cost, span.reason) for span in turn.ended] == [(0.0, Reason.REJECTED)]


def test_a_sprint_that_nobody_saw_rise_is_charged_if_it_may_have_risen() -> None:
    bench = EngineBench(running("a"), capacity=20.0)
    bench.turn(0.0)
    bench.clock.advance_to(2.0)
    bench.read_back(grant=None, outcome=Reason.LEASE_ENDED)
    bench.engine.stopping = True
    turn = bench.turn(2.0)
    assert bench.engine.bucket.level == pytest.approx(18.0)
    assert [(span.start, span.end, span.cost) for span in turn.ended] == [(0.0, 2.0, 2.0)]


def test_releasing_one_of_two_keeps_the_other_and_is_said_at_once() -> None:
    bench = EngineBench(running("a"), running("b", "slot1"))
    bench.turn(0.0)
    bench.obey()
    bench.turn(0.1)
    turns = len(bench.turns)
    bench.engine.release("a")
    assert list(bench.leases()) == ["slot1"]
    assert len(bench.turns) == turns  # without thinking
    assert [kind for kind, _ in bench.log[-2:]] == ["publish", "save"]  # nothing new is granted


def test_releasing_one_of_two_lengthens_no_lease() -> None:
    bench = EngineBench(running("a"), running("b", "slot1"))
    bench.turn(0.0)
    bench.obey()
    before = bench.leases()["slot1"]
    bench.clock.advance_to(0.6)
    bench.engine.release("a")
    assert bench.leases()["slot1"] == pytest.approx(before - 0.6)


def test_a_lease_that_is_over_is_not_handed_over_again() -> None:
    bench = EngineBench(running("a"), running("b", "slot1"))
    bench.turn(0.0)
    bench.obey()
    bench.clock.advance_to(bench.leases()["slot1"] + 0.01)
    bench.engine.release("a")
    assert bench.leases() == {}


def test_releasing_a_job_that_does_not_sprint_says_nothing() -> None:
    bench = EngineBench(running("a"), strategy=FixedTimeout(FOREVER))
    bench.turn(0.0)
    bench.engine.release("a")
    bench.engine.release("unheard-of")
    assert bench.log == []


def test_a_slot_is_not_at_base_until_that_is_read_back() -> None:
    bench = EngineBench(running("a"))
    assert bench.engine.at_base("slot0")
    bench.turn(0.0)
    assert not bench.engine.at_base("slot0")  # it may be raised at any moment
    assert bench.engine.at_base("slot1")
    bench.obey()
    bench.turn(0.5)
    bench.engine.release("a")
    assert not bench.engine.at_base("slot0")
    assert bench.engine.sprint_open("a")
    bench.obey()
    bench.engine.listen()
    assert bench.engine.at_base("slot0")
    assert not bench.engine.sprint_open("a")


def test_a_report_from_before_the_grant_says_nothing_about_it() -> None:
    bench = EngineBench(running("a"))
    bench.turn(0.0)
    bench.read_back(grant=None, sequence=0)
    turn = bench.turn(0.1)
    assert turn.ended == []
    assert not bench.engine.at_base("slot0")
    assert bench.engine.bucket.level == 15.0


def test_a_report_of_an_older_epoch_says_nothing_whatever_its_sequence() -> None:
    bench = EngineBench(running("a"))
    bench.turn(0.0)
    bench.read_back(grant=None, sequence=99, epoch=EPOCH - 1)
    assert bench.turn(0.1).ended == []
    assert not bench.engine.at_base("slot0")


def test_a_report_of_another_run_is_not_read() -> None:
    bench = EngineBench(running("a"))
    bench.turn(0.0)
    bench.read_back(grant=None, run="r0", trouble=Reason.JOURNAL_UNWRITABLE)
    turn = bench.turn(0.1)
    assert (list(turn.ended), list(turn.troubles)) == ([], [])
    assert not bench.engine.at_base("slot0")


def test_an_engine_whose_keeper_obeys_a_newer_one_grants_nothing_more() -> None:
    bench = EngineBench(running("a"))
    bench.turn(0.0)
    bench.read_back(grant=None, sequence=1, epoch=EPOCH + 1)
    turn = bench.turn(0.5)
    assert list(turn.troubles) == [Reason.STALE_EPOCH.value]
    assert [(d.verb, d.reason) for d in turn.decisions] == [(Verb.HOLD, Reason.STALE_EPOCH)]
    assert bench.engine.at_base("slot0")


@pytest.mark.parametrize("trouble", [Reason.JOURNAL_UNWRITABLE, Reason.STALE_EPOCH])
def test_a_keeper_in_trouble_ends_every_sprint_and_gets_no_new_one_until_it_is_over(trouble: Reason) -> None:
    bench = EngineBench(running("a"))
    bench.turn(0.0)
    bench.read_back(grant=bench.directives()[-1].grants[0].grant, trouble=trouble)
    turn = bench.turn(0.5)
    assert list(turn.troubles) == [trouble.value]
    assert [(d.verb, d.reason) for d in turn.decisions] == [(Verb.RELEASE, trouble)]
    assert turn.directive.grants == ()
    assert bench.turn(1.0).decisions[0].reason is trouble  # silence heals nothing
    bench.obey()
    turn = bench.turn(1.5)
    assert (list(turn.troubles), turn.decisions[0].verb) == ([], Verb.SPRINT)


def test_without_a_keeper_nothing_is_published_and_leases_stay_charged() -> None:
    bench = EngineBench(running("a"))
    bench.turn(0.0)
    bench.obey()
    bench.turn(0.5)
    published = len(bench.directives())
    bench.engine.lose_keeper()
    turn = bench.turn(1.0)
    assert (turn.decisions[0].verb, turn.decisions[0].reason) == (Verb.HOLD, Reason.NO_KEEPER)
    bench.engine.release("a")
    bench.turn(3.0)
    assert len(bench.directives()) == published
    assert bench.engine.bucket.level == 15.0
    assert bench.engine.at_base("slot0")  # its end is the journal's business now; jobs go on


def test_a_sprint_that_lost_its_keeper_is_told_as_far_as_it_was_seen() -> None:
    bench = EngineBench(running("a"), running("b", "slot1"))
    bench.turn(0.0)
    bench.read_back("slot0", bench.directives()[-1].grants[0].grant)
    bench.turn(0.5, running("a", cpu=1.0), running("b", "slot1"))
    bench.clock.advance_to(2.0)
    bench.engine.lose_keeper()
    ended = bench.turn(2.0).ended
    assert [(s.job, s.start, s.end, s.cpu, s.reason) for s in ended] == [
        ("a", 0.0, 2.0, 0.0, Reason.NO_KEEPER)
    ]
    assert not bench.engine.sprint_open("a")


def test_a_purse_that_fails_grants_nothing_says_so_and_the_run_goes_on() -> None:
    bench = EngineBench(running("a"))
    bench.purse_works = False
    turn = bench.turn(0.0)
    assert list(turn.troubles) == [Reason.JOURNAL_UNWRITABLE.value]
    assert (turn.decisions[0].verb, turn.decisions[0].reason) == (Verb.HOLD, Reason.JOURNAL_UNWRITABLE)
    assert [d for d in bench.directives() if d.grants] == []
    assert bench.engine.bucket.level == 20.0
    assert bench.engine.at_base("slot0")


def test_a_purse_that_fails_ends_running_sprints_because_no_renewal_can_be_remembered() -> None:
    bench = EngineBench(running("a"))
    bench.turn(0.0)
    bench.obey()
    bench.purse_works = False
    turn = bench.turn(1.0, running("a"), running("b", "slot1"))
    assert [(d.verb, d.reason) for d in turn.decisions] == [
        (Verb.RELEASE, Reason.JOURNAL_UNWRITABLE),
        (Verb.HOLD, Reason.JOURNAL_UNWRITABLE),
    ]
    assert bench.directives()[-1].grants == ()
    assert not bench.engine.at_base("slot0")  # it was raised: its return is still to be read back
    bench.obey()
    assert [span.reason for span in bench.turn(1.5).ended] == [Reason.JOURNAL_UNWRITABLE]


def test_a_purse_is_tried_again_every_turn_and_sprints_come_back_with_it() -> None:
    bench = EngineBench(running("a"))
    bench.purse_works = False
    bench.turn(0.0)
    saves = len(bench.log)
    bench.turn(1.0)
    assert [kind for kind, _ in bench.log[saves:]] == ["save"]
    bench.purse_works = True
    turn = bench.turn(2.0)
    assert (list(turn.troubles), turn.decisions[0].verb) == ([], Verb.SPRINT)
    assert list(bench.leases()) == ["slot0"]


def test_a_purse_that_fails_on_the_fast_path_ends_the_others_too() -> None:
    bench = EngineBench(running("a"), running("b", "slot1"))
    bench.turn(0.0)
    bench.obey()
    bench.turn(0.1)
    bench.purse_works = False
    bench.engine.release("a")
    assert bench.directives()[-1].grants == ()
    assert bench.turn(0.2).decisions[1].reason is Reason.JOURNAL_UNWRITABLE


def test_a_sprint_that_was_published_and_not_seen_yet_is_never_forgotten() -> None:
    """Its lease shrinks to nothing before its rise was read back: the knob may be up all the same."""
    bench = EngineBench(running("a"), capacity=3.0)
    bench.turn(0.0)
    bench.turn(2.99)
    assert bench.directives()[-1].grants == ()
    assert not bench.engine.at_base("slot0")


def test_a_run_that_ends_and_a_paused_policy_let_go_of_everything() -> None:
    bench = EngineBench(running("a"))
    bench.turn(0.0)
    bench.engine.stopping = True
    turn = bench.turn(0.5)
    assert (turn.decisions[0].verb, turn.decisions[0].reason) == (Verb.RELEASE, Reason.STOPPING)
    assert turn.directive.grants == ()
    paused = EngineBench(running("a"), paused=True).turn(0.0)
    assert (paused.decisions[0].verb, paused.decisions[0].reason) == (Verb.HOLD, Reason.PAUSED)


def test_a_turn_says_when_it_is_due_again() -> None:
    assert EngineBench(running("a"), strategy=FixedTimeout(0.4)).turn(0.0).next_look == pytest.approx(0.4)
    assert EngineBench(running("a"), strategy=FixedTimeout(40.0)).turn(0.0).next_look == pytest.approx(1.0)
    at_once = EngineBench(running("a"), strategy=FixedTimeout(1e-9)).turn(0.0)
    assert at_once.next_look == pytest.approx(0.02)


def test_a_sprint_is_told_with_its_cost_and_the_cpu_it_used() -> None:
    bench = EngineBench(running("a", cpu=4.0))
    bench.turn(0.0)
    bench.obey()
    started = bench.turn(0.5, running("a", cpu=5.0)).started
    assert [(span.job, span.start, span.end) for span in started] == [("a", 0.0, None)]
    bench.clock.advance_to(2.0)
    bench.engine.release("a")
    bench.obey()
    turn = bench.turn(2.0, finished(running("a"), 2.0, cpu=8.0))
    assert [(s.start, s.end, s.cost, s.cpu, s.reason) for s in turn.ended] == [
        (0.0, 2.0, 2.0, 3.0, Reason.FINISHED)
    ]
    assert turn.view.finished()[0].sprint == 2.0
    assert turn.view.finished()[0].sprint_cpu == 3.0


def test_only_running_jobs_are_decided_the_oldest_first() -> None:
    jobs = [finished(running("z")), running("a", "slot1"), running("b"), queued("c")]
    turn = EngineBench(*jobs, strategy=ALWAYS).turn(1.0)
    assert [d.job for d in turn.decisions] == ["a", "b"]
    assert turn.decisions[0].inputs["queued"] == 1.0


def test_where_nobody_holds_anything_listening_looks_at_no_job() -> None:
    looks: list[str] = []

    class Counting(EngineBench):
        def observe(self) -> Inventory:
            looks.append("look")
            return super().observe()

    Counting(running("a"), mode=Mode.OBSERVE).engine.listen()
    assert looks == []
    Counting(running("a")).engine.listen()
    assert looks == ["look"]
