"""Clocks that sprints raise: leased beside the cores, shared in cost, and honest when they do not obey."""

import pytest

from engine_bench import BASE, SPRINT, EngineBench, finished, running
from kubesprint.core.clocks import ClockDomain
from kubesprint.core.lease import Grant
from kubesprint.core.reasons import Reason
from kubesprint.engine.clocks import CLOCK_RETURN

CLOCK = ClockDomain(knob="policy0", cpus=4, ratio=1.5)  # costs 2 core-seconds a second
SHARED = {"slot0": (CLOCK,), "slot1": (CLOCK,)}
CORES = SPRINT.cores - BASE.cores  # 1 core-second a second


def grants(bench: EngineBench) -> dict[str, Grant]:
    return {grant.knob: grant for grant in bench.directives()[-1].grants}


def test_a_sprint_leases_its_cores_and_its_clock_apart() -> None:
    bench = EngineBench(running("a"), clocks=SHARED)
    bench.turn(0.0)
    slot, clock = bench.directives()[-1].grants  # the slot is charged from its write: it comes first
    assert (slot.knob, slot.allocation.cores, slot.allocation.clock) == ("slot0", SPRINT.cores, 1.0)
    assert (clock.knob, clock.allocation.cores, clock.allocation.clock) == ("policy0", 4, 1.5)
    assert clock.grant == slot.grant
    assert clock.lease == pytest.approx(slot.lease - CLOCK_RETURN)


def test_a_lone_sprint_is_charged_for_every_cpu_that_it_raises() -> None:
    bench = EngineBench(running("a"), clocks=SHARED, capacity=100.0)
    turn = bench.turn(0.0)
    assert turn.view.cost_rate == CORES + 2.0
    assert bench.engine.bucket.reserved_total == pytest.approx((CORES + 2.0) * 5.0)


def test_two_sprints_share_the_clock_and_the_last_one_pays_it_alone() -> None:
    bench = EngineBench(running("a"), running("b", "slot1"), clocks=SHARED, capacity=100.0)
    bench.turn(0.0)
    assert bench.engine.bucket.reserved_total == pytest.approx((2 * CORES + 2.0) * 5.0)
    bench.obey()
    first = grants(bench)["policy0"].grant
    bench.turn(1.0)
    bench.engine.release("a")
    assert "policy0" in grants(bench)  # b still asks
    assert grants(bench)["policy0"].grant != first
    bench.obey()
    bench.turn(3.0, finished(running("a"), 1.0), running("b", "slot1"))
    bench.obey()
    bench.engine.release("b")
    assert "policy0" not in grants(bench)
    bench.obey()
    turn = bench.turn(3.0, finished(running("a"), 1.0), finished(running("b", "slot1"), 3.0))
    costs = {span.job: span.cost for one in bench.turns for span in one.ended}
    assert costs == pytest.approx({"a": CORES + 1.0, "b": (CORES + 1.0) + 2 * (CORES + 2.0)})
    assert turn.view.bucket.level == pytest.approx(100.0 - sum(costs.values()))


@pytest.mark.parametrize("outcome", [Reason.REJECTED, Reason.CONFLICT, Reason.UNSUPPORTED])
def test_a_clock_that_is_refused_is_asked_for_no_more_and_said(outcome: Reason) -> None:
    bench = EngineBench(running("a"), clocks=SHARED, capacity=100.0)
    bench.turn(0.0)
    bench.read_back("slot0", grants(bench)["slot0"].grant)
    bench.read_back("policy0", None, outcome=outcome)
    turn = bench.turn(1.0)
    assert list(grants(bench)) == ["slot0"]
    assert turn.view.cost_rate == CORES
    assert [trouble for trouble in turn.troubles if "policy0" in trouble and outcome.value in trouble]


def test_a_clock_that_gives_less_is_said_once_and_kept() -> None:
    bench = EngineBench(running("a"), clocks=SHARED, capacity=100.0)
    bench.turn(0.0)
    for second in (1.0, 2.0):
        bench.read_back("policy0", grants(bench)["policy0"].grant, outcome=Reason.CLAMPED)
        turn = bench.turn(second)
    assert "policy0" in grants(bench)
    assert len([trouble for trouble in turn.troubles if "policy0" in trouble]) == 1


def test_a_clock_that_stays_up_though_nobody_asks_is_charged_as_debt() -> None:
    bench = EngineBench(running("a"), clocks=SHARED, capacity=100.0)
    bench.turn(0.0)
    grant = grants(bench)["policy0"].grant
    bench.read_back("slot0", grant)
    bench.turn(1.0)
    bench.engine.release("a")
    bench.read_back("slot0", None)
    bench.read_back("policy0", grant, outcome=Reason.REJECTED)
    bench.turn(1.0, finished(running("a"), 1.0))
    before = bench.engine.bucket.level
    bench.turn(4.0)
    assert before - bench.engine.bucket.level == pytest.approx(3 * 2.0)
    bench.clock.advance_to(5.0)
    bench.read_back("policy0", None)
    bench.turn(8.0)
    assert before - bench.engine.bucket.level == pytest.approx(4 * 2.0)


def test_an_old_report_does_not_make_a_clock_look_stuck() -> None:
    bench = EngineBench(running("a"), clocks=SHARED, capacity=100.0)
    bench.turn(0.0)
    grant, old = grants(bench)["policy0"].grant, bench.directives()[-1].sequence
    bench.read_back("slot0", grant)
    bench.turn(1.0)
    bench.engine.release("a")
    bench.read_back("policy0", grant, sequence=old)
    bench.turn(1.0, finished(running("a"), 1.0))
    level = bench.engine.bucket.level
    bench.turn(4.0)
    assert bench.engine.bucket.level == level


def test_without_clocks_nothing_is_different() -> None:
    bench = EngineBench(running("a"))
    assert bench.turn(0.0).view.cost_rate == CORES
    assert list(grants(bench)) == ["slot0"]
    assert grants(bench)["slot0"].allocation == SPRINT
