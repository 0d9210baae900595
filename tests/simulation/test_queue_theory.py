"""The simulators against queueing theory. Seeds are fixed; tolerances are several standard errors."""

import random
from collections.abc import Callable, Sequence
from math import factorial, inf

import pytest

from kubesprint.core.events import simulate_servers
from kubesprint.core.queueing import simulate_one_server, summarise
from kubesprint.core.simulation import Outcome, Present, QueueSimulator, SimJob, SprintRules

JOBS = 40_000
LOAD = 0.75
NEVER = SprintRules()


def recursion(jobs: Sequence[SimJob], rules: SprintRules, servers: int, present: Present) -> list[Outcome]:
    assert servers == 1
    return simulate_one_server(jobs, rules, present)


def arrivals(load: float, work: Callable[[random.Random], float], rate: float = 1.0) -> list[SimJob]:
    dice = random.Random(20180423)
    at, jobs = 0.0, []
    for _ in range(JOBS):
        at += dice.expovariate(load)
        jobs.append(SimJob(arrival=at, work=work(dice), rate=rate))
    return jobs


def mean_response(simulate: QueueSimulator, jobs: list[SimJob], servers: int) -> float:
    return summarise(jobs, simulate(jobs, NEVER, servers, Present())).mean


@pytest.mark.parametrize("simulate", [recursion, simulate_servers])
def test_exponential_work_on_one_server(simulate: QueueSimulator) -> None:
    jobs = arrivals(LOAD, lambda dice: dice.expovariate(1.0))
    assert mean_response(simulate, jobs, 1) == pytest.approx(1 / (1 - LOAD), rel=0.05)


@pytest.mark.parametrize("simulate", [recursion, simulate_servers])
def test_constant_work_on_one_server(simulate: QueueSimulator) -> None:
    jobs = arrivals(LOAD, lambda dice: 1.0)
    assert mean_response(simulate, jobs, 1) == pytest.approx(1 + LOAD / (2 * (1 - LOAD)), rel=0.03)


@pytest.mark.parametrize("servers", [2, 4])
def test_exponential_work_on_several_servers(servers: int) -> None:
    offered = LOAD * servers
    waiting = offered**servers / factorial(servers) / (1 - LOAD)
    erlang_c = waiting / (sum(offered**n / factorial(n) for n in range(servers)) + waiting)
    jobs = arrivals(offered, lambda dice: dice.expovariate(1.0))
    expected = 1 + erlang_c / (servers - offered)
    assert mean_response(simulate_servers, jobs, servers) == pytest.approx(expected, rel=0.04)


@pytest.mark.parametrize("servers", [1, 2, 4])
def test_sprinting_always_on_an_endless_budget_is_a_queue_of_smaller_jobs(servers: int) -> None:
    jobs = arrivals(1.5 * servers, lambda dice: dice.expovariate(1.0), rate=2.5)[:5000]
    always = SprintRules(timeout=0.0, capacity=inf)
    smaller = [SimJob(arrival=job.arrival, work=job.work / 2.5) for job in jobs]
    expected = simulate_servers(smaller, NEVER, servers, Present())
    got = [simulate_servers(jobs, always, servers, Present())]
    if servers == 1:
        got.append(simulate_one_server(jobs, always, Present()))
    for outcomes in got:
        for one, other in zip(outcomes, expected, strict=True):
            assert one.end == pytest.approx(other.end, abs=1e-8)
            assert one.sprint == pytest.approx(other.end - other.start, abs=1e-8)
