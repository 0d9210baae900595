"""`kubesprint demo`: real training jobs, the same arrivals under three strategies, one table."""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.table import Table

from kubesprint.adapters.files.durable import replace_durably
from kubesprint.adapters.files.report import render_comparison
from kubesprint.adapters.files.state import choose_folder
from kubesprint.adapters.files.summary import quantile
from kubesprint.adapters.linux.cgroup import discover, ours
from kubesprint.adapters.linux.hardware import open_slots
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.adapters.wire.quantities import parse_duration
from kubesprint.apps.delegation import enter_scope
from kubesprint.apps.demo import plan
from kubesprint.apps.documents import load_policy, load_queue, write_profiles
from kubesprint.apps.dry_run import rehearse_queue
from kubesprint.apps.profile_command import measure
from kubesprint.apps.profile_command import table as profile_table
from kubesprint.apps.recovery import restore_from_journal
from kubesprint.apps.run import Options, execute
from kubesprint.apps.session import Outcome
from kubesprint.apps.wiring import kind_models, strategy_for
from kubesprint.core.allocation import Allocation
from kubesprint.core.budget import full
from kubesprint.core.errors import Refused, SprintError
from kubesprint.core.spec import ProfileSpec
from kubesprint.core.units import Cores, Seconds
from kubesprint.core.workload import JobView

