"""The real engine on a virtual machine against the simulator that it plans with.

Both know the same rules, so the same jobs must end at the same time, but for what acting costs:

- a lease ends `RETURN_MARGIN` before what it was paid for, so a sprint that empties the bucket is that
  much shorter: a job with speed-up r then ends up to margin x (r - 1) later;
- what was left in the bucket (the margin) brings the next restart forward, and a turn is due at the
  earliest `SHORTEST_LOOK` after the last. Where the bucket refills, the two may so be out of step by one
  sprint from the threshold to empty: hysteresis x (r - 1) of work, never more, for both are at the same
  level again when they meet.
"""

import random
from collections.abc import Callable
from itertools import pairwise

import pytest

from kubesprint.adapters.virtual.machine import VirtualJob
from kubesprint.core.batch import one_by_one
from kubesprint.core.budget import Budget, RefillRule
from kubesprint.core.deadline import EARLY, LeastSprint
from kubesprint.core.decision import Verb
from kubesprint.core.events import simulate_servers
from kubesprint.core.forecast import Forecaster
from kubesprint.core.modeldriven import ModelDriven, SearchSettings
from kubesprint.core.policy import FixedTimeout, Strategy
from kubesprint.core.reasons import Reason
from kubesprint.core.simulation import Present, SprintRules, TriggerClock
from kubesprint.core.units import FOREVER
from kubesprint.engine.engine import SHORTEST_LOOK
from kubesprint.engine.ledger import RETURN_MARGIN
from virtual_runs import Load, mean_response, poisson, run

FASTEST = 3.0  # speed-up of any job here, at most
HYSTERESIS = 0.2
ONCE_EMPTY = RETURN_MARGIN * (FASTEST - 1.0) + 1e-6
OUT_OF_STEP = ONCE_EMPTY + (HYSTERESIS + SHORTEST_LOOK) * (FASTEST - 1.0)


def _differences(load: Load, budget: Budget, timeout: float, clock: TriggerClock) -> list[float]:
    """Engine less simulator, by job, in seconds of response."""
    jobs, _ = run(load, budget, FixedTimeout(timeout, clock))
    rules = SprintRules(
        timeout=timeout,
        clock=clock,
        capacity=budget.capacity,
        refill=budget.refill,
        refill_rule=budget.while_sprinting,
        hysteresis=budget.hysteresis,
    )
    expected = simulate_servers(load.simulated(), rules, load.servers, Present())
    return [job.end - outcome.end for job, outcome in zip(jobs, expected, strict=True)]


@pytest.mark.parametrize("servers", [1, 2, 3])
def test_a_run_that_never_sprints_is_the_plain_queue(servers: int) -> None:
    budget = Budget(capacity=5.0, refill=0.1)
    for seed in range(5):
        differences = _differences(poisson(seed, servers=servers), budget, FOREVER, TriggerClock.ARRIVAL)
        assert differences == pytest.approx([0.0] * 12, abs=1e-6)


@pytest.mark.parametrize("clock", TriggerClock)
@pytest.mark.parametrize("timeout", [0.0, 2.0, 6.0])
@pytest.mark.parametrize("servers", [1, 2])
def test_a_budget_that_never_runs_out_leaves_no_difference(
    servers: int, timeout: float, clock: TriggerClock
) -> None:
    budget = Budget(capacity=1000.0, refill=0.0)
    for seed in range(4):
        differences = _differences(poisson(seed, servers=servers), budget, timeout, clock)
        assert differences == pytest.approx([0.0] * 12, abs=SHORTEST_LOOK * FASTEST)


@pytest.mark.parametrize("clock", TriggerClock)
@pytest.mark.parametrize("timeout", [0.0, 2.0, 6.0])
@pytest.mark.parametrize("servers", [1, 2])
def test_a_budget_that_runs_out_once_costs_one_margin(
    servers: int, timeout: float, clock: TriggerClock
) -> None:
    for seed, capacity in enumerate((1.0, 5.0, 12.0)):
        budget = Budget(capacity=capacity, refill=0.0)
        differences = _differences(poisson(seed, servers=servers), budget, timeout, clock)
        assert max(map(abs, differences)) <= ONCE_EMPTY


@pytest.mark.parametrize("rule", RefillRule)
@pytest.mark.parametrize("refill", [0.1, 0.3])
@pytest.mark.parametrize("servers", [1, 2])
def test_a_budget_that_refills_keeps_both_in_step_to_within_one_sprint(
    servers: int, refill: float, rule: RefillRule
) -> None:
    every = []
    for seed in range(8):
        dice = random.Random(seed)
        budget = Budget(capacity=dice.choice([1.0, 5.0]), refill=refill, while_sprinting=rule)
        load = poisson(seed, servers=servers)
        every += _differences(load, budget, dice.choice([0.0, 2.0]), dice.choice(list(TriggerClock)))
    assert max(map(abs, every)) <= OUT_OF_STEP
    assert abs(sum(every) / len(every)) <= 0.05  # and neither is the faster one


