"""`kubesprint run`: a queue of real training jobs on this machine, sprinted within a budget."""

import json
import os
import secrets
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from kubesprint.adapters.files.lock import RunLock, take_lock
from kubesprint.adapters.files.report import write_report
from kubesprint.adapters.files.state import Levels, choose_folder, prepare_folder
from kubesprint.adapters.files.summary import summary_document
from kubesprint.adapters.linux.hardware import SlotHardware, open_slots
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.adapters.system import SystemClock
from kubesprint.adapters.wire.quantities import parse_duration
from kubesprint.apps import run_folder
from kubesprint.apps.board import Board
from kubesprint.apps.documents import load_policy, load_profiles, load_queue, selector_warnings
from kubesprint.apps.dry_run import describe
from kubesprint.apps.recovery import restore_from_journal
from kubesprint.apps.session import Outcome, Request, Session
from kubesprint.apps.wiring import kind_models, strategy_for
from kubesprint.core.allocation import Allocation
from kubesprint.core.budget import Bucket, Budget
from kubesprint.core.errors import Refused, SprintError
from kubesprint.core.spec import JobSpec, Mode, Policy, QueueSpec, Statistic
from kubesprint.core.units import Cores, CoreSeconds, Seconds

QUEUE_NAME, POLICY_NAME, PROFILES_NAME = "queue.yaml", "policy.yaml", "profiles.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line, as typed."""

    words: Sequence[str]
    is_command: bool  # the words stood behind "--"
    policy: Path | None
    out: Path | None
    profile: Path | None = None
    strategy: str | None = None
    dry_run: bool = False
    resume: bool = False
    mechanism: str = "auto"
    bucket: str = "resume"
    seed: int = 1
    state_dir: Path | None = None
    quiet: bool = False


def run(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="QUEUE.yaml | DIR | -- CMD...", show_default=False)
    ] = None,
    policy: Annotated[Path | None, typer.Option(help="SprintPolicy document; without one: observe")] = None,
    out: Annotated[Path | None, typer.Option(help="folder for results; must be new or empty")] = None,
    profile: Annotated[Path | None, typer.Option(help="WorkloadProfiles, from `kubesprint profile`")] = None,
    strategy: Annotated[
        str | None, typer.Option(help="instead of the policy's: never, always, timeout:90s, model-driven")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be done; start nothing")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="finish the run in DIR (or in --out)")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the summary as JSON")] = False,
    mechanism: Annotated[
        str, typer.Option(help="how slots get their cores: auto, quota, cpuset, affinity")
    ] = "auto",
    bucket: Annotated[
        str, typer.Option(help="budget level at the start: resume (as last left), full, empty")
    ] = "resume",
    seed: Annotated[int, typer.Option(help="of the dice that sample future arrivals")] = 1,
    state_dir: Annotated[Path | None, typer.Option(help="where journal, lock and budget are kept")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="no progress")] = False,
) -> None:
    """Run a queue of jobs on this machine and sprint the right one at the right moment.

    Observe (the default) and Recommend start the jobs plainly; under Enforce each runs in a slot that
    is held at the base allocation and raised for sprints, and everything is put back at the end.

    Exit codes: 0 the queue is done, 1 some job failed, 2 refused (nothing was started), 130 or 143
    interrupted by SIGINT or SIGTERM.

    Examples:

        kubesprint run queue.yaml --policy policy.yaml --profile profiles.yaml --out out/night

        kubesprint run --resume out/night

        kubesprint run --policy policy.yaml -- python train.py --epochs 3
    """
    options = Options(
        words=words or [],
        is_command="--" in sys.argv,
        policy=policy,
        out=out,
        profile=profile,
        strategy=strategy,
        dry_run=dry_run,
        resume=resume,
        mechanism=mechanism,
        bucket=bucket,
        seed=seed,
        state_dir=state_dir,
        quiet=quiet or as_json,
    )
    try:
        outcome = execute(options)
    except SprintError as error:
        typer.echo(f"kubesprint run: {error}", err=True)
        raise typer.Exit(2) from error
    if outcome is None:
        return
    if as_json:
        typer.echo(json.dumps(summary_document(outcome.summary)))
    raise typer.Exit(exit_code(outcome))


def exit_code(outcome: Outcome) -> int:
    """As documented in `--help`."""
    if outcome.ending.interrupted_by is not None:
        return 128 + outcome.ending.interrupted_by
    return 1 if any(record.exit != 0 for record in outcome.records) else 0


