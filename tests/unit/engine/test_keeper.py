"""What the keeper promises beyond the invariants: idempotence, refusals, conflicts, the journal, reports."""

import pytest

from keeper_bench import BASE_TEXT, SPRINT_TEXT, Bench, grant
from kubesprint.adapters.virtual.hardware import Faults, quota
from kubesprint.core.errors import Refused, Unavailable
from kubesprint.core.reasons import Reason
from kubesprint.core.units import Seconds
from kubesprint.engine.keeper import NodeKeeper
from kubesprint.engine.ports import Address, Write


def test_the_same_wish_twice_writes_once():
    bench = Bench().open()
    bench.send(grant(), sequence=1)
    bench.send(grant(), sequence=2)
    bench.keeper.step()
    assert bench.writes_to() == [SPRINT_TEXT]


def test_a_knob_that_a_directive_does_not_name_returns_to_base():
    bench = Bench().open()
    bench.send(grant())
    report = bench.send(sequence=2).knobs["slot0"]
    assert bench.text() == BASE_TEXT
    assert (report.grant, report.outcome) == (None, Reason.APPLIED)


def test_returns_come_before_grants_so_that_two_sprints_never_overlap():
    bench = Bench().open()
    bench.send(grant("g1", "slot1"))
    bench.hardware.written.clear()
    bench.send(grant("g2", "slot0"), sequence=2)
    assert [(w.address.knob, w.value) for w in bench.hardware.written] == [
        ("slot1", BASE_TEXT),
        ("slot0", SPRINT_TEXT),
    ]


def test_a_refused_sprint_ends_at_base_and_its_grant_is_not_revived():
    bench = Bench(Faults(refuse_writes=frozenset({5}))).open()
    report = bench.send(grant()).knobs["slot0"]
    assert (report.grant, report.outcome) == (None, Reason.REJECTED)
    assert "write 5 is refused" in report.detail

    bench.send(grant(), sequence=2)
    assert bench.text() == BASE_TEXT
    bench.send(grant("g2"), sequence=3)
    assert bench.text() == SPRINT_TEXT


def test_a_grant_for_a_knob_that_does_not_exist_is_unsupported_and_disturbs_nobody():
    bench = Bench().open()
    report = bench.send(grant(), grant("g2", "slot9"))
    assert report.knobs["slot9"].outcome is Reason.UNSUPPORTED
    assert report.knobs["slot0"].grant == "g1"
    assert "slot9" not in bench.send(sequence=2).knobs


def test_two_grants_for_one_knob_are_not_taken_at_all():
    bench = Bench().open()
    report = bench.send(grant("g1"), grant("g2"), grant("g3", "slot1"))
    assert report.trouble is Reason.REJECTED
    assert (bench.text("slot0"), bench.text("slot1")) == (BASE_TEXT, BASE_TEXT)


def test_instants_of_a_report_stand_still_until_the_state_changes():
    bench = Bench().open()
    bench.clock.advance(Seconds(1.0))
    first = bench.send(grant()).knobs["slot0"]
    bench.clock.advance(Seconds(2.0))
    assert bench.send(grant(), sequence=2).knobs["slot0"] == first
    assert (first.since, first.at) == (1.0, 1.0)
    bench.clock.advance(Seconds(1.0))
    assert bench.send(sequence=3).knobs["slot0"].at == 4.0


def test_a_failed_set_up_is_undone_and_says_why():
    bench = Bench(Faults(refuse_writes=frozenset({4})))  # two groups, two quotas: the last one
    with pytest.raises(Refused, match="write 4 is refused"):
        bench.open()
    assert bench.hardware.snapshot() == bench.before
    assert bench.journal.found() == {}


def test_a_set_up_that_cannot_be_journalled_writes_nothing():
    bench = Bench()
    bench.journal.full = True
    with pytest.raises(Unavailable, match="no space left"):
        bench.open()
    assert bench.hardware.written == []


