"""`kubesprint profile`: how long each kind of job takes at base and at sprint speed."""

import os
import secrets
import shutil
import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from kubesprint.adapters.files.state import check_folder, choose_folder
from kubesprint.adapters.linux.hardware import open_slots
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.adapters.system import SystemClock
from kubesprint.apps import run_folder
from kubesprint.apps.board import Board
from kubesprint.apps.clocks import choose_clocks
from kubesprint.apps.delegation import enter_scope
from kubesprint.apps.documents import load_policy, load_queue, write_profiles
from kubesprint.apps.preparation import refuse_spinners
from kubesprint.apps.run import lock_state, recover_leftovers
from kubesprint.apps.session import Outcome, Request, Session
from kubesprint.core.budget import Budget, full
from kubesprint.core.errors import Refused, SprintError
from kubesprint.core.profiling import ProfileTriggers, profile_jobs, profiles_from
from kubesprint.core.spec import Mode, Policy, ProfileSpec, QueueSpec
from kubesprint.core.units import Cores, CoreSeconds

UNLIMITED = CoreSeconds(1e9)


def profile(
    queue: Annotated[Path, typer.Argument(metavar="QUEUE.yaml", help="one or more jobs of each kind")],
    policy: Annotated[Path, typer.Option(help="SprintPolicy; its base and sprint are measured")],
    out: Annotated[Path, typer.Option(help="WorkloadProfiles are written here")] = Path("profiles.yaml"),
    runs: Annotated[int, typer.Option(min=1, help="rounds of every kind at each speed")] = 3,
    slots: Annotated[int, typer.Option(min=1, help="jobs at once; 1: each alone, as it should be")] = 1,
    mechanism: Annotated[str, typer.Option(help="auto, quota, cpuset, affinity")] = "auto",
    state_dir: Annotated[Path | None, typer.Option(help="where journal and lock are kept")] = None,
    keep: Annotated[Path | None, typer.Option(help="keep the measuring runs in this folder")] = None,
) -> None:
    """Measure each kind of job of a queue at the policy's base and sprint allocation, interleaved.

    The profile of a kind is what makes its forecasts trusted. Exit codes: 0 every kind was measured,
    1 some job failed, 2 refused.

    Example: kubesprint profile queue.yaml --policy policy.yaml --out profiles.yaml
    """
    console = Console(stderr=True)
    try:
        spec = load_queue(queue).value
        chosen = load_policy(policy).value
        state = choose_folder(state_dir, user=os.geteuid(), environment=os.environ, home=Path.home())
        _check_out(out)
        with _folder(keep) as folder:
            profiles, missing, outcome = measure(
                replace(spec, slots=slots), chosen, runs, state, folder, mechanism, console
            )
        if outcome.ending.interrupted_by is not None:
            raise typer.Exit(128 + outcome.ending.interrupted_by)
        write_profiles(out, profiles)
    except SprintError as error:
        typer.echo(f"kubesprint profile: {error}", err=True)
        raise typer.Exit(2) from error
    for line in table(profiles):
        typer.echo(line)
    typer.echo(f"wrote {out}")
    for kind in missing:
        typer.echo(f"kind {kind} was not measured: a run of it failed", err=True)
    raise typer.Exit(1 if missing else 0)


def measure(
    queue: QueueSpec,
    policy: Policy,
    runs: int,
    state: Path,
    folder: Path,
    mechanism: str,
    console: Console,
) -> tuple[list[ProfileSpec], list[str], Outcome]:
    """Run every kind at both speeds; returns profiles, kinds that failed, and the run itself."""
    request = _request(queue, policy, runs, mechanism)
    run_folder.check_new(folder)
    check_folder(state)
    with lock_state(state, request.run) as lock:
        recover_leftovers(state, lock)
        opened = run_folder.create(folder, {}, {"run": request.run})
        try:
            session = Session(request, opened, state=state, lock=lock, clock=SystemClock())
            with Board(console, "profile", len(request.queue.jobs)) as board:
                outcome = session.run(board.show)
        except SprintError:
            run_folder.discard_unused(opened)
            raise
    clock = request.clocks.wishes[1] if request.clocks is not None else "Base"
    profiles, missing = profiles_from(outcome.records, policy.base, request.policy.sprint, clock)
    if not profiles and outcome.ending.interrupted_by is None:
        raise Refused(f"no job ended well, so there is nothing to write; see the logs in {folder / 'jobs'}")
    return profiles, missing, outcome


def _request(queue: QueueSpec, policy: Policy, runs: int, mechanism: str) -> Request:
    """The measuring run: every job under the policy, which always acts, and no end of budget."""
    run_id = "profile-" + time.strftime("%Y%m%d-%H%M%S-", time.gmtime()) + secrets.token_hex(2)
    jobs = tuple(replace(job, labels=policy.selector) for job in profile_jobs(queue.jobs, runs))
    rounds = QueueSpec(slots=queue.slots, jobs=jobs)
    enforcing = replace(
        policy, mode=Mode.ENFORCE, paused=False, budget=Budget(capacity=UNLIMITED, refill=Cores(0.0))
    )
    enter_scope(mechanism)
    hardware = open_slots(PseudoFs(), run_id, queue.slots, policy.base, policy.sprint, mechanism)
    refuse_spinners(rounds, enforcing, hardware.plan.mechanism)
    slots = {knob: hardware.sprint_cpus(knob) for knob in hardware.knobs()}
    choice = choose_clocks(PseudoFs(), enforcing, slots)
    return Request(
        run=run_id,
        queue=rounds,
        policy=choice.policy,
        models={},
        setting="profile",
        strategy=lambda _: ProfileTriggers(),
        bucket=full(enforcing.budget, SystemClock().now()),
        hardware=hardware,
        clocks=choice.clocks,
        warnings=choice.warnings,
        remember_budget=False,
    )


def _check_out(out: Path) -> None:
    """Minutes of measuring must not end at a file that cannot be written. Raises `Refused`."""
    folder = out.absolute().parent
    if out.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise Refused(f"--out: {out} cannot be written; name a file in a folder that exists and is yours")


def table(profiles: list[ProfileSpec]) -> list[str]:
    """A line a kind."""
    lines = [f"{'kind':<16}{'base s':>9}{'sprint s':>10}{'speed-up':>10}{'CPU s':>8}{'runs':>6}"]
    for profile in profiles:
        slow, fast = profile.points[0], profile.points[1]
        lines.append(
            f"{profile.workload:<16}{slow.wall:>9.2f}{fast.wall:>10.2f}"
            f"{slow.wall / fast.wall:>10.2f}{slow.cpu_time:>8.2f}{slow.runs:>6}"
        )
    return lines


def _folder(keep: Path | None) -> AbstractContextManager[Path]:
    if keep is not None:
        return nullcontext(keep)
    return _Temporary()


class _Temporary(AbstractContextManager[Path]):
    """A folder that goes with the measurement; after a failure it stays, for its logs."""

    def __enter__(self) -> Path:
        self._path = Path(tempfile.mkdtemp(prefix="kubesprint-profile-"))
        return self._path

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None or not any(self._path.iterdir()):
            shutil.rmtree(self._path, ignore_errors=True)
