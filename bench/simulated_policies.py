"""Policies on the virtual machine: the real engine, whole runs in virtual time, many seeds.

Each cell is a load, a mix of services, a budget and a number of slots; each seed is one run of every
policy on the same arrivals and the same true sizes. Sizes scatter about what the engine's profiles say.
The fixed time-out is the best of its cell by simulation on other seeds. `clairvoyant` knows the true
arrivals (not the sizes): a bound, not a policy. Refill rule: Paused; every run starts full.
"""

import argparse
import itertools
import math
import multiprocessing
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from bench.output import Results, Row, add_common, progress
from bench.stats import bootstrap, quantile
from kubesprint.adapters.virtual.machine import VirtualJob, VirtualMachine
from kubesprint.apps.simulators import fastest_simulators
from kubesprint.apps.wiring import new_dice_each_time
from kubesprint.core.allocation import Allocation
from kubesprint.core.batch import Evaluator
from kubesprint.core.budget import Budget, full
from kubesprint.core.forecast import Basis, Forecaster, KindModel
from kubesprint.core.modeldriven import ModelDriven, SearchSettings
from kubesprint.core.policy import FixedTimeout, Strategy
from kubesprint.core.search import search_timeout
from kubesprint.core.simulation import SimJob, SprintRules
from kubesprint.core.spec import Mode
from kubesprint.core.units import FOREVER, Cores, CoreSeconds, Seconds
from kubesprint.engine.engine import Engine, EngineSettings

BASE, SPRINT = Allocation(Cores(0.4)), Allocation(Cores(1.0))
EXTRA = 0.6  # core-seconds a second of sprint
SCATTER = 0.15  # standard deviation / mean of a size within its kind
MIXES: Mapping[str, Mapping[str, tuple[float, float, int]]] = {  # kind: (base seconds, speed-up, share)
    "even": {"a": (2.0, 2.5, 1), "b": (3.0, 2.4, 1), "c": (4.0, 2.3, 1), "d": (5.0, 2.2, 1)},
    "heavy": {"short": (1.0, 2.5, 4), "long": (14.0, 2.2, 1)},
    "uneven": {"quick": (3.0, 2.5, 1), "stubborn": (3.0, 1.2, 1)},
}
BUDGETS = {  # sprint seconds, sprint seconds per second
    "small": (6.0, 0.02),
    "large": (16.0, 0.03),
    "real": (8.0, 0.03),  # of the published `bench policies`
}
POLICIES = ("never", "always", "timeout", "model-driven", "clairvoyant")
PLANNING_SEEDS = range(10_000, 10_030)


@cache
def evaluator() -> Evaluator:
    """As runs have it; loaded once in each worker."""
    return fastest_simulators().evaluator


@dataclass(frozen=True, slots=True)
class Cell:
    """One setting; picklable."""

    load: float
    mix: str
    budget: str
    slots: int
    jobs: int

    def models(self) -> dict[str, KindModel]:
        """What the engine is told."""
        return {
            kind: KindModel(
                kind=kind,
                work=Seconds(work),
                deviation=Seconds(work * SCATTER),
                cpu=CoreSeconds(work * BASE.cores),
                rate=rate,
                basis=Basis.PROFILE,
                samples=0,
            )
            for kind, (work, rate, _) in MIXES[self.mix].items()
        }

    def arrivals(self, seed: int) -> list[VirtualJob]:
        """Poisson arrivals at this load; log-normal sizes with the mean of their kind."""
        kinds, dice = MIXES[self.mix], random.Random(seed)
        shares = [share for _, _, share in kinds.values()]
        mean = sum(work * share for work, _, share in kinds.values()) / sum(shares)
        sigma = math.sqrt(math.log(1.0 + SCATTER**2))
        now, jobs = 0.0, []
        for number in range(self.jobs):
            kind = dice.choices(list(kinds), shares)[0]
            work, rate, _ = kinds[kind]
            size = work * dice.lognormvariate(-(sigma**2) / 2.0, sigma)
            jobs.append(
                VirtualJob(
                    name=f"j{number:03}",
                    kind=kind,
                    arrival=Seconds(now),
                    work=Seconds(size),
                    rate=rate,
                    cpu_per_work=BASE.cores,
                )
            )
            now += dice.expovariate(self.load * self.slots / mean)
        return jobs

    def rules(self) -> SprintRules:
        """The budget in the simulator's units."""
        capacity, refill = BUDGETS[self.budget]
        return SprintRules(capacity=Seconds(capacity), refill=refill)

    def row(self) -> dict[str, object]:
        """As columns."""
        return {"load": self.load, "mix": self.mix, "budget": self.budget, "slots": self.slots}


def planned_timeout(cell: Cell) -> Seconds:
    """The best static time-out of a cell."""
    scenarios = [
        [SimJob(arrival=j.arrival, work=j.work, rate=j.rate) for j in cell.arrivals(seed)]
        for seed in PLANNING_SEEDS
    ]
    return search_timeout(
        scenarios, cell.rules(), cell.slots, fastest_simulators().evaluator, per_doubling=2
    ).timeout