def execute(options: Options) -> Outcome | None:
    """Check everything, then run; None after a dry run. Raises `SprintError` with nothing started."""
    options = _located(options)
    queue, policy, warnings = _documents(options)
    clock = SystemClock()
    run_id = time.strftime("%Y%m%d-%H%M%S-", time.gmtime()) + secrets.token_hex(2)
    state = choose_folder(options.state_dir, user=os.geteuid(), environment=os.environ, home=Path.home())
    if options.resume:
        assert options.out is not None
        run_id = str(run_folder.read_origin(options.out)["run"])
    request = _request(options, queue, policy, warnings, run_id, state, clock)
    if options.dry_run:
        typer.echo(describe(request))
        return None
    enforce = request.hardware is not None
    with _locked(state, run_id) if enforce else nullcontext() as lock:
        if lock is not None:
            recover_leftovers(state, lock)
        folder = _folder(options, run_id)
        return _run(request, folder, state, lock, clock, options)


def _located(options: Options) -> Options:
    """Where the queue and the results are, whichever way they were named."""
    if not options.resume:
        if not options.words:
            raise Refused("name a QUEUE.yaml, or a command after --; see kubesprint run --help")
        return replace(options, out=options.out or Path("out") / time.strftime("run-%Y%m%d-%H%M%S"))
    out = options.out or (Path(options.words[0]) if options.words else None)
    if out is None:
        raise Refused("--resume: name the folder of the run, as in kubesprint run --resume DIR")
    origin = run_folder.read_origin(out)
    inputs = out / run_folder.INPUTS
    profiles = inputs / PROFILES_NAME
    command = origin.get("command")
    return replace(
        options,
        out=out,
        words=[str(word) for word in command] if isinstance(command, list) else [str(inputs / QUEUE_NAME)],
        is_command=isinstance(command, list),
        policy=inputs / POLICY_NAME if (inputs / POLICY_NAME).is_file() else None,
        profile=profiles if profiles.is_file() else None,
        strategy=options.strategy or _text(origin.get("strategy")),
        mechanism=str(origin.get("mechanism", "auto")),
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _documents(options: Options) -> tuple[QueueSpec, Policy, tuple[str, ...]]:
    """Queue and policy, and what their writers should know."""
    warnings: tuple[str, ...] = ()
    if options.is_command:
        queue = QueueSpec(slots=1, jobs=(_single_job(options.words),))
    else:
        folder = _queue_folder(options)
        loaded = load_queue(Path(options.words[0]), folder=folder)
        queue, warnings = loaded.value, loaded.warnings
    if options.policy is None:
        return queue, _observing(), warnings
    policy = load_policy(options.policy)
    labels = policy.value.selector
    if options.is_command:  # the policy was named for this very job
        queue = replace(queue, jobs=tuple(replace(job, labels=labels) for job in queue.jobs))
    return queue, policy.value, (*warnings, *policy.warnings, *selector_warnings(policy.value, queue))


def _queue_folder(options: Options) -> Path | None:
    """Relative working folders of a resumed run count from where its queue file was."""
    if not options.resume or options.out is None:
        return None
    return Path(str(run_folder.read_origin(options.out)["queue_folder"]))


def _single_job(command: Sequence[str]) -> JobSpec:
    name = Path(command[0]).name
    return JobSpec(name=name, kind=name, command=tuple(command), workdir=str(Path.cwd()))


def _observing() -> Policy:
    """The default: watch one job a core, change nothing."""
    one = Allocation(Cores(1.0))
    budget = Budget(capacity=CoreSeconds(0.0), refill=Cores(0.0))
    return Policy(name="observe", statistic=Statistic.MEAN, base=one, sprint=one, budget=budget)


def _request(
    options: Options,
    queue: QueueSpec,
    policy: Policy,
    warnings: tuple[str, ...],
    run_id: str,
    state: Path,
    clock: SystemClock,
) -> Request:
    profiles = load_profiles(options.profile) if options.profile is not None else None
    models = kind_models(profiles.value, policy.base, policy.sprint) if profiles else {}
    hardware: SlotHardware | None = None
    if policy.mode is Mode.ENFORCE:
        hardware = open_slots(PseudoFs(), run_id, queue.slots, policy.base, policy.sprint, options.mechanism)
        prepare_folder(state)
    names = strategy_for(policy, options.strategy, None, options.seed, _timeout)[0]
    return Request(
        run=run_id,
        queue=queue,
        policy=policy,
        models=models,
        setting=names,
        strategy=lambda forecaster: strategy_for(
            policy, options.strategy, forecaster, options.seed, _timeout
        )[1],
        bucket=_starting_bucket(options, policy, state, clock),
        hardware=hardware,
        seed=options.seed,
        warnings=(*warnings, *(profiles.warnings if profiles else ())),
    )


def _timeout(text: str) -> Seconds:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise Refused(f"--strategy timeout: {error}") from error


def _starting_bucket(options: Options, policy: Policy, state: Path, clock: SystemClock) -> Bucket:
    """As last left and refilled since; a policy that never ran here starts full."""
    levels = {"full": policy.budget.capacity, "empty": CoreSeconds(0.0)}
    if options.bucket in levels:
        return Bucket(budget=policy.budget, level=levels[options.bucket], at=clock.now())
    if options.bucket != "resume":
        raise Refused(f'--bucket: "{options.bucket}" is not a level; choose resume, full or empty')
    saved = Levels(state).load_level(policy.name)
    if saved is None:
        return Bucket(budget=policy.budget, level=policy.budget.capacity, at=clock.now())
    level, when = saved
    refilled = level + policy.budget.refill * max(0.0, time.time() - when)
    return Bucket(
        budget=policy.budget, level=CoreSeconds(min(policy.budget.capacity, refilled)), at=clock.now()
    )


def _locked(state: Path, run_id: str) -> RunLock:
    return take_lock(state, run_id)


def recover_leftovers(state: Path, lock: RunLock) -> None:
    """Put back what a killed run left, before anything new is changed. Raises `Refused` if it cannot be."""
    recovery = restore_from_journal(state, lock=lock)
    if recovery.failed:
        raise Refused(
            f"the run {recovery.run} left {recovery.failed[0]}; see `kubesprint restore`, then start again"
        )
    for line in recovery.put_back:
        typer.echo(f"put back after run {recovery.run}: {line}", err=True)


def _folder(options: Options, run_id: str) -> run_folder.RunFolder:
    assert options.out is not None
    if options.resume:
        return run_folder.reopen(options.out)
    inputs = {}
    if not options.is_command:
        inputs[QUEUE_NAME] = Path(options.words[0])
    if options.policy is not None:
        inputs[POLICY_NAME] = options.policy
    if options.profile is not None:
        inputs[PROFILES_NAME] = options.profile
    origin: dict[str, object] = {
        "run": run_id,
        "command": list(options.words) if options.is_command else None,
        "queue_folder": str(Path(options.words[0]).absolute().parent),
        "strategy": options.strategy,
        "mechanism": options.mechanism,
    }
    return run_folder.create(options.out, inputs, origin)


def _run(
    request: Request,
    folder: run_folder.RunFolder,
    state: Path,
    lock: RunLock | None,
    clock: SystemClock,
    options: Options,
) -> Outcome:
    console = Console(stderr=True)
    for warning in request.warnings:
        console.print(f"warning: {warning}", markup=False, highlight=False)
    session = Session(request, folder, state=state, lock=lock, clock=clock)
    if options.quiet:
        outcome = session.run(lambda turn: None)  # noqa: ARG005
    else:
        with Board(console, request.setting, len(request.queue.jobs)) as board:
            outcome = session.run(board.show)
    report = write_report(folder.path)
    if not options.quiet:
        _say_result(console, outcome, report)
    return outcome


def _say_result(console: Console, outcome: Outcome, report: Path) -> None:
    summary = outcome.summary
    mean = summary.response["mean_seconds"]
    counts = ", ".join(f"{summary.jobs[key]} {key}" for key in ("finished", "failed", "unfinished"))
    response = "" if mean is None else f"mean response {mean:.2f} s; "
    sprint = f"{summary.sprint:.1f} s sprinted ({summary.granted:.1f} core-seconds)"
    console.print(
        f"{counts}; {response}{sprint}; report {report}", markup=False, highlight=False, soft_wrap=True
    )
    for record in outcome.records:
        if record.exit != 0:
            log = report.parent / "jobs" / f"{record.name}.log"
            console.print(f"{record.name} ended with {record.exit}: see {log}", markup=False, highlight=False)
