"""`Engine.step()` on a virtual machine, and what the event simulator costs a job.

4 jobs run and 10 wait. A step with *search* follows a change of the jobs; one with *no search*
follows nothing, and reuses the last choice; *time passed* is between: no job came or went, but the last
choice is old, so only the choice for the running jobs is taken again. The simulator runs beside a plain
Lindley recursion, which knows no sprint and is the least that a queue of one server can cost.
"""

import argparse
import random
import time
from collections.abc import Callable, Sequence
from functools import cache

from bench.output import Results, Row, add_common, progress
from bench.stats import spread
from kubesprint.adapters.virtual.machine import VirtualJob, VirtualMachine
from kubesprint.apps.simulators import fastest_simulators
from kubesprint.core.allocation import Allocation
from kubesprint.core.batch import Evaluator, one_by_one
from kubesprint.core.budget import Budget, full
from kubesprint.core.events import simulate_servers
from kubesprint.core.forecast import Basis, Forecaster, KindModel
from kubesprint.core.modeldriven import ModelDriven, SearchSettings
from kubesprint.core.policy import FixedTimeout, Strategy
from kubesprint.core.simulation import Present, SimJob, SprintRules
from kubesprint.core.spec import Mode
from kubesprint.core.units import FOREVER, Cores, CoreSeconds, Seconds
from kubesprint.engine.engine import Engine, EngineSettings

BASE, SPRINT = Allocation(Cores(0.4)), Allocation(Cores(1.0))
KINDS = {"small": (2.0, 2.5), "middle": (6.0, 2.2), "large": (15.0, 1.6)}
RUNNING, QUEUED = 4, 10
SEED = 1
PLAINLY = "model-driven, plain"


def _models() -> Forecaster:
    models = {
        kind: KindModel(
            kind=kind,
            work=Seconds(work),
            deviation=Seconds(work * 0.2),
            cpu=CoreSeconds(work * 0.4),
            rate=rate,
            basis=Basis.PROFILE,
            samples=0,
        )
        for kind, (work, rate) in KINDS.items()
    }
    return Forecaster(models, BASE, SPRINT)


@cache
def _evaluator(name: str) -> Evaluator:
    return one_by_one(simulate_servers) if name == PLAINLY else fastest_simulators().evaluator


def _strategy(name: str, models: Forecaster) -> Strategy:
    if name.startswith("model-driven"):
        return ModelDriven(
            _evaluator(name), models.model, lambda: random.Random(SEED).random, SearchSettings()
        )
    return FixedTimeout(FOREVER if name == "never" else Seconds(0.0))


def _scene(name: str) -> tuple[VirtualMachine, Engine]:
    """A new machine with its jobs in place, and an engine that has not looked at them yet."""
    kinds = list(KINDS)
    jobs = [
        VirtualJob(
            name=f"j{n:02}", kind=kinds[n % 3], arrival=Seconds(0.0), work=Seconds(KINDS[kinds[n % 3]][0])
        )
        for n in range(RUNNING + QUEUED)
    ]
    machine, models = VirtualMachine(jobs, RUNNING, BASE), _models()
    engine = Engine(
        EngineSettings(run="r", epoch=1, mode=Mode.ENFORCE, base=BASE, sprint=SPRINT, servers=RUNNING),
        clock=machine,
        workloads=machine,
        nodes=machine,
        purse=machine,
        recorder=machine,
        forecaster=models,
        strategy=_strategy(name, models),
        bucket=full(Budget(capacity=CoreSeconds(9.0), refill=Cores(0.02)), Seconds(0.0)),
    )
    machine.run(engine, limit=Seconds(0.0))  # puts the jobs into their slots; decides once, at time 0
    return machine, engine