def _strategy(
    name: str, timeout: Seconds, models: Forecaster, jobs: Sequence[VirtualJob], seed: int
) -> Strategy:
    fixed = {"never": FOREVER, "always": Seconds(0.0), "timeout": timeout}
    if name in fixed:
        return FixedTimeout(fixed[name])
    known = [SimJob(arrival=j.arrival, work=(m := models.model(j.kind)).work, rate=m.rate) for j in jobs]
    announced = known if name == "clairvoyant" else None
    return ModelDriven(evaluator(), models.model, new_dice_each_time(seed), SearchSettings(), announced)


def simulate(cell: Cell, timeout: Seconds, name: str, seed: int) -> Row:
    """One run."""
    capacity, refill = BUDGETS[cell.budget]
    jobs, models = cell.arrivals(seed), Forecaster(cell.models(), BASE, SPRINT)
    machine = VirtualMachine(jobs, cell.slots, BASE)
    budget = Budget(capacity=CoreSeconds(capacity * EXTRA), refill=Cores(refill * EXTRA))
    engine = Engine(
        EngineSettings(run="r", epoch=1, mode=Mode.ENFORCE, base=BASE, sprint=SPRINT, servers=cell.slots),
        clock=machine,
        workloads=machine,
        nodes=machine,
        purse=machine,
        recorder=machine,
        forecaster=models,
        strategy=_strategy(name, timeout, models, jobs, seed),
        bucket=full(budget, Seconds(0.0)),
    )
    responses = [float(job.response) for job in machine.run(engine) if job.response is not None]
    assert len(responses) == len(jobs), "a virtual run lost a job"
    return {
        **cell.row(),
        "policy": name,
        "seed": seed,
        "mean": math.fsum(responses) / len(responses),
        "p95": quantile(responses, 0.95),
        "timeout": timeout if name == "timeout" and timeout < FOREVER else None,
    }


def one_seed(task: tuple[Cell, Seconds, int]) -> list[Row]:
    """Every policy on one seed; in a worker."""
    cell, timeout, seed = task
    return [simulate(cell, timeout, name, seed) for name in POLICIES]


def ratios(cell: Cell, rows: Sequence[Row]) -> list[Row]:
    """Percentiles over seeds of reference / policy, of the mean responses."""
    means = {(r["policy"], r["seed"]): r["mean"] for r in rows}
    seeds = sorted({r["seed"] for r in rows})
    table: list[Row] = []
    for reference, policy in itertools.product(("always", "never"), POLICIES):
        if reference == policy:
            continue
        each = [means[reference, s] / means[policy, s] for s in seeds]
        interval = bootstrap(each)
        table.append(
            {
                **cell.row(),
                "ratio": f"{reference} / {policy}",
                "seeds": len(each),
                "p5": quantile(each, 0.05),
                "median": quantile(each, 0.5),
                "p95": quantile(each, 0.95),
                "centre": interval.centre,
                "low": interval.low,
                "high": interval.high,
            }
        )
    return table


def main(words: list[str] | None = None) -> None:
    """Simulate and print."""
    parser = add_common(
        argparse.ArgumentParser(prog="python -m bench simulated_policies", description=__doc__)
    )
    parser.add_argument("--seeds", type=int, help="of each cell (50; quick: 4)")
    parser.add_argument("--jobs", type=int, help="of each run (40; quick: 15)")
    parser.add_argument("--loads", type=float, nargs="+", help="(0.5 0.75 0.9 0.95; quick: 0.9)")
    parser.add_argument("--mixes", choices=sorted(MIXES), nargs="+", help="(all; quick: even)")
    parser.add_argument("--budgets", choices=sorted(BUDGETS), nargs="+", help="(all; quick: small)")
    parser.add_argument("--slots", type=int, nargs="+", help="(1 2)")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(words)
    quick = options.quick
    options.seeds = options.seeds or (4 if quick else 50)
    options.jobs = options.jobs or (15 if quick else 40)
    options.loads = options.loads or ([0.9] if quick else [0.5, 0.75, 0.9, 0.95])
    options.mixes = options.mixes or (["even"] if quick else list(MIXES))
    options.budgets = options.budgets or (["small"] if quick else list(BUDGETS))
    options.slots = options.slots or [1, 2]
    results = Results("simulated_policies", options)
    axes = itertools.product(options.loads, options.mixes, options.budgets, options.slots)
    cells = [Cell(*axis, options.jobs) for axis in axes]
    rows: list[Row] = []
    table: list[Row] = []
    begun = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        for number, cell in enumerate(cells, start=1):
            timeout = planned_timeout(cell)
            own = [
                r
                for seed in pool.imap(one_seed, [(cell, timeout, s) for s in range(options.seeds)])
                for r in seed
            ]
            rows += own
            table += ratios(cell, own)
            results.raw(rows)  # after every cell: a long run that is cut short keeps what it has
            progress(f"simulated_policies: {number} of {len(cells)} cells, {time.monotonic() - begun:.0f} s")
    seeds = {"runs": [0, options.seeds - 1], "planning": [PLANNING_SEEDS.start, PLANNING_SEEDS.stop - 1]}
    results.finish(table, seeds=seeds, refill_rule="Paused; every run starts full")


if __name__ == "__main__":
    main()
