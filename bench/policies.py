"""Policies on real training jobs: the same arrivals and seeds, equal budget, paired ratios.

Every run starts with a full bucket, which refills only while nobody sprints (rule Paused). The order of
the policies is shuffled for each seed, and `always-again` repeats `always`: its ratio is the noise floor.
The fixed time-out is planned before the runs, by simulation on the profile and on other arrivals.
`--clairvoyant` adds the model-driven strategy with the true arrivals: a bound, not a policy.
A complete run in the folder is not repeated: call again with the same --out to go on. Raw data, summary
and table come from the runs there are, also after an interruption; `--report-only` starts none.
"""

import argparse
import csv
import json
import random
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from bench.adjusted import adjusted_rows
from bench.output import Results, add_common, progress, table
from bench.ratios import Run, policy_rows, ratio_rows
from bench.real import Foreign, refuse, run_queue, state_folder, stop_if_interrupted
from kubesprint.adapters.system import SystemClock
from kubesprint.adapters.wire.quantities import parse_duration
from kubesprint.apps.demo import plan
from kubesprint.apps.documents import load_policy, load_profiles, load_queue, write_profiles
from kubesprint.apps.profile_command import measure
from kubesprint.apps.simulators import fastest_simulators
from kubesprint.apps.wiring import kind_models, strategy_for
from kubesprint.core.batch import one_by_one
from kubesprint.core.errors import SprintError
from kubesprint.core.events import simulate_servers
from kubesprint.core.forecast import Forecaster, KindModel
from kubesprint.core.policy import Strategy
from kubesprint.core.search import search_timeout
from kubesprint.core.simulation import SimJob, SprintRules
from kubesprint.core.spec import Policy, QueueSpec
from kubesprint.core.units import FOREVER, Seconds

POLICIES = ("never", "always", "always-again", "timeout", "model-driven")
PLANNING_SEEDS = range(1000, 1040)
SHAPE = ("slots", "load", "jobs", "capacity", "refill", "scale", "rounds")  # may not change on resuming
EARLY = 0.02  # seconds: an announced job must be gone before its arrival is seen, or it counts twice


def _options(words: list[str] | None) -> argparse.Namespace:
    parser = add_common(argparse.ArgumentParser(prog="python -m bench policies", description=__doc__))
    parser.add_argument("--seeds", type=int, help="how many (5; quick: 1)")
    parser.add_argument("--jobs", type=int, help="of one run (30; quick: 10)")
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--load", type=float, default=0.95, help="of the slots, at base speed")
    parser.add_argument("--capacity", type=float, default=12.0, help="sprint seconds")
    parser.add_argument("--refill", type=float, default=0.1, help="sprint seconds per second")
    parser.add_argument("--scale", type=float, help="amount of training a job (1; quick: 0.5)")
    parser.add_argument("--rounds", type=int, help="of the profile (3; quick: 1)")
    parser.add_argument("--clairvoyant", action="store_true", help="add the bound that knows the arrivals")
    parser.add_argument("--report-only", action="store_true", help="run nothing; tables of what --out holds")
    parser.add_argument("--state-dir", type=Path)
    options = parser.parse_args(words)
    quick = {"seeds": 1, "jobs": 10, "scale": 0.5, "rounds": 1}
    for key, value in {"seeds": 5, "jobs": 30, "scale": 1.0, "rounds": 3}.items():
        if getattr(options, key) is None:
            setattr(options, key, quick[key] if options.quick else value)
    return options