def test_sprinting_always_is_faster_than_never_and_uses_the_budget() -> None:
    load, budget = poisson(1, servers=1), Budget(capacity=10.0, refill=0.0)
    never, _ = run(load, budget, FixedTimeout(FOREVER))
    always, machine = run(load, budget, FixedTimeout(0.0))
    assert mean_response(always) < mean_response(never)
    cost = sum(span.cost for turn in machine.turns for span in turn.ended)
    assert cost == pytest.approx(10.0, abs=2 * RETURN_MARGIN)


def _model_driven(seed: int) -> Callable[[Forecaster], Strategy]:
    settings = SearchSettings(scenarios=2, future_jobs=6)
    return lambda models: ModelDriven(
        one_by_one(simulate_servers), models.model, lambda: random.Random(seed).random, settings
    )


@pytest.mark.parametrize("servers", [1, 2])
def test_the_model_driven_run_is_not_worse_than_never_on_average(servers: int) -> None:
    budget = Budget(capacity=4.0, refill=0.1)
    ratios = []
    for seed in range(5):
        load = poisson(seed, servers=servers, jobs=10, exact=True)
        never, _ = run(load, budget, FixedTimeout(FOREVER))
        driven, _ = run(load, budget, _model_driven(seed))
        ratios.append(mean_response(driven) / mean_response(never))
    assert sum(ratios) / len(ratios) < 1.0
    assert max(ratios) <= 1.0 + 1e-6  # on one server sprinting can only shorten the queue; here also on two


def test_the_same_seed_gives_the_same_run() -> None:
    load, budget = poisson(3, servers=2, jobs=8, exact=True), Budget(capacity=3.0, refill=0.1)
    first, one = run(load, budget, _model_driven(7))
    second, two = run(load, budget, _model_driven(7))
    assert first == second
    assert [turn.decisions for turn in one.turns] == [turn.decisions for turn in two.turns]


def test_time_never_stands_still_and_never_waits_longer_than_a_period() -> None:
    _, machine = run(poisson(2, servers=2), Budget(capacity=2.0, refill=0.3), FixedTimeout(0.0))
    instants = [turn.at for turn in machine.turns]
    assert all(0.0 <= later - sooner <= 1.0 + 1e-9 for sooner, later in pairwise(instants))


# deadlines


def _one(work: float, deadline: float, rate: float = 1.8) -> Load:
    return Load(
        (VirtualJob(name="a", kind="middle", arrival=0.0, work=work, rate=rate, deadline=deadline),), 1
    )


def test_a_deadline_that_base_speed_meets_costs_nothing() -> None:
    jobs, machine = run(_one(4.0, deadline=4.2), Budget(capacity=10.0, refill=0.0), LeastSprint())
    assert jobs[0].end == pytest.approx(4.0)
    assert not [span for turn in machine.turns for span in turn.ended]


def test_a_deadline_at_risk_is_met_by_the_least_sprint() -> None:
    """4 s of work at speed-up 1.8 within 3 s: 1.25 s of sprint, a little more to be over `EARLY`."""
    jobs, machine = run(_one(4.0, deadline=3.0), Budget(capacity=10.0, refill=0.0), LeastSprint())
    spans = [span for turn in machine.turns for span in turn.ended]
    least = (4.0 - (3.0 - EARLY)) / (1.8 - 1.0)
    assert 3.0 - EARLY - 1e-6 <= jobs[0].end <= 3.0
    assert sum(span.cost for span in spans) == pytest.approx(least, abs=2 * SHORTEST_LOOK)
    assert spans[0].start == pytest.approx(3.0 - EARLY - least, abs=SHORTEST_LOOK)
    assert len(spans) == 1  # from then on to the end


def test_a_sprint_for_a_deadline_goes_on_though_the_job_gains_less_than_its_profile_says() -> None:
    jobs, machine = run(_one(4.0, deadline=3.0, rate=1.6), Budget(capacity=10.0, refill=0.0), LeastSprint())
    spans = [span for turn in machine.turns for span in turn.ended]
    assert len(spans) == 1  # it never gave up on the way
    assert 3.0 < jobs[0].end < 3.2


def test_a_job_that_turns_out_small_never_needs_its_sprint() -> None:
    jobs, machine = run(_one(1.5, deadline=3.0), Budget(capacity=10.0, refill=0.0), LeastSprint())
    assert jobs[0].end == pytest.approx(1.5)
    assert not [span for turn in machine.turns for span in turn.ended]


def test_a_deadline_that_cannot_be_met_is_said_and_gets_no_budget() -> None:
    _, machine = run(_one(4.0, deadline=2.0), Budget(capacity=10.0, refill=0.0), LeastSprint())
    first = machine.turns[0].decisions[0]
    assert (first.verb, first.reason) == (Verb.HOLD, Reason.CANNOT_MEET_DEADLINE)
    assert "cannot meet its deadline: sprinting all the way it would be 0.22 s late" in first.sentence
    assert not [span for turn in machine.turns for span in turn.ended]