ROUNDS = 2  # of the profile
STRATEGIES = {"never": "Never", "always": "0s", "model-driven": "Auto"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One strategy: what was measured, and what had been predicted."""

    strategy: str
    mean: float
    p95: float
    predicted_mean: float
    predicted_p95: float
    sprint: float
    cpu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where the demo plays."""

    folder: Path
    state: Path
    speeds: plan.Speeds
    size: plan.Size
    mechanism: str
    console: Console


def demo(
    out: Annotated[Path | None, typer.Option(help="folder for everything; new or empty")] = None,
    seed: Annotated[int, typer.Option(help="of arrivals, kinds and training")] = 1,
    seconds: Annotated[float, typer.Option(min=10.0, help="over which the jobs of one run arrive")] = 36.0,
    state_dir: Annotated[Path | None, typer.Option(help="where journal, lock and budget are kept")] = None,
) -> None:
    """Profile six kinds of scikit-learn training, then run one queue under three strategies.

    The same arrivals and seeds run under never, always-until-empty and model-driven, with the same
    budget. The numbers are measured, whatever they are; one run of some 27 jobs depends on its seed, so
    `python -m bench policies` repeats it over several. Takes about three minutes.

    Example: kubesprint demo --out out/demo
    """
    console = Console(width=None if sys.stdout.isatty() else 100)
    folder = out or Path("out") / time.strftime("demo-%Y%m%d-%H%M%S")
    state = choose_folder(state_dir, user=os.geteuid(), environment=os.environ, home=Path.home())
    begun = time.monotonic()
    try:
        stage = _stage(folder, state, plan.Size(seconds=seconds), console)
        profiles = _profile(stage)
        rows = _compare(stage, profiles, seed)
        clean = _nothing_left(stage)
    except SprintError as error:
        typer.echo(f"kubesprint demo: {error}", err=True)
        raise typer.Exit(2) from error
    _print_table(console, rows)
    report = folder / "report.html"
    runs = [folder / strategy for strategy in STRATEGIES]
    report.write_text(render_comparison(runs, "One queue, three strategies"), encoding="utf-8")
    console.print(f"report: {report}   ({time.monotonic() - begun:.0f} s in all)", highlight=False)
    raise typer.Exit(0 if clean else 1)


def _stage(folder: Path, state: Path, size: plan.Size, console: Console) -> Stage:
    """Quota where groups may be made, else affinity; the documents' folder."""
    if folder.exists() and any(folder.iterdir()):
        raise Refused(f"--out: {folder} is not empty; choose another folder")
    speeds, mechanism = plan.BY_QUOTA, "quota"
    enter_scope(mechanism)
    try:
        _try_mechanism(speeds, mechanism, size)
    except Refused as error:
        console.print(f"no CPU quota here ({error}); using CPU affinity instead", highlight=False)
        speeds, mechanism = plan.BY_AFFINITY, "affinity"
        _try_mechanism(speeds, mechanism, size)
    (folder / "documents").mkdir(parents=True, exist_ok=True)
    console.print(
        f"[bold]kubesprint demo[/]: base {speeds.base_cores:g} cores, sprint {speeds.sprint_cores:g} cores "
        f"by {mechanism}, {size.slots} slots, budget {size.capacity_seconds:g} sprint seconds",
        highlight=False,
    )
    return Stage(folder=folder, state=state, speeds=speeds, size=size, mechanism=mechanism, console=console)


def _try_mechanism(speeds: plan.Speeds, mechanism: str, size: plan.Size) -> None:
    base, sprint = Allocation(Cores(speeds.base_cores)), Allocation(Cores(speeds.sprint_cores))
    open_slots(PseudoFs(), "demo", size.slots, base, sprint, mechanism)


def _profile(stage: Stage) -> list[ProfileSpec]:
    """Measure every kind at both speeds, on the slots that the runs will have."""
    stage.console.print(
        f"[bold]1 of 2[/]: profile, {len(plan.KINDS)} kinds, {ROUNDS} rounds", highlight=False
    )
    queue = _write(
        stage,
        "profile-queue.yaml",
        plan.profile_document(python=sys.executable, slots=1, speeds=stage.speeds),
    )
    policy = _policy_file(stage, "model-driven")
    loaded = load_queue(queue).value
    profiles, missing, outcome = measure(
        type(loaded)(slots=stage.size.slots, jobs=loaded.jobs),
        load_policy(policy).value,
        ROUNDS,
        stage.state,
        stage.folder / "profile",
        stage.mechanism,
        stage.console,
    )
    _stop_if_interrupted(outcome)
    if missing:
        raise Refused(f"{', '.join(missing)} could not be profiled; see {stage.folder / 'profile' / 'jobs'}")
    write_profiles(stage.folder / "documents" / "profiles.yaml", profiles)
    for line in profile_table(profiles):
        stage.console.print("  " + line, highlight=False)
    return profiles


def _compare(stage: Stage, profiles: Sequence[ProfileSpec], seed: int) -> list[Row]:
    walls = {profile.workload: float(profile.points[0].wall) for profile in profiles}
    size = stage.size
    count = plan.jobs_within(size.seconds, load=size.load, slots=size.slots, mean_base_wall_by_kind=walls)
    jobs = plan.demo_jobs(
        seed=seed, jobs=count, load=size.load, slots=size.slots, mean_base_wall_by_kind=walls
    )
    document = plan.queue_document(jobs, python=sys.executable, slots=size.slots, speeds=stage.speeds)
    queue = _write(stage, "queue.yaml", document)
    rows = []
    stage.console.print(
        f"[bold]2 of 2[/]: {count} jobs at load {size.load:g}, the same arrivals under each strategy",
        highlight=False,
    )
    for strategy in STRATEGIES:
        predicted = _predict(stage, profiles, queue, strategy)
        outcome = _run(stage, queue, strategy)
        rows.append(_row(strategy, predicted, outcome))
    return rows


def _predict(stage: Stage, profiles: Sequence[ProfileSpec], queue: Path, strategy: str) -> list[JobView]:
    """The real engine on a virtual machine, before the run: the profile and the arrivals are all it knows."""
    policy = load_policy(_policy_file(stage, strategy)).value
    return rehearse_queue(
        load_queue(queue).value,
        policy,
        kind_models(profiles, policy.base, policy.sprint),
        lambda forecaster: strategy_for(policy, None, forecaster, 1, parse_duration)[1],
        full(policy.budget, Seconds(0.0)),
    )


def _run(stage: Stage, queue: Path, strategy: str) -> Outcome:
    outcome = execute(
        Options(
            words=[str(queue)],
            is_command=False,
            policy=_policy_file(stage, strategy),
            out=stage.folder / strategy,
            profile=stage.folder / "documents" / "profiles.yaml",
            mechanism=stage.mechanism,
            bucket="full",
            state_dir=stage.state,
        )
    )
    assert outcome is not None
    _stop_if_interrupted(outcome)
    return outcome


def _row(strategy: str, predicted: Sequence[JobView], outcome: Outcome) -> Row:
    expected = sorted(float(job.response) for job in predicted if job.response is not None)
    response = outcome.summary.response
    return Row(
        strategy=strategy,
        mean=response["mean_seconds"] or 0.0,
        p95=response["p95_seconds"] or 0.0,
        predicted_mean=sum(expected) / len(expected),
        predicted_p95=quantile(expected, 0.95) or 0.0,
        sprint=outcome.summary.sprint,
        cpu=outcome.summary.cpu,
    )


def _print_table(console: Console, rows: Sequence[Row]) -> None:
    table = Table(title="response time, seconds from arrival to end")
    table.add_column("strategy")
    for name in ("mean", "predicted", "p95", "predicted", "sprint s", "CPU s", "mean, always ="):
        table.add_column(name, justify="right")
    always = next(row.mean for row in rows if row.strategy == "always")
    for row in rows:
        table.add_row(
            row.strategy,
            f"{row.mean:.2f}",
            f"{row.predicted_mean:.2f}",
            f"{row.p95:.2f}",
            f"{row.predicted_p95:.2f}",
            f"{row.sprint:.1f}",
            f"{row.cpu:.1f}",
            f"{row.mean / always:.2f}",
        )
    console.print(table)
    if note := plan.drift_note({row.strategy: row.cpu for row in rows}):
        console.print(f"note: {note}", highlight=False)


def _nothing_left(stage: Stage) -> bool:
    """Look at the machine, not at our own books: groups, then the journal."""
    fs = PseudoFs()
    groups = list(ours(fs, discover(fs)))
    recovery = restore_from_journal(stage.state)
    words = [
        "no control group of ours" if not groups else f"LEFT: groups {', '.join(groups)}",
        "no quota or CPU set of ours" if not groups else "LEFT: their quotas",
        "an empty journal" if recovery.run is None else f"LEFT: the journal of {recovery.run}",
    ]
    stage.console.print("left on this machine: " + ", ".join(words), highlight=False)
    return not groups and recovery.run is None


def _policy_file(stage: Stage, strategy: str) -> Path:
    document = plan.policy_document(after=STRATEGIES[strategy], size=stage.size, speeds=stage.speeds)
    document["metadata"] = {"name": f"demo-{strategy}"}
    return _write(stage, f"policy-{strategy}.yaml", document)


def _write(stage: Stage, name: str, document: Mapping[str, Any]) -> Path:
    path = stage.folder / "documents" / name
    plain = json.loads(json.dumps(document))  # tuples become lists, so that YAML stays plain
    replace_durably(path, yaml.safe_dump(plain, sort_keys=False))
    return path


def _stop_if_interrupted(outcome: Outcome) -> None:
    if outcome.ending.interrupted_by is not None:
        raise typer.Exit(128 + outcome.ending.interrupted_by)