def test_an_unwritable_journal_ends_sprints_and_starts_none_until_it_clears():
    bench = Bench().open()
    bench.send(grant())
    bench.journal.full = True

    report = bench.keeper.step()
    assert report.trouble is Reason.JOURNAL_UNWRITABLE
    assert report.knobs["slot0"].outcome is Reason.JOURNAL_UNWRITABLE
    assert bench.text() == BASE_TEXT
    report = bench.send(grant("g2"), sequence=2)
    assert report.trouble is Reason.JOURNAL_UNWRITABLE
    assert bench.text() == BASE_TEXT
    assert bench.keeper.step().trouble is Reason.JOURNAL_UNWRITABLE

    bench.journal.full = False
    assert bench.keeper.step().trouble is None
    assert bench.send(grant("g3"), sequence=3).knobs["slot0"].grant == "g3"


def test_a_knob_that_somebody_else_changed_is_reported_counted_and_left_alone():
    bench = Bench().open()
    bench.send(grant())
    bench.hardware.meddle(quota("slot0"), "55555")

    report = bench.keeper.step().knobs["slot0"]
    assert (report.grant, report.outcome) == (None, Reason.CONFLICT)
    assert report.detail == "somebody else set slot0/quota to 55555"
    bench.send(grant("g2"), sequence=2)
    bench.send(sequence=3)
    assert bench.text() == "55555"
    assert bench.keeper.conflicts == {"slot0": 1}

    bench.hardware.meddle(quota("slot0"), "66666")
    bench.keeper.step()
    assert bench.keeper.conflicts == {"slot0": 2}


def test_a_restore_leaves_what_somebody_else_set_and_says_so():
    bench = Bench()
    shared = Address("slot0", "shared")  # not of our making, unlike a group
    bench.hardware.meddle(shared, "7")
    bench.hardware.writes = lambda knob, allocation: []  # type: ignore[method-assign]

    bench.keeper.open([Write(shared, "8")])
    bench.hardware.meddle(shared, "9")
    result = bench.keeper.restore()
    assert bench.hardware.read(shared) == "9"
    assert result.complete
    assert result.left == ("slot0/shared was set to 9 by somebody else and is left so (found: 7)",)


def test_a_restore_undoes_what_is_ours_whatever_it_holds():

    bench = Bench()
    bench.keeper = NodeKeeper(
        bench.clock, bench.hardware, bench.journal, "run-1", owned=lambda a: a.name in ("group", "quota")
    )
    bench.open()
    bench.hardware.meddle(quota("slot0"), "9")
    result = bench.keeper.restore()
    assert (result.complete, result.left) == (True, ())
    assert bench.hardware.snapshot() == bench.before


def test_what_cannot_be_restored_is_named_and_stays_in_the_journal_for_the_next_try():
    bench = Bench().open()
    bench.faults.refuse_writes = frozenset(range(100))
    result = bench.keeper.restore()
    assert not result.complete
    assert quota("slot0") in result.failed
    assert quota("slot0") in bench.journal.found()

    bench.faults.refuse_writes = frozenset()
    assert bench.keeper.restore().complete
    assert bench.hardware.snapshot() == bench.before


def test_a_busy_restore_is_tried_again_at_once():
    bench = Bench().open()
    bench.faults.busy_writes = frozenset({5, 6})
    assert bench.keeper.restore().complete
    assert bench.hardware.snapshot() == bench.before


def test_a_lease_of_nothing_ends_at_once():
    bench = Bench().open()
    assert bench.send(grant(lease=0.0)).knobs["slot0"].outcome is Reason.LEASE_ENDED
    assert bench.writes_to() == []


def test_a_replaced_process_is_no_conflict():
    bench = Bench().open()
    bench.send(grant())
    bench.hardware.meddle(quota("slot0"), "70000")
    bench.keeper.replaced([quota("slot0")])
    assert bench.keeper.step().knobs["slot0"].outcome is Reason.APPLIED
    assert bench.text() == SPRINT_TEXT
