"""`kubesprint run`: a queue of real training jobs on this machine, sprinted within a budget."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperCommand

from kubesprint.adapters.files.lock import RunLock
from kubesprint.adapters.files.report import write_report
from kubesprint.adapters.files.results import SUMMARY
from kubesprint.adapters.files.state import prepare_folder
from kubesprint.adapters.files.summary import read_summary, summary_document
from kubesprint.apps import run_folder
from kubesprint.apps.board import Board
from kubesprint.apps.dry_run import describe
from kubesprint.apps.preparation import MODEL_NAME, POLICY_NAME, PROFILES_NAME, QUEUE_NAME, Prepared, prepare
from kubesprint.apps.preparation import Options as Options  # the demo and the benches build it too
from kubesprint.apps.recovery import restore_from_journal, wait_for_lock
from kubesprint.apps.run_loop import Ending
from kubesprint.apps.session import Outcome, Session
from kubesprint.core.errors import Refused, SprintError

COMMAND = "kubesprint.command"
"""Where the words behind `--` are kept in the context of the command line."""


class RunCommand(TyperCommand):
    """Keeps the words behind `--` apart: they are a command, whatever they look like."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Split at the first `--`."""
        if "--" in args:
            at = args.index("--")
            ctx.meta[COMMAND] = args[at + 1 :]
            args = args[:at]
        return super().parse_args(ctx, args)


