"""The compiled events follow the plain ones, job by job and score by score."""

import random
from collections.abc import Sequence
from dataclasses import replace
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiled_simulator import loaded
from kubesprint.core.batch import Alternative, Evaluator, Question, one_by_one
from kubesprint.core.events import simulate_servers
from kubesprint.core.queueing import simulate_one_server
from kubesprint.core.search import search_timeout
from kubesprint.core.simulation import Present, SimJob, SprintRules
from kubesprint.core.spec import Statistic
from simulation.queue_cases import Case, amounts, queues, some_rules
from simulation.test_queue_agreement import assert_same

NEAR = 1e-9
PLAIN = one_by_one(simulate_servers)


@settings(max_examples=200, deadline=None)
@given(queues(most_jobs=20), st.sampled_from([0, 0, 1, 2, 3]))
def test_the_compiled_events_equal_the_plain_ones(case: Case, crowd: int) -> None:
    rules = replace(case.rules, crowd=crowd)
    expected = simulate_servers(case.jobs, rules, case.servers, case.present)
    assert_same(loaded().simulate(case.jobs, rules, case.servers, case.present), expected)


@settings(max_examples=80, deadline=None)
@given(queues(most_servers=1, most_jobs=25))
def test_with_one_server_they_equal_the_recursion(case: Case) -> None:
    expected = simulate_one_server(case.jobs, case.rules, case.present)
    assert_same(loaded().simulate(case.jobs, case.rules, 1, case.present), expected)


@st.composite
def questions(draw: st.DrawFn) -> tuple[Question, list[Alternative]]:
    """Some jobs that all scenarios begin with, as a live search has them, and other futures behind."""
    case = draw(queues(most_jobs=8))
    last = case.jobs[-1].arrival
    futures = draw(
        st.lists(st.lists(st.tuples(amounts(0, 4), amounts(0, 3)), max_size=5), min_size=1, max_size=3)
    )
    scenarios = [
        [*case.jobs, *(SimJob(arrival=last + a, work=w, rate=2.0) for a, w in sorted(future))]
        for future in futures
    ]
    places = st.dictionaries(st.integers(0, len(case.jobs) - 1), st.one_of(amounts(0, 6), st.just(inf)))
    alternatives = draw(
        st.lists(
            st.builds(
                Alternative,
                timeout=st.one_of(amounts(0, 4), st.sampled_from([0.0, inf])),
                crowd=st.integers(0, 3),
                triggers=places,
            ),
            min_size=1,
            max_size=4,
        )
    )
    question = Question(
        scenarios=scenarios,
        rules=case.rules,
        servers=case.servers,
        present=case.present,
        statistic=draw(st.sampled_from(Statistic)),
    )
    return question, alternatives


@settings(max_examples=120, deadline=None)
@given(questions())
def test_a_batch_scores_like_one_simulation_after_another(asked: tuple[Question, list[Alternative]]) -> None:
    question, alternatives = asked
    fast, plain = (evaluator(question)(alternatives) for evaluator in (loaded().evaluator, PLAIN))
    for one, other in zip(fast, plain, strict=True):
        assert one.value == pytest.approx(other.value, abs=NEAR)
        assert one.sprint == pytest.approx(other.sprint, abs=NEAR)
        assert one.longest == pytest.approx(other.longest, abs=NEAR)


def long_trace(servers: int, jobs: int) -> list[SimJob]:
    dice, now, trace = random.Random(7), 0.0, []
    for _ in range(jobs):
        now += dice.expovariate(0.8 * servers)
        trace.append(SimJob(arrival=now, work=dice.expovariate(1.0), rate=2.5))
    return trace


@pytest.mark.parametrize("servers", [1, 2, 4, 16])
def test_the_statistics_of_a_long_trace_agree(servers: int) -> None:
    """Single jobs may differ where rounding decides at the threshold; what they come to does not."""
    jobs = long_trace(servers, 3000)
    rules = SprintRules(timeout=2.0, capacity=15.0, refill=0.1)
    for statistic in Statistic:
        question = Question(
            scenarios=[jobs], rules=rules, servers=servers, present=Present(), statistic=statistic
        )
        fast, plain = (e(question)([Alternative(timeout=2.0)])[0] for e in (loaded().evaluator, PLAIN))
        assert fast.value == pytest.approx(plain.value, rel=1e-3)
        assert fast.sprint == pytest.approx(plain.sprint, rel=1e-3)


@settings(max_examples=25, deadline=None)
@given(queues(most_jobs=12), some_rules())
def test_a_search_finds_a_time_out_that_is_as_good(case: Case, rules: SprintRules) -> None:
    found = [
        search_timeout([case.jobs], rules, case.servers, evaluator, present=case.present)
        for evaluator in (loaded().evaluator, PLAIN)
    ]
    assert found[0].value == pytest.approx(found[1].value, abs=1e-8)


def evaluators() -> Sequence[Evaluator]:
    return (loaded().evaluator, PLAIN)


def test_a_job_whose_trigger_is_still_to_come_does_not_sprint_meanwhile() -> None:
    job = SimJob(arrival=0.0, work=4.0, rate=2.0, started=0.0, sprinting=True)
    question = Question(
        scenarios=[[job]],
        rules=SprintRules(capacity=10.0),
        servers=1,
        present=Present(now=1.0, level=10.0),
        statistic=Statistic.MEAN,
    )
    ask = [Alternative(timeout=0.0), Alternative(timeout=inf), Alternative(timeout=inf, triggers={0: 1.0})]
    for evaluator in evaluators():
        assert [score.value for score in evaluator(question)(ask)] == pytest.approx([3.0, 5.0, 3.0])


@pytest.mark.parametrize("scenarios", [[], [[]], [[SimJob(arrival=0.0, work=1.0)], []]])
def test_a_question_without_jobs_is_an_error(scenarios: list[list[SimJob]]) -> None:
    question = Question(
        scenarios=scenarios, rules=SprintRules(), servers=1, present=Present(), statistic=Statistic.MEAN
    )
    for evaluator in evaluators():
        with pytest.raises(ValueError, match="every scenario a job"):
            evaluator(question)
        with pytest.raises(ValueError, match="needs a server"):
            evaluator(replace(question, scenarios=[[SimJob(arrival=0.0, work=1.0)]], servers=0))


def test_nothing_to_simulate_gives_nothing() -> None:
    assert loaded().simulate([], SprintRules(), 1, Present()) == []