class Bench:
    """One comparison in one folder."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.state = state_folder(options.state_dir)
        self.size = plan.Size(
            slots=options.slots,
            load=options.load,
            capacity_seconds=options.capacity,
            refill=options.refill,
        )
        self.speeds = plan.BY_QUOTA
        self._same_shape()
        self.profiles = self._profile()
        auto = self.policy("Auto")
        self.models = kind_models(self.profiles, auto.base, auto.sprint)
        self.walls = {kind: float(model.work) for kind, model in self.models.items()}
        self.timeout = self._planned_timeout(auto)

    def _same_shape(self) -> None:
        shape = {key: getattr(self.options, key) for key in SHAPE}
        path = self.folder / "shape.json"
        if path.exists() and json.loads(path.read_text()) != shape:
            refuse(
                "policies", f"{path} holds other options, {path.read_text().strip()}; choose another --out"
            )
        path.write_text(json.dumps(shape) + "\n")

    def document(self, name: str, content: Mapping[str, Any]) -> Path:
        """A document as a file."""
        path = self.folder / "documents" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(json.loads(json.dumps(content)), sort_keys=False))
        return path

    def policy(self, after: str) -> Policy:
        """The policy with this trigger."""
        document = plan.policy_document(after=after, size=self.size, speeds=self.speeds)
        return load_policy(self.document(f"policy-{after}.yaml", document)).value

    def queue(self, seed: int) -> QueueSpec:
        """The jobs of a seed, the same for every policy."""
        content = plan.queue_document(
            self._arrivals(seed),
            python=sys.executable,
            slots=self.size.slots,
            speeds=self.speeds,
            scale=self.options.scale,
        )
        return load_queue(self.document(f"queue-{seed}.yaml", content)).value

    def _arrivals(self, seed: int) -> list[plan.Arrival]:
        return plan.demo_jobs(
            seed=seed,
            jobs=self.options.jobs,
            load=self.size.load,
            slots=self.size.slots,
            mean_base_wall_by_kind=self.walls,
        )

    def _profile(self) -> Sequence[Any]:
        path = self.folder / "profiles.yaml"
        if not path.exists():
            progress("policies: profile")
            content = plan.profile_document(
                python=sys.executable, slots=self.size.slots, speeds=self.speeds, scale=self.options.scale
            )
            queue = load_queue(self.document("profile-queue.yaml", content)).value
            runs = self.folder / "profile"
            shutil.rmtree(runs, ignore_errors=True)
            console = Console(stderr=True)
            profiles, missing, outcome = measure(
                queue, self.policy("Auto"), self.options.rounds, self.state, runs, "quota", console
            )
            stop_if_interrupted(outcome)
            if missing:
                refuse("policies", f"{', '.join(missing)} failed; see {runs / 'jobs'}")
            write_profiles(path, profiles)
        return load_profiles(path).value

    def _planned_timeout(self, policy: Policy) -> float:
        """The best static time-out for arrivals like these: whole runs, from a full bucket."""
        path = self.folder / "timeout.json"
        if path.exists():
            return float(json.loads(path.read_text())["timeout_seconds"])
        scenarios = [self._scenario(seed) for seed in PLANNING_SEEDS]
        rules = SprintRules(
            clock=policy.trigger_clock,
            capacity=Seconds(self.size.capacity_seconds),
            refill=self.size.refill,
            refill_rule=policy.budget.while_sprinting,
            hysteresis=policy.budget.hysteresis,
        )
        found = search_timeout(
            scenarios, rules, self.size.slots, one_by_one(simulate_servers), per_doubling=2
        )
        curve = [[c.timeout if c.timeout < FOREVER else "inf", c.value, c.sprint] for c in found.curve]
        timeout = found.timeout if found.timeout < FOREVER else 1e6
        path.write_text(json.dumps({"timeout_seconds": timeout, "curve": curve}) + "\n")
        return timeout

    def _scenario(self, seed: int) -> list[SimJob]:
        dice = random.Random(seed)
        return [_sim_job(job, self.models[job.kind], 0.0, dice) for job in self._arrivals(seed)]

    def run(self, name: str, seed: int) -> Run:
        """One policy on one seed, or what an earlier call measured."""
        folder = self.folder / "runs" / f"seed-{seed}" / name
        if not complete(folder):
            shutil.rmtree(folder, ignore_errors=True)  # a run that was cut short says nothing
            folder.parent.mkdir(parents=True, exist_ok=True)
            self._execute(name, seed, folder)
        return read_run(folder, name, seed)

    def _execute(self, name: str, seed: int, folder: Path) -> None:
        after = {"never": "Never", "timeout": f"{self.timeout:.3f}s"}.get(name)
        after = after or ("0s" if name.startswith("always") else "Auto")
        policy, queue, clock = self.policy(after), self.queue(seed), SystemClock()

        evaluator = fastest_simulators().evaluator  # loaded before there is a clock

        def strategy(forecaster: Forecaster) -> Strategy:  # called when the clock of the run has started
            dice, origin = random.Random(0), clock.now() - EARLY
            known = [
                _sim_job(job, self.models[job.kind], origin, dice, exact=True) for job in self._arrivals(seed)
            ]
            announced = known if name == "clairvoyant" else None
            return strategy_for(policy, None, forecaster, seed, parse_duration, announced, evaluator)[1]

        foreign = Foreign()
        run_queue(
            queue,
            policy,
            strategy,
            setting=name,
            models=self.models,
            seed=seed,
            state=self.state,
            folder=folder,
        )
        (folder / "foreign.json").write_text(json.dumps({"cores": foreign.cores()}) + "\n")


def _sim_job(
    job: plan.Arrival, model: KindModel, origin: float, dice: random.Random, *, exact: bool = False
) -> SimJob:
    """What the profile expects of a job; unless `exact`, scattered as the profile scatters."""
    work = model.work if exact else max(0.1 * model.work, dice.gauss(model.work, model.deviation))
    return SimJob(arrival=Seconds(origin + job.arrival_seconds), work=Seconds(work), rate=model.rate)


def complete(folder: Path) -> bool:
    """Whether a run came to its end: this file is written last."""
    return (folder / "foreign.json").exists()


def read_run(folder: Path, policy: str, seed: int) -> Run:
    """What `jobs.csv` says."""
    with (folder / "jobs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    good = [row for row in rows if row["exit"] == "0"]
    return Run(
        foreign=json.loads((folder / "foreign.json").read_text())["cores"],
        policy=policy,
        seed=seed,
        responses={r["name"]: float(r["end_seconds"]) - float(r["arrival_seconds"]) for r in good},
        failed=len(rows) - len(good),
        cpu=sum(float(row["cpu_seconds"] or 0) for row in rows),
        sprint=sum(float(row["sprint_seconds"] or 0) for row in rows),
    )


def runs_below(folder: Path) -> list[Run]:
    """Every complete run of a folder, by policy and seed."""
    known = (*POLICIES, "clairvoyant")
    found = [
        read_run(own, own.name, int(own.parent.name.removeprefix("seed-")))
        for own in folder.glob("runs/seed-*/*")
        if own.name in known and complete(own)
    ]
    return sorted(found, key=lambda run: (known.index(run.policy), run.seed))


def _run_all(options: argparse.Namespace, folder: Path) -> None:
    """Run what is missing, with a line a run that says how long the rest may take."""
    bench = Bench(options, folder)
    names = [*POLICIES, *(["clairvoyant"] if options.clairvoyant else [])]
    plan_of_runs = []
    for seed in range(1, options.seeds + 1):
        order = list(names)
        random.Random(seed).shuffle(order)
        plan_of_runs += [(name, seed) for name in order]
    missing = [(n, s) for n, s in plan_of_runs if not complete(folder / "runs" / f"seed-{s}" / n)]
    begun = time.monotonic()
    for done, (name, seed) in enumerate(missing, start=1):
        mean = bench.run(name, seed).mean
        rest = (time.monotonic() - begun) / done * (len(missing) - done)
        where = f"{done} of {len(missing)}, seed {seed}, {name}"
        progress(f"policies: {where}: mean {mean:.2f} s; some {rest:.0f} s left")


def _report(results: Results) -> None:
    """Raw data, summary and tables of the runs there are."""
    runs = runs_below(results.folder)
    if not runs:
        refuse("policies", f"{results.folder} holds no complete run")
    results.raw(
        {
            "policy": run.policy,
            "seed": run.seed,
            "mean_seconds": run.mean,
            "cpu_seconds": run.cpu,
            "sprint_seconds": run.sprint,
            "failed": run.failed,
            "foreign_cores": run.foreign,
            "response_seconds": dict(run.responses),
        }
        for run in runs
    )
    ratios = [*ratio_rows(runs), *adjusted_rows(runs)]
    results.finish(
        policy_rows(runs),
        ratios=ratios,
        shape=json.loads((results.folder / "shape.json").read_text()),
        seeds={
            "runs": sorted({run.seed for run in runs}),
            "planning": [PLANNING_SEEDS.start, PLANNING_SEEDS.stop - 1],
        },
        timeout_seconds=json.loads((results.folder / "timeout.json").read_text())["timeout_seconds"],
        refill_rule="Paused: no refill while any job sprints; every run starts full",
    )
    print(f"\nreference / policy: above 1, the policy is faster\n{table(ratios)}", flush=True)


def main(words: list[str] | None = None) -> None:
    """Run what is missing and print, whatever ends the runs."""
    options = _options(words)
    if options.report_only and (options.out is None or not options.out.is_dir()):
        refuse("policies", f"--report-only: --out must be a folder of earlier runs, not {options.out}")
    results = Results("policies", options)
    try:
        if not options.report_only:
            _run_all(options, results.folder)
    except SprintError as error:
        refuse("policies", str(error))
    finally:
        if options.report_only or runs_below(results.folder):
            _report(results)


if __name__ == "__main__":
    main()