def _timed(call: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def _steps(name: str, repeats: int) -> list[Row]:
    rows: list[Row] = []
    for repeat in range(repeats):
        machine, engine = _scene(name)
        strategy = engine._strategy  # noqa: SLF001  the cache is what is being measured
        for part in ("search", "no search", "time passed"):
            if isinstance(strategy, ModelDriven):
                _outdate(strategy, part)
            wall, cpu = _timed(engine.step)
            rows.append({"strategy": name, "step": part, "repeat": repeat, "wall": wall, "cpu": cpu})
        assert sum(1 for job in machine.observe().jobs if job.start is not None) == RUNNING
    return rows


def _outdate(strategy: ModelDriven, part: str) -> None:
    """Make the last choice look as a change of the jobs, or time alone, would leave it."""
    if part == "search":
        strategy._state = ()  # noqa: SLF001
    elif part == "time passed":
        strategy._chosen_at = -FOREVER  # noqa: SLF001


def lindley(jobs: Sequence[SimJob]) -> list[float]:
    """Response times of one server without sprints: W' = max(0, W + S - A)."""
    responses, free_at = [], 0.0
    for job in jobs:
        free_at = max(free_at, job.arrival) + job.work
        responses.append(free_at - job.arrival)
    return responses


def _trace(jobs: int, servers: int) -> list[SimJob]:
    """Load 0.8 for each server."""
    dice, now, trace = random.Random(SEED), 0.0, []
    for _ in range(jobs):
        now += dice.expovariate(0.8 * servers)
        trace.append(SimJob(arrival=Seconds(now), work=Seconds(dice.expovariate(1.0)), rate=2.5))
    return trace


def _simulator(jobs: int, repeats: int) -> list[Row]:
    trace, wide = _trace(jobs, 1), _trace(jobs, 4)
    rules = SprintRules(timeout=Seconds(2.0), capacity=Seconds(15.0), refill=0.1)
    calls: dict[str, Callable[[], object]] = {
        "lindley": lambda: lindley(trace),
        "events k=1": lambda: simulate_servers(trace, rules, 1, Present()),
        "events k=4": lambda: simulate_servers(wide, rules, 4, Present()),
    }
    return [
        {"simulator": name, "wall": wall / jobs, "cpu": cpu / jobs}
        for _ in range(repeats)
        for name, call in calls.items()
        for wall, cpu in [_timed(call)]
    ]


def _row(what: str, values: Sequence[float], scale: float, unit: str, base: float | None) -> Row:
    s = spread([value * scale for value in values])
    ratio = None if base is None else s.median / (base * scale)
    return {
        "what": what,
        "unit": unit,
        "n": s.count,
        "median": s.median,
        "p95": s.p95,
        "p99": s.p99,
        "mad": s.mad,
        "x baseline": ratio,
    }


def main(words: list[str] | None = None) -> None:
    """Measure and print."""
    options = add_common(
        argparse.ArgumentParser(prog="python -m bench decision", description=__doc__)
    ).parse_args(words)
    results = Results("decision", options)
    repeats = 20 if options.quick else 300
    steps: list[Row] = []
    for name in ("never", "always", "model-driven", PLAINLY):
        progress(f"decision: {name}")
        steps += _steps(name, repeats)
    simulated = _simulator(2_000 if options.quick else 20_000, 5 if options.quick else 30)
    results.raw(steps, "steps")
    results.raw(simulated, "simulator")
    rows: list[Row] = []
    for clock in ("wall", "cpu"):
        groups: dict[str, list[float]] = {}
        for r in steps:
            groups.setdefault(f"step {r['strategy']}, {r['step']}", []).append(r[clock])
        base = spread(groups["step never, search"]).median
        rows += [_row(f"{what}, {clock}", v, 1e3, "ms", base) for what, v in groups.items()]
        names = dict.fromkeys(r["simulator"] for r in simulated)
        per = {n: [r[clock] for r in simulated if r["simulator"] == n] for n in names}
        base = spread(per["lindley"]).median
        rows += [_row(f"{n}, {clock}", v, 1e6, "us/job", base) for n, v in per.items()]
    results.finish(rows, seeds={"dice": SEED}, baseline="step: never, search; simulator: Lindley")


if __name__ == "__main__":
    main()
