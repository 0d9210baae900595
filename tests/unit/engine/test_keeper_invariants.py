"""The safety invariants that the keeper keeps, by their numbers in the architecture's list."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper_bench import BASE_TEXT, RUN, SPRINT_TEXT, Bench, grant, journalled_first
from kubesprint.adapters.virtual.hardware import Faults, group, quota
from kubesprint.core.allocation import Allocation
from kubesprint.core.errors import Refused
from kubesprint.core.lease import Directive
from kubesprint.core.reasons import Reason
from kubesprint.core.units import Cores, Seconds


def test_invariant_1_a_knob_is_at_base_when_its_lease_ends_without_another_word():
    bench = Bench().open()
    bench.send(grant(lease=5.0))
    assert bench.text() == SPRINT_TEXT

    bench.clock.advance(Seconds(4.999))
    assert bench.keeper.step().knobs["slot0"].grant == "g1"
    bench.clock.advance_to(bench.keeper.next_deadline())
    report = bench.keeper.step().knobs["slot0"]

    assert bench.clock.now() == pytest.approx(5.0)
    assert bench.text() == BASE_TEXT
    assert (report.grant, report.outcome, report.allocation) == (None, Reason.LEASE_ENDED, None)


def test_invariant_1_a_lease_counts_from_its_arrival_not_from_its_renewal_by_the_same_directive():
    bench = Bench().open()
    bench.send(grant(lease=5.0))
    bench.clock.advance(Seconds(3.0))
    bench.send(grant(lease=5.0))
    bench.clock.advance(Seconds(2.0))

    assert bench.keeper.step().knobs["slot0"].grant is None


def test_invariant_1_the_keeper_wakes_for_the_earliest_lease_and_at_least_every_period():
    bench = Bench().open()
    assert bench.keeper.next_deadline() == 1.0
    bench.send(grant(lease=5.0), grant("g2", "slot1", lease=0.25))
    assert bench.keeper.next_deadline() == 0.25


def test_invariant_1_a_failed_return_is_reported_as_held_and_tried_again_until_it_succeeds():
    bench = Bench().open()
    bench.send(grant(lease=1.0))
    bench.faults.refuse_writes = frozenset(range(1, 8))  # set-up 4, sprint 1: the next two fail
    bench.clock.advance(Seconds(1.0))

    first, second, third = bench.keeper.step(), bench.keeper.step(), bench.keeper.step()

    assert [r.knobs["slot0"].grant for r in (first, second, third)] == ["g1", "g1", None]
    assert first.knobs["slot0"].outcome is Reason.REJECTED
    assert "not back at base" in first.knobs["slot0"].detail
    assert third.knobs["slot0"].outcome is Reason.LEASE_ENDED
    assert bench.text() == BASE_TEXT


def test_invariant_1_an_ended_lease_counts_even_if_another_machine_clock_would_disagree():
    bench = Bench().open()
    bench.keeper.receive(Directive(run=RUN, epoch=1, sequence=1, grants=(grant(lease=float("inf")),)))
    report = bench.keeper.step()
    assert report.trouble is Reason.REJECTED
    assert bench.text() == BASE_TEXT


def test_invariant_2_what_was_found_is_in_the_journal_before_the_first_write():
    bench = Bench()
    early = journalled_first(bench)
    bench.open()
    bench.send(grant())

    assert early == []
    assert bench.journal.found()[group("slot0")] == "absent"
    assert bench.journal.found()[quota("slot0")] == "-1"


def test_invariant_2_a_keeper_that_stops_restores_everything():
    bench = Bench().open()
    bench.send(grant())

    result = bench.keeper.restore()

    assert result.complete
    assert bench.hardware.snapshot() == bench.before
    assert bench.journal.found() == {}


def test_invariant_2_a_keeper_does_not_open_over_what_a_killed_one_left():
    bench = Bench().open()
    with pytest.raises(Refused, match="restore that first"):
        bench.another_keeper().open(bench.hardware.setup())

    assert bench.another_keeper().restore().complete
    assert bench.hardware.snapshot() == bench.before


@given(killed_at=st.integers(0, 12))
def test_invariant_2_the_journal_alone_undoes_a_run_killed_at_any_write(killed_at: int):
    class Killed(BaseException):
        pass

    bench = Bench()
    left = killed_at

    def kill(_: object) -> None:
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1

    bench.faults.before_write = kill
    try:
        bench.open()
        bench.send(grant())
        bench.send(grant(), grant("g2", "slot1"), sequence=2)
        bench.keeper.restore()
    except Killed:
        bench.faults.before_write = None
        assert bench.another_keeper().restore().complete

    assert bench.hardware.snapshot() == bench.before
    assert bench.journal.found() == {}


@pytest.mark.parametrize(
    ("run", "epoch", "sequence"),
    [(RUN, 1, 9), (RUN, 2, 4), ("another", 3, 1)],
    ids=["epoch", "sequence", "run"],
)
def test_invariant_3_an_older_directive_changes_nothing_and_is_named(run: str, epoch: int, sequence: int):
    bench = Bench().open()
    bench.send(epoch=2, sequence=5)

    report = bench.send(grant(), run=run, epoch=epoch, sequence=sequence)

    assert bench.text() == BASE_TEXT
    assert (report.epoch, report.sequence, report.trouble) == (2, 5, Reason.STALE_EPOCH)
    assert bench.keeper.step().trouble is None


@given(
    stamps=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3), st.booleans()), min_size=1, max_size=12)
)
def test_invariant_3_what_is_held_is_always_what_the_newest_directive_says(
    stamps: list[tuple[int, int, bool]],
):
    bench = Bench().open()
    newest, wanted = (0, 0), False
    for epoch, sequence, sprint in stamps:
        report = bench.send(
            *([grant(f"g{epoch}{sequence}")] if sprint else []), epoch=epoch, sequence=sequence
        )
        if (epoch, sequence) > newest:
            newest, wanted = (epoch, sequence), sprint
        assert (report.epoch, report.sequence) == newest
        assert bench.text() == (SPRINT_TEXT if wanted else BASE_TEXT)


@given(cores=st.floats(0.01, 100.0), clock=st.floats(0.5, 3.0))
def test_invariant_4_no_value_beyond_what_the_machine_can_is_written(cores: float, clock: float):
    bench = Bench().open()
    wish = Allocation(Cores(cores), clock)

    report = bench.send(grant(allocation=wish)).knobs["slot0"]

    assert all(int(value) <= 200_000 for value in bench.writes_to())
    assert report.allocation is not None
    assert report.allocation.cores <= 2.0
    assert (report.outcome is Reason.CLAMPED) == (report.allocation != wish)
    assert bool(report.detail) == (report.allocation != wish)


def test_invariant_8_a_write_that_the_kernel_ignores_is_not_a_sprint():
    bench = Bench(Faults(ignored_writes=frozenset({5}))).open()

    report = bench.send(grant()).knobs["slot0"]

    assert (report.grant, report.outcome) == (None, Reason.REJECTED)
    assert "still reads 40000 after 100000" in report.detail


def test_invariant_8_a_value_that_the_kernel_cuts_is_reported_as_clamped():
    bench = Bench(Faults(ceiling=Cores(0.7))).open()

    report = bench.send(grant()).knobs["slot0"]

    assert (report.grant, report.outcome) == ("g1", Reason.CLAMPED)
    assert report.detail == "slot0/quota reads 70000 instead of 100000"


def test_invariant_8_a_value_that_shows_late_is_waited_for():
    bench = Bench(Faults(lag_reads=3)).open()

    report = bench.send(grant()).knobs["slot0"]

    assert report.outcome is Reason.APPLIED
    assert report.at > report.since


def test_invariant_9_restoring_backwards_leaves_no_group_behind():
    bench = Bench().open()
    bench.send(grant())
    bench.keeper.restore()
    assert [write.address.name for write in bench.hardware.written[-4:]] == ["quota"] * 2 + ["group"] * 2
    assert bench.hardware.snapshot() == bench.before


def test_invariant_9_a_restore_that_the_kernel_ignores_is_not_done():
    bench = Bench().open()
    bench.faults.ignored_writes = frozenset(range(100))

    result = bench.keeper.restore()

    assert result.failed[quota("slot0")] == "reads 40000 instead of -1"
    assert bench.journal.found()[quota("slot0")] == "-1"
