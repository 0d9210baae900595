"""One run on one machine, put together: slots, keeper, engine, loop, and what it leaves behind."""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from kubesprint.adapters.files.facts import load_average, machine_facts
from kubesprint.adapters.files.lock import RunLock
from kubesprint.adapters.files.results import SUMMARY
from kubesprint.adapters.files.state import FilePurse, Levels
from kubesprint.adapters.files.summary import Summary, summarise, write_summary
from kubesprint.adapters.link import Opening
from kubesprint.adapters.linux.adopted import AdoptedJob, adopt_survivors
from kubesprint.adapters.linux.counters import job_cpu_seconds
from kubesprint.adapters.linux.hardware import SlotHardware
from kubesprint.adapters.linux.parked import Launcher
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.adapters.system import SystemClock
from kubesprint.apps.clocks import Clocks
from kubesprint.apps.keeper_link import KeeperLink
from kubesprint.apps.local_jobs import JOB_MARK, LocalJobs, Place, job_environment
from kubesprint.apps.model_memory import MODEL, RememberingForecaster
from kubesprint.apps.places import places_of
from kubesprint.apps.recovery import restore_from_journal
from kubesprint.apps.run_folder import RunFolder
from kubesprint.apps.run_log import RunLog, budget_fields
from kubesprint.apps.run_loop import Ending, Interrupts, RunLoop
from kubesprint.core.budget import Bucket
from kubesprint.core.errors import SprintError, Unavailable
from kubesprint.core.events import simulate_servers
from kubesprint.core.forecast import Forecaster, KindModel, Learned
from kubesprint.core.policy import Strategy
from kubesprint.core.reasons import Reason
from kubesprint.core.records import JobRecord
from kubesprint.core.spec import JobSpec, Policy, QueueSpec
from kubesprint.core.units import CoreSeconds, Seconds
from kubesprint.core.workload import JobState, JobView, Reading
from kubesprint.engine.engine import Engine, EngineSettings
from kubesprint.engine.ports import Nodes
from kubesprint.engine.roster import Roster
from kubesprint.engine.turn import Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Everything that a run is made of, checked."""

    run: str
    queue: QueueSpec
    policy: Policy
    models: Mapping[str, KindModel]
    learned: Learned | None = None  # beyond the models
    setting: str  # the name of the strategy
    strategy: Callable[[Forecaster], Strategy]
    bucket: Bucket  # `at` on the engine's clock
    hardware: SlotHardware | None  # None: jobs start plainly (Observe, Recommend)
    clocks: Clocks | None = None  # None: sprints raise cores only
    remember_budget: bool = True  # a profile run spends nobody's budget
    seed: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def slots(self) -> list[str]:
        """Names of the slots."""
        return [f"slot-{n}" for n in range(self.queue.slots)]


@dataclass(slots=True)
class Outcome:
    """How a run ended."""

    summary: Summary
    ending: Ending
    records: list[JobRecord] = field(default_factory=list)
    incomplete: str | None = None  # why the files of the run do not hold everything


class NothingKept:
    """The `Purse` port of a run that spends nobody's budget."""

    def save(self, bucket: Bucket) -> None:
        """Nothing to remember."""


class NobodyHolds:
    """The `Nodes` port of a run that changes nothing."""

    def publish(self, directive: object) -> None:
        """Never called: only Enforce publishes."""
        raise AssertionError("a run that only observes published a directive")

    def reports(self) -> list[object]:
        """Nothing to report."""
        return []