def run(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="QUEUE.yaml | DIR | -- CMD...",
            show_default=False,
            help="a JobQueue document; with --resume the folder of a run; or the command of one job",
        ),
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="SprintPolicy document; without one jobs are only observed")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="folder for results, new or empty; without it out/run-ID")
    ] = None,
    profile: Annotated[Path | None, typer.Option(help="WorkloadProfiles, from `kubesprint profile`")] = None,
    model: Annotated[
        Path | None, typer.Option(help="what was learned beyond the profiles, from `kubesprint learn`")
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            help="instead of the policy's: never, always, timeout:DURATION (timeout:90s), model-driven"
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be done; start nothing")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="finish the run in DIR (or in --out)")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="print the summary as JSON, and no progress")
    ] = False,
    mechanism: Annotated[
        str, typer.Option(help="how slots get their cores: auto (the best possible), quota, cpuset, affinity")
    ] = "auto",
    bucket: Annotated[
        str,
        typer.Option(help="budget at the start: resume (as last left; full the first time), full, empty"),
    ] = "resume",
    seed: Annotated[int, typer.Option(help="of the dice that sample future arrivals")] = 1,
    state_dir: Annotated[
        Path | None,
        typer.Option(help="for journal, lock and budget; by default one a user (see kubesprint doctor)"),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="no progress")] = False,
) -> None:
    """Run a queue of jobs on this machine and sprint the right one at the right moment.

    Observe (the default) and Recommend start the jobs plainly; under Enforce each runs in a slot that
    is held at the base allocation and raised for sprints, and everything is put back at the end.

    Examples:

    \b
      kubesprint run queue.yaml                           # observe
      kubesprint run queue.yaml --policy policy.yaml --profile profiles.yaml --out out/night
      kubesprint run --resume out/night
      kubesprint run --policy policy.yaml -- python3 train.py --epochs 3

    A queue, jobs first come, first served, in so many slots:

    \b
      apiVersion: kubesprint.dev/v1alpha1
      kind: JobQueue
      slots: 1
      jobs:
        - {name: a, kind: forest, command: [python3, train.py], arrival: 0s}
        - {name: b, kind: forest, command: [python3, train.py], arrival: 1m30s}

    A policy; a budget counts extra core-seconds, here 0.6 a second of a sprint:

    \b
      apiVersion: kubesprint.dev/v1alpha1
      kind: SprintPolicy
      spec:
        mode: Enforce
        objective: {responseTime: {statistic: Mean}}
        base: {cpu: 400m}
        sprint: {cpu: "1"}
        budget: {capacityCoreSeconds: 60, refillCores: 50m}

    DIR gets events.jsonl, jobs.csv, summary.json, report.html and the jobs' output.

    Exit codes: 0 the queue is done, 1 some job failed, its outcome is unknown, or results could not be
    written, 2 refused (nothing was started), 130 or 143 interrupted by SIGINT or SIGTERM.
    """
    command: list[str] | None = context.meta.get(COMMAND)
    options = Options(
        words=words or [] if command is None else command,
        is_command=command is not None,
        policy=policy,
        out=out,
        profile=profile,
        model=model,
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
        if words and command is not None and not resume:
            raise Refused(f'"{words[0]}" and a command after "--": give one of them')
        outcome = execute(options)
    except SprintError as error:
        typer.echo(f"kubesprint run: {error}", err=True)
        raise typer.Exit(2) from error
    if outcome is None:
        return
    if outcome.incomplete is not None:
        typer.echo(f"kubesprint run: the results are incomplete: {outcome.incomplete}", err=True)
    if as_json:
        typer.echo(json.dumps(summary_document(outcome.summary)))
    raise typer.Exit(exit_code(outcome))


def exit_code(outcome: Outcome) -> int:
    """As documented in `--help`."""
    if outcome.ending.interrupted_by is not None:
        return 128 + outcome.ending.interrupted_by
    failed = any(record.exit != 0 for record in outcome.records)
    return 1 if failed or outcome.incomplete is not None else 0


def execute(options: Options) -> Outcome | None:
    """Check everything, then run; None after a dry run. Raises `SprintError` with nothing started."""
    prepared = prepare(options)
    if options.dry_run:
        typer.echo(describe(prepared.request))
        return None
    if prepared.options.resume and (finished := _nothing_left(prepared)) is not None:
        return finished
    with ExitStack() as stack:
        lock: RunLock | None = None
        if prepared.request.hardware is not None:
            lock = stack.enter_context(lock_state(prepared.state, prepared.request.run))
            recover_leftovers(prepared.state, lock)
        folder = _folder(prepared)
        stack.callback(folder.close)
        try:
            return _run(prepared, folder, lock)
        except SprintError:
            run_folder.discard_unused(folder)
            raise


def _nothing_left(prepared: Prepared) -> Outcome | None:
    """The outcome of a run whose every job has ended, if that is how it stands."""
    earlier = run_folder.earlier_part(prepared.out)
    left = {job.name for job in prepared.request.queue.jobs} - {row.name for row in earlier.records}
    if left or not (prepared.out / SUMMARY).is_file():
        return None
    count = len(earlier.records)
    typer.echo(
        f"nothing is left to do in {prepared.out}: all {count} jobs of run {earlier.run} have ended", err=True
    )
    return Outcome(summary=read_summary(prepared.out / SUMMARY), ending=Ending())


def lock_state(state: Path, run: str) -> RunLock:
    """The lock of the state folder, which is made. Raises `Refused` while another run is live."""
    return wait_for_lock(
        prepare_folder(state), run, say=lambda text: typer.echo(f"kubesprint: {text}", err=True)
    )


def recover_leftovers(state: Path, lock: RunLock) -> None:
    """Put back what a killed run left, before anything new is changed. Raises `Refused` if it cannot be."""
    recovery = restore_from_journal(state, lock=lock)
    if recovery.failed:
        raise Refused(
            f"the run {recovery.run} left {recovery.failed[0]}; see `kubesprint restore`, then start again"
        )
    for line in recovery.put_back:
        typer.echo(f"put back after run {recovery.run}: {line}", err=True)


def _folder(prepared: Prepared) -> run_folder.RunFolder:
    options, words = prepared.options, prepared.options.words
    if options.resume:
        return run_folder.reopen(prepared.out)
    named = {
        QUEUE_NAME: None if options.is_command else Path(words[0]),
        POLICY_NAME: options.policy,
        PROFILES_NAME: options.profile,
        MODEL_NAME: options.model,
    }
    origin: dict[str, object] = {
        "run": prepared.request.run,
        "command": list(words) if options.is_command else None,
        "queue_folder": str(Path.cwd() if options.is_command else Path(words[0]).absolute().parent),
        "strategy": options.strategy,
        "mechanism": options.mechanism,
    }
    inputs = {name: path for name, path in named.items() if path is not None}
    return run_folder.create(prepared.out, inputs, origin)


def _run(prepared: Prepared, folder: run_folder.RunFolder, lock: RunLock | None) -> Outcome:
    request, quiet = prepared.request, prepared.options.quiet
    console = Console(stderr=True)
    for warning in request.warnings:
        console.print(f"warning: {warning}", markup=False, highlight=False, soft_wrap=True)
    session = Session(request, folder, state=prepared.state, lock=lock, clock=prepared.clock)
    if quiet:
        outcome = session.run(lambda turn: None)  # noqa: ARG005
    else:
        with Board(console, request.setting, len(request.queue.jobs)) as board:
            outcome = session.run(board.show)
    try:
        report = write_report(folder.path)
    except SprintError as error:  # the jobs are done: this is no refusal any more
        outcome.incomplete = outcome.incomplete or str(error)
        return outcome
    if not quiet:
        _say_result(console, outcome, report)
    return outcome


def _say_result(console: Console, outcome: Outcome, report: Path) -> None:
    summary = outcome.summary
    mean = summary.response["mean_seconds"]
    counts = ", ".join(f"{count} {outcome}" for outcome, count in summary.jobs.items())
    response = "" if mean is None else f"mean response {mean:.2f} s; "
    sprint = f"{summary.sprint:.1f} s sprinted ({summary.granted:.1f} core-seconds)"
    console.print(
        f"{counts}; {response}{sprint}; report {report}", markup=False, highlight=False, soft_wrap=True
    )
    for record in outcome.records:
        if record.exit != 0:
            log = report.parent / "jobs" / f"{record.name}.log"
            how = "outcome unknown" if record.exit is None else f"ended with {record.exit}"
            console.print(f"{record.name}: {how}; see {log}", markup=False, highlight=False, soft_wrap=True)
