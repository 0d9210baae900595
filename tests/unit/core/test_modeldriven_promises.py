"""What the model-driven strategy promises, whatever it chooses."""

import random
from collections.abc import Sequence
from dataclasses import replace

from kubesprint.adapters.virtual.machine import VirtualJob
from kubesprint.core.batch import Alternative, Score, one_by_one
from kubesprint.core.budget import Budget
from kubesprint.core.decision import Decision, Verb
from kubesprint.core.events import simulate_servers
from kubesprint.core.forecast import KindModel, prior
from kubesprint.core.modeldriven import ModelDriven, SearchSettings
from kubesprint.core.policy import decide
from kubesprint.core.reasons import Reason
from kubesprint.core.view import View
from storyboards import estimates, measured, queued, running, view
from virtual_runs import Load, poisson, run

EVALUATOR = one_by_one(simulate_servers)
SETTINGS = SearchSettings(scenarios=3, future_jobs=6, stale_after=2.0)
MODELS = {"fit": measured(work=4.0, rate=2.0, deviation=1.0)}


def strategy(seed: int = 1, models: dict[str, KindModel] = MODELS) -> ModelDriven:
    return ModelDriven(EVALUATOR, models.__getitem__, lambda: random.Random(seed).random, SETTINGS)


def busy(now: float = 3.0) -> View:
    """One runs, two wait, and arrivals have been seen: there is something to choose."""
    return view(running("a", cpu=1.0), queued("b", 1.0), queued("c", 2.5), now=now, level=3.0, refill=0.1)


def test_the_same_seed_and_the_same_view_give_the_same_choice() -> None:
    seen = busy()
    first = strategy().choose(seen, estimates(seen.jobs, MODELS), hurry=False)
    second = strategy().choose(seen, estimates(seen.jobs, MODELS), hurry=False)
    assert first == second
    assert first.curve


def test_while_nothing_happens_the_choice_stands() -> None:
    chooser, seen = strategy(), busy()
    known = estimates(seen.jobs, MODELS)
    first = chooser.choose(seen, known, hurry=False)
    assert chooser.choose(replace(seen, now=4.9), known, hurry=False) is first
    assert chooser.choose(replace(busy(6.0), now=6.0), known, hurry=False) is not first


def test_a_job_that_comes_makes_it_choose_again_but_not_in_a_hurry() -> None:
    chooser, seen = strategy(), busy()
    first = chooser.choose(seen, estimates(seen.jobs, MODELS), hurry=False)
    more = replace(seen, jobs=[*seen.jobs, queued("d", 3.0)], now=3.1)
    assert chooser.choose(more, estimates(more.jobs, MODELS), hurry=True) is first
    assert chooser.choose(more, estimates(more.jobs, MODELS), hurry=False) is not first


def test_a_hurry_before_the_first_choice_still_gets_one() -> None:
    seen = busy()
    assert strategy().choose(seen, estimates(seen.jobs, MODELS), hurry=True).curve


def test_it_asks_for_trust_so_that_no_untrusted_job_sprints() -> None:
    models = {"fit": prior("fit", 2.0)}
    seen = busy()
    known = estimates(seen.jobs, models)
    trigger = strategy(models=models).choose(seen, known, hurry=False)
    assert trigger.needs_trust
    decisions = decide(replace(seen, now=1000.0), known, trigger, None)
    assert [(d.verb, d.reason) for d in decisions] == [(Verb.HOLD, Reason.UNTRUSTED)]


def _decisions(load: Load, until: float) -> list[tuple[float, list[Decision]]]:
    budget = Budget(capacity=3.0, refill=0.1)
    _, machine = run(
        load,
        budget,
        lambda models: ModelDriven(EVALUATOR, models.model, lambda: random.Random(5).random, SETTINGS),
    )
    return [(turn.at, list(turn.decisions)) for turn in machine.turns if turn.at < until]


def test_jobs_that_have_not_arrived_change_nothing() -> None:
    """Two worlds that are the same until the fifth arrival: until then every decision is the same."""
    load = poisson(4, servers=1, jobs=8, exact=True)
    parting = load.jobs[4].arrival
    rush = [
        VirtualJob(name=f"x{n}", kind="small", arrival=parting + 0.01 * n, work=1.0, rate=2.5)
        for n in range(8)
    ]
    story = _decisions(load, parting)
    assert _decisions(Load((*load.jobs[:4], *rush), 1), parting) == story
    alone = _decisions(Load(load.jobs[:4], 1), parting)  # this world ends with its last job
    assert alone == story[: len(alone)]
    assert len(alone) > 10
    assert any(d.verb is Verb.SPRINT for _, decisions in story for d in decisions)


def test_the_announced_future_is_looked_at_only_by_the_labelled_bound() -> None:
    announced = [job for job in poisson(9, servers=1, jobs=6).simulated() if job.arrival > 3.0]
    seen = busy()
    known = estimates(seen.jobs, MODELS)
    knowing = ModelDriven(EVALUATOR, MODELS.__getitem__, lambda: random.Random(1).random, SETTINGS, announced)
    assert "1 futures" in knowing.choose(seen, known, hurry=False).sentence
    assert "3 futures" in strategy().choose(seen, known, hurry=False).sentence


def test_a_sprint_that_adds_nothing_is_simulated_as_no_budget_and_not_divided_by() -> None:
    """A policy whose sprint equals its base, such as the one that only observes, must not stop a run."""
    seen = busy()
    idle = replace(seen, sprint=seen.base)

    trigger = strategy().choose(idle, estimates(idle.jobs, MODELS), hurry=False)

    assert (idle.cost_rate, trigger.after) == (0.0, float("inf"))


def liking(crowd: int) -> ModelDriven:
    """A strategy whose simulator finds one crowd best, and no exception from it better."""

    def answers(alternatives: Sequence[Alternative]) -> Sequence[Score]:
        good = [a.crowd == crowd and not a.triggers for a in alternatives]
        return [Score(value=1.0 if g else 2.0, sprint=0.0, longest=10.0) for g in good]

    return ModelDriven(lambda _: answers, MODELS.__getitem__, lambda: random.Random(1).random, SETTINGS)


def test_when_enough_wait_all_that_run_are_to_sprint_and_are_told_why() -> None:
    seen = busy()
    trigger = liking(2).choose(seen, estimates(seen.jobs, MODELS), hurry=False)
    assert {name: own.at for name, own in trigger.own.items()} == {"a": seen.now}
    assert "2 wait" in trigger.own["a"].sentence
    assert "as soon as 2 wait" in trigger.sentence


def test_while_too_few_wait_nobody_is_told_to_sprint_for_it() -> None:
    seen = busy()
    trigger = liking(3).choose(seen, estimates(seen.jobs, MODELS), hurry=False)
    assert trigger.own == {}