class Session:
    """Runs a request in a folder. Under Enforce the caller holds the lock of the state folder."""

    def __init__(
        self, request: Request, folder: RunFolder, *, state: Path, lock: RunLock | None, clock: SystemClock
    ) -> None:
        self._request = request
        self._folder = folder
        self._state = state
        self._lock = lock
        self._clock = clock
        self._link: KeeperLink | None = None
        self._load_at_start = load_average()
        self._restored: bool | None = None
        self._adopted: Mapping[str, AdoptedJob] = {}
        self._log = RunLog(
            folder.events,
            folder.table,
            run=request.run,
            setting=request.setting,
            origin=self._zero(),
            arrived=folder.earlier.arrived if folder.earlier else (),
        )

    def run(self, show: Callable[[Turn], None]) -> Outcome:
        """From opening the slots to the last file; everything is put back whatever happens in between."""
        request = self._request
        with ExitStack() as stack:
            interrupts = stack.enter_context(Interrupts().caught())
            if request.hardware is not None:
                stack.callback(self._put_back)
                self._open_slots(request.hardware)
                self._log.origin = self._zero()  # opening the slots is not the jobs' time
            roster = self._roster()
            self._adopted = self._survivors()
            launcher = Launcher()
            stack.callback(launcher.close)
            jobs = self._jobs(roster, launcher)
            stack.callback(jobs.lose_places)
            stack.callback(jobs.kill)  # only ever finds somebody if the loop broke
            engine = self._engine(jobs)
            self._write_head()
            loop = RunLoop(
                clock=self._clock,
                jobs=jobs,
                engine=engine,
                log=self._log,
                simulate=simulate_servers,
                interrupts=interrupts,
                wake=self._wake,
                show=show,
                tend=lambda: self._tend(engine, jobs),
            )
            ending = loop.run()
        return self._close(engine, roster, ending)

    @property
    def _part(self) -> str:
        """What the keeper knows this part of the run by."""
        hardware = self._request.hardware
        return self._request.run if hardware is None else hardware.plan.run_id

    def _zero(self) -> Seconds:
        """The instant that the run's clock counts from; a resumed run goes on where it was."""
        earlier = self._folder.earlier
        return Seconds(self._clock.now() - (earlier.elapsed if earlier else 0.0))

    def _open_slots(self, hardware: SlotHardware) -> None:
        assert self._lock is not None
        request = self._request
        self._link = KeeperLink(self._state, self._lock)
        ready = self._link.open(
            Opening(
                run=self._part,
                slots=request.queue.slots,
                base=request.policy.base,
                sprint=request.policy.sprint,
                mechanism=hardware.plan.mechanism,
                clocks=request.clocks.wishes if request.clocks is not None else None,
            )
        )
        for note in ready.notes:
            self._log.warn(self._clock.now(), note)

    def _roster(self) -> Roster:
        request = self._request
        roster = Roster(request.queue.jobs, request.policy, request.slots, self._log.origin)
        earlier = self._folder.earlier
        if earlier is not None:
            roster.skip({row.name: self._as_history(row) for row in earlier.records})
            self._log.records.extend(earlier.records)
        return roster

    def _as_history(self, row: JobRecord) -> JobView:
        """A job that an earlier part of this run finished, on this part's clock."""
        start = None if row.start is None else Seconds(self._log.origin + row.start)
        end = None if row.end is None else Seconds(self._log.origin + row.end)
        return JobView(
            name=row.name,
            kind=row.kind,
            state=JobState.FINISHED,
            arrival=Seconds(self._log.origin + row.arrival),
            start=start,
            end=end,
            cpu=None if row.cpu is None else Reading(value=row.cpu, age=Seconds(0.0)),
            sprint=row.sprint,
            sprint_cpu=row.sprint_cpu,
            succeeded=row.exit == 0,
        )

    def _jobs(self, roster: Roster, launcher: Launcher) -> LocalJobs:
        request = self._request
        return LocalJobs(
            roster,
            clock=self._clock,
            places=places_of(request.hardware, self._link, launcher),
            plain=Place(),
            logs=self._folder.logs,
            env=self._environment,
            tree_cpu=partial(job_cpu_seconds, PseudoFs()),
            adopted=self._adopted,
        )

    def _survivors(self) -> Mapping[str, AdoptedJob]:
        """The jobs that an earlier part of this run left running when it was killed."""
        earlier = self._folder.earlier
        if earlier is None:
            return {}
        return adopt_survivors(
            PseudoFs(),
            self._request.run,
            JOB_MARK,
            pids=earlier.leaders,
            over={row.name for row in earlier.records},
            sweep=self._request.hardware is not None,
        )

    def _environment(self, spec: JobSpec, place: Place) -> Mapping[str, str]:
        """Threads are counted for a job only where its cores will change."""
        cores = self._request.policy.sprint.cores if place.berth is not None else None
        return job_environment(spec, cores, self._request.run, place.environment)

    def _engine(self, jobs: LocalJobs) -> Engine:
        request, policy = self._request, self._request.policy
        forecaster = RememberingForecaster(request.models, policy.base, policy.sprint, request.learned)
        forecaster.remember_in(
            self._folder.path / MODEL, lambda line: self._log.warn(self._clock.now(), line)
        )
        nodes: Nodes = self._link if self._link is not None else NobodyHolds()  # type: ignore[assignment]
        return Engine(
            EngineSettings(
                run=self._part,
                epoch=1 + (self._folder.earlier.epoch if self._folder.earlier else 0),
                mode=policy.mode,
                base=policy.base,
                sprint=policy.sprint,
                servers=policy.concurrency or request.queue.slots,
                lease=policy.lease,
                paused=policy.paused,
                clocks=request.clocks.use if request.clocks is not None else {},
            ),
            clock=self._clock,
            workloads=jobs,
            nodes=nodes,
            purse=(
                FilePurse(Levels(self._state), policy.name, time.time)
                if request.remember_budget
                else NothingKept()
            ),
            recorder=self._log,
            forecaster=forecaster,
            strategy=request.strategy(forecaster),
            bucket=replace(request.bucket, at=self._clock.now()),
        )

    def _write_head(self) -> None:
        request, policy = self._request, self._request.policy
        budget = policy.budget
        self._log.write(
            self._clock.now(),
            "run",
            run=request.run,
            setting=request.setting,
            strategy=request.setting,
            mode=policy.mode.value,
            policy=policy.name,
            clock=policy.trigger_clock.value,
            slots=request.queue.slots,
            mechanism=request.hardware.plan.mechanism if request.hardware else None,
            base={"cores": policy.base.cores, "clock": policy.base.clock},
            sprint={"cores": policy.sprint.cores, "clock": policy.sprint.clock},
            clocks=request.clocks.document() if request.clocks is not None else {},
            budget={
                "capacity_core_seconds": budget.capacity,
                "refill_cores": budget.refill,
                "while_sprinting": budget.while_sprinting.value,
                "hysteresis_seconds": budget.hysteresis,
            },
            machine=machine_facts(),
        )
        self._log.write(self._clock.now(), "budget", **budget_fields(request.bucket))
        for warning in (*request.warnings, *map(_adoption, self._adopted)):
            self._log.warn(self._clock.now(), warning)

    def _wake(self) -> int | None:
        return self._link.fileno() if self._link is not None and self._link.alive() else None

    def _tend(self, engine: Engine, jobs: LocalJobs) -> None:
        """A keeper that is gone has put everything back, or left it to us: no more slots, no more sprints."""
        if self._link is None or self._link.alive() or engine.keeper_gone:
            return
        engine.lose_keeper()
        jobs.lose_places()
        self._put_back_from_journal()  # at once: no job may stay confined by nobody
        self._log.warn(self._clock.now(), f"the keeper has ended; {Reason.NO_KEEPER.value}: no more sprints")

    def _put_back(self) -> None:
        """Through the keeper if it lives, else from its journal."""
        closed = self._link.close() if self._link is not None else None
        self._restored = closed is not None and not closed.failed
        if not self._restored:
            self._put_back_from_journal()
        elif closed is not None:
            for line in closed.left:
                self._log.warn(self._clock.now(), line)

    def _put_back_from_journal(self) -> None:
        try:
            failed = restore_from_journal(self._state, lock=self._lock).failed
        except SprintError as error:
            failed = [str(error)]
        self._restored = not failed
        for line in failed:
            self._log.warn(self._clock.now(), f"not put back: {line}")

    def _close(self, engine: Engine, roster: Roster, ending: Ending) -> Outcome:
        request = self._request
        status = "finished" if ending.interrupted_by is None else "interrupted"
        self._log.write(self._clock.now(), "budget", **budget_fields(engine.bucket))
        self._log.write(self._clock.now(), "ended", status=status)
        self._close_folder()
        summary = summarise(
            self._log.records,
            run=request.run,
            setting=request.setting,
            status=status,
            unfinished=len(ending.unfinished),
            granted=CoreSeconds(self._log.granted),
            budget={
                "capacity_core_seconds": request.policy.budget.capacity,
                "refill_cores": request.policy.budget.refill,
                "while_sprinting": request.policy.budget.while_sprinting.value,
                **budget_fields(engine.bucket),
            },
            machine=machine_facts(),
            seeds={"futures": request.seed},
            load={"start": self._load_at_start, "end": load_average()},
            restored=self._restored,
            warnings=self._log.warnings,
        )
        try:
            write_summary(self._folder.path / SUMMARY, summary)
        except Unavailable as error:
            self._log.incomplete = self._log.incomplete or str(error)
        return Outcome(
            summary=summary,
            ending=ending,
            records=list(self._log.records),
            incomplete=self._log.incomplete,
        )

    def _close_folder(self) -> None:
        try:
            self._folder.close()
        except OSError as error:
            self._log.incomplete = self._log.incomplete or f"{self._folder.path}: {error.strerror}"


def _adoption(job: str) -> str:
    return f"{job} still runs from before: it is waited for, its outcome is unknown"
