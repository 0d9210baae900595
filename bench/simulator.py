"""How many jobs the simulators serve a second, on one core, beside what a core can do at all.

One server: policies side by side in lanes, called from Python with policies and jobs as arrays; then a
thousand policies on ten thousand jobs, policies given as Python objects. Two servers: events. In the same
run: the recursion and the events in plain Python, the lanes in numpy, a bare Lindley recursion (no sprint:
the least that a queue can cost, compiled nowhere), the bandwidth of memory, and the cost of starting.
Each figure is the best of its repeats, for others can only take time away; median and mad are beside it.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bench.decision import lindley
from bench.output import Results, Row, add_common, progress
from bench.stats import spread
from kubesprint.core.batch import Alternative, Evaluator, Question, one_by_one
from kubesprint.core.events import simulate_servers
from kubesprint.core.queueing import simulate_one_server
from kubesprint.core.search import anneal_timeout, search_timeout
from kubesprint.core.simulation import Present, SimJob, SprintRules
from kubesprint.core.spec import Statistic
from kubesprint.core.units import Seconds
from kubesprint.learn.simulator.lane_arrays import LANES, trace_of
from kubesprint.learn.simulator.lanes_numpy import serve as serve_numpy
from kubesprint.learn.simulator.loading import Compiled, compiled, lanes
from kubesprint.learn.simulator.planning import means

SEED = 1
LOAD, RATE = 0.77, 2.5
RULES = SprintRules(capacity=Seconds(15.0), refill=0.1, hysteresis=Seconds(1.0))
LONGEST_TIMEOUT = 4.0  # seconds; a mean job has one second of work
COPY_BYTES = 1 << 27

START = """
import json, resource, sys, time
from pathlib import Path
begun = time.perf_counter()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
from kubesprint.learn.simulator.loading import compiled, lanes
loaded = compiled(Path(sys.argv[1]))
live = time.perf_counter() - begun
lanes(loaded.cache)
both, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([live, both, before, after]))
"""


def trace(jobs: int, servers: int) -> list[SimJob]:
    """Poisson arrivals at a load of `LOAD` for each server, exponential sizes of mean 1."""
    dice, now, made = random.Random(SEED), 0.0, []
    for _ in range(jobs):
        now += dice.expovariate(LOAD * servers)
        made.append(SimJob(arrival=Seconds(now), work=Seconds(dice.expovariate(1.0)), rate=RATE))
    return made


def policies(count: int) -> list[SprintRules]:
    """Time-outs from 0 to the longest."""
    return [
        SprintRules(
            timeout=Seconds(LONGEST_TIMEOUT * n / count),
            capacity=RULES.capacity,
            refill=RULES.refill,
            hysteresis=RULES.hysteresis,
        )
        for n in range(count)
    ]


def _start(cache: Path) -> Row:
    """A process of its own: seconds until a live search could begin, until lanes too, and memory in bytes."""
    run = subprocess.run(
        [sys.executable, "-c", START, str(cache)], capture_output=True, text=True, check=True, timeout=300
    )
    live, all_of_it, before, after = json.loads(run.stdout)
    return {
        "live": live,
        "with lanes": all_of_it,
        "rss before": before * 1024,
        "rss": after * 1024,
    }


def _asked(evaluator: Evaluator, jobs: Sequence[SimJob], servers: int, count: int) -> Callable[[], object]:
    """A call that scores `count` time-outs; the question is put before."""
    question = Question(
        scenarios=[jobs], rules=RULES, servers=servers, present=Present(), statistic=Statistic.MEAN
    )
    answers = evaluator(question)
    alternatives = [Alternative(timeout=rules.timeout) for rules in policies(count)]
    return lambda: answers(alternatives)


def _cases(ready: Compiled, *, quick: bool) -> dict[str, tuple[int, Callable[[], object]]]:
    """By name: how many jobs are served, and the call."""
    size = 20_000 if quick else 100_000
    double, single = lanes(ready.cache), lanes(ready.cache, single=True)
    long, short, wide = trace_of(trace(size, 1)), trace_of(trace(10_000, 1)), trace(10_000, 2)
    some, thousand = policies(LANES), policies(1000)
    few = trace_of(trace(1_000, 1))
    plain, plain_wide = trace(2_000, 1), trace(2_000, 2)
    wider, big = trace(10_000, 4), np.ones(COPY_BYTES // 8)
    other = np.empty_like(big)
    live, plainly = ready.evaluator, one_by_one(simulate_servers)
    rules = policies(2)[1]
    return {
        "one server, lanes, double": (size * LANES, lambda: means(double, long, some, Present())),
        "one server, lanes, single": (size * LANES, lambda: means(single, long, some, Present(), np.float32)),
        "1,000 policies, double": (10_000_000, lambda: means(double, short, thousand, Present())),
        "1,000 policies, single": (10_000_000, lambda: means(single, short, thousand, Present(), np.float32)),
        "one server, lanes in numpy": (
            64_000,
            lambda: means(serve_numpy, few, some, Present()),
        ),
        "one server, events": (80_000, _asked(live, trace(10_000, 1), 1, 8)),
        "two servers, events": (80_000, _asked(live, wide, 2, 8)),
        "four servers, events": (80_000, _asked(live, wider, 4, 8)),
        "one server, plain recursion": (2_000, lambda: simulate_one_server(plain, rules, Present())),
        "two servers, plain events": (2_000, _asked(plainly, plain_wide, 2, 1)),
        "Lindley, plain": (2_000, lambda: lindley(plain)),
        "memory, bytes copied (read + written)": (2 * COPY_BYTES, lambda: np.copyto(other, big)),
    }


def _measured(cases: dict[str, tuple[int, Callable[[], object]]], repeats: int) -> list[Row]:
    """The cases in turn, again and again, so that a disturbance hits all of them."""
    rows: list[Row] = []
    for repeat in range(repeats + 1):
        for name, (count, call) in cases.items():
            wall, cpu = time.perf_counter(), time.thread_time()
            call()
            wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
            if repeat:  # the first touches memory and caches
                rows.append({"what": name, "count": count, "wall": wall, "cpu": cpu})
    return rows


def _searches(ready: Compiled) -> Row:
    """Grid and annealing on the same jobs: what they find, and how many time-outs they try."""
    jobs = trace(5_000, 1)
    begun = time.perf_counter()
    grid = search_timeout([jobs], RULES, 1, ready.planner, per_doubling=4, rounds=4)
    middle = time.perf_counter()
    dice = random.Random(SEED).random
    paper = anneal_timeout([jobs], RULES, 1, ready.planner, dice, steps=len(grid.curve))
    return {
        "grid": {
            "value": grid.value,
            "timeout": grid.timeout,
            "tried": len(grid.curve),
            "seconds": middle - begun,
        },
        "annealing": {
            "value": paper.value,
            "timeout": paper.timeout,
            "tried": len(paper.curve),
            "seconds": time.perf_counter() - middle,
        },
    }


def _table(rows: Sequence[Row]) -> list[Row]:
    table: list[Row] = []
    for name in dict.fromkeys(row["what"] for row in rows):
        own = [row for row in rows if row["what"] == name]
        rates = spread([row["count"] / row["wall"] / 1e6 for row in own])
        best = max(row["count"] / row["wall"] for row in own)
        table.append(
            {
                "what": name,
                "best M/s": best / 1e6,
                "median M/s": rates.median,
                "mad M/s": rates.mad,
                "best by CPU time M/s": max(row["count"] / row["cpu"] for row in own) / 1e6,
                "best seconds": min(row["wall"] for row in own),
                "n": len(own),
            }
        )
    return table


def main(words: list[str] | None = None) -> None:
    """Measure and print."""
    parser = add_common(argparse.ArgumentParser(prog="python -m bench simulator", description=__doc__))
    options = parser.parse_args(words)
    results = Results("simulator", options)
    with tempfile.TemporaryDirectory() as folder:
        progress("simulator: compiling, then starting from the cache")
        first, again = _start(Path(folder)), [_start(Path(folder)) for _ in range(2 if options.quick else 5)]
        ready = compiled(Path(folder))
        progress("simulator: measuring")
        rows = _measured(_cases(ready, quick=options.quick), 7 if options.quick else 40)
        searches = _searches(ready)
    results.raw(rows)
    table = _table(rows)
    best = {row["what"]: row["best M/s"] * 1e6 for row in table}
    seconds = {row["what"]: row["best seconds"] for row in table}
    results.finish(
        table,
        one_server_jobs_per_second=best["one server, lanes, double"],
        one_server_single_jobs_per_second=best["one server, lanes, single"],
        two_servers_jobs_per_second=best["two servers, events"],
        thousand_policies_seconds=seconds["1,000 policies, double"],
        plain_recursion_jobs_per_second=best["one server, plain recursion"],
        memory_bytes_per_second=best["memory, bytes copied (read + written)"],
        start={"compiled": first, "cached": again},
        peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        search=searches,
        cores=len(os.sched_getaffinity(0)),
        seeds={"trace": SEED},
    )


if __name__ == "__main__":
    main()
