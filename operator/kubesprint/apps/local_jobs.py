"""The jobs of a run as real processes on this machine: the engine's `Workloads` port."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from kubesprint.adapters.linux.adopted import AdoptedJob
from kubesprint.adapters.linux.jobs import JobProcess, SlotGone
from kubesprint.adapters.linux.parked import Berth
from kubesprint.adapters.linux.processes import RUN_MARK
from kubesprint.adapters.linux.threads import thread_environment
from kubesprint.core.errors import Unavailable
from kubesprint.core.spec import JobSpec
from kubesprint.core.units import Cores, CoreSeconds, Seconds
from kubesprint.core.workload import JobState, JobView, Reading
from kubesprint.engine.ports import Clock, Inventory
from kubesprint.engine.roster import Ending, Roster

JOB_MARK = "KUBESPRINT_JOB"

NOT_STARTED = 127
"""The exit code of a job whose program could not be started, as a shell has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How a job is put into one slot, and how its CPU time is read there. None: plainly."""

    berth: Berth | None = None  # where the next job of the slot waits
    cpu_seconds: Callable[[], float | None] | None = None  # of everything that ever ran in the slot
    tenant: Callable[[int], None] | None = None  # told the pid of the job that moved in
    clear: Callable[[], None] | None = None  # ends what a job that is over has left in the slot
    environment: Mapping[str, str] = field(default_factory=dict)  # marks that survivors are found by


class LocalJobs:
    """Starts, measures and reaps the processes of a roster."""

    def __init__(
        self,
        roster: Roster,
        *,
        clock: Clock,
        places: Mapping[str, Place],
        plain: Place,
        logs: Path,
        env: Callable[[JobSpec, Place], Mapping[str, str]],
        tree_cpu: Callable[[Sequence[int]], Mapping[int, float]],
        adopted: Mapping[str, AdoptedJob] | None = None,
    ) -> None:
        """Take over a roster.

        Args:
            roster: the queue.
            clock: shared with the engine.
            places: by slot, for jobs that the policy selects.
            plain: for jobs that it does not.
            logs: folder of the jobs' output.
            env: the whole environment of a job in a place.
            tree_cpu: CPU seconds of jobs, by the ids of their leaders, where a slot has no meter.
            adopted: jobs that an earlier part of this run has left running, by name.
        """
        self.roster = roster
        self.processes: dict[str, JobProcess] = {}
        self._clock = clock
        self._places = places
        self._plain = plain
        self._logs = logs
        self._env = env
        self._tree_cpu = tree_cpu
        self._survivors = dict(adopted or {})
        self._meter_at_start: dict[str, float] = {}

    def observe(self) -> Inventory:
        """Every job that has arrived; CPU readings are taken now."""
        running = self.roster.running()
        metered = {view.name: self._meter(view) for view in running if self._metered(view)}
        others = {view.name: self.processes[view.name].pid for view in running if view.name not in metered}
        of_tree = self._tree_cpu(list(others.values()))
        for view in running:
            value = metered[view.name] if view.name in metered else of_tree.get(others[view.name])
            reading = None if value is None else Reading(value=value, age=Seconds(0.0))
            self.roster.measure(view.name, reading)
        return Inventory(jobs=self.roster.views())

    def can_start(self, at_base: Callable[[str], bool]) -> bool:
        """Whether `start_ready` would start a job."""
        return self.roster.waiting > 0 and any(map(at_base, self.roster.free_slots()))

    def start_ready(self, at_base: Callable[[str], bool]) -> list[str]:
        """Start as many waiting jobs as there are free slots that hold their base; returns names."""
        started: list[str] = []
        for slot in self.roster.free_slots():
            name = self._next()
            if name is not None and at_base(slot):
                self._start(name, slot)
                started.append(name)
        return started

    def _next(self) -> str | None:
        """Who still runs from before, then the head of the queue."""
        queued = [view.name for view in self.roster.views() if view.state is JobState.QUEUED]
        return next((name for name in queued if name in self._survivors), self.roster.next_to_start())

    def reap(self) -> list[str]:
        """Note every job that has ended; returns names."""
        ended = []
        for name, process in list(self.processes.items()):
            finished = process.poll()
            if finished is None:
                continue
            view = self.roster.view(name)
            cpu = self._meter(view) if self._metered(view) else None
            self._clear(view)
            del self.processes[name]
            self.roster.finish(
                name,
                Ending(
                    at=self._clock.now(),
                    exit=finished.code,
                    cpu=finished.cpu if cpu is None else CoreSeconds(cpu),
                ),
            )
            ended.append(name)
        return ended

    def park(self) -> None:
        """Have the next jobs wait in their slots, as many as are still to start. For idle moments."""
        left = self.roster.unstarted
        for place in self._places.values():
            if place.berth is not None and left > 0:
                with suppress(Unavailable):  # then the start of the next job says so
                    place.berth.park()
                left -= 1

    def lose_places(self) -> None:
        """Leave the slots: whatever starts from now on starts plainly."""
        for place in self._places.values():
            if place.berth is not None:
                place.berth.dismiss()
        self._places = {}

    def _clear(self, view: JobView) -> None:
        """The next job has the slot alone."""
        clear = self._place(view, view.slot).clear if view.slot is not None else None
        if clear is not None:
            clear()

    def terminate(self) -> None:
        """Ask every running job to end."""
        for process in self.processes.values():
            process.terminate()

    def kill(self) -> None:
        """End every running job."""
        for process in self.processes.values():
            process.kill()

    def _start(self, name: str, slot: str) -> None:
        survivor = self._survivors.pop(name, None)
        if survivor is not None:
            self.roster.start(name, slot, self._clock.now(), plainly=True)
            self.processes[name] = survivor
            return
        place = self._place(self.roster.view(name), slot)
        if place.cpu_seconds is not None:
            self._meter_at_start[name] = place.cpu_seconds() or 0.0
        self.roster.start(name, slot, self._clock.now())
        try:
            try:
                process = self._launch(name, place)
            except SlotGone:  # its keeper has just ended, and the slot with it
                self._meter_at_start.pop(name, None)
                place = self._plain
                process = self._launch(name, place)
        except Unavailable as error:
            with suppress(OSError):
                (self._logs / f"{name}.log").write_text(f"kubesprint: {error}\n")
            self.roster.finish(name, Ending(at=self._clock.now(), exit=NOT_STARTED, cpu=CoreSeconds(0.0)))
            return
        self.processes[name] = process
        if place.tenant is not None:
            place.tenant(process.pid)

    def _launch(self, name: str, place: Place) -> JobProcess:
        spec = self.roster.specs[name]
        start = JobProcess.start if place.berth is None else place.berth.start
        return start(
            spec.command,
            env=self._env(spec, place),
            workdir=spec.workdir,
            log=self._logs / f"{name}.log",
        )

    def _place(self, view: JobView, slot: str) -> Place:
        return self._places.get(slot, self._plain) if view.selected else self._plain

    def _metered(self, view: JobView) -> bool:
        return view.name in self._meter_at_start and self._reader(view) is not None

    def _meter(self, view: JobView) -> float | None:
        """CPU seconds of a running job by the meter of its slot."""
        read = self._reader(view)
        value = None if read is None else read()
        return None if value is None else max(0.0, value - self._meter_at_start[view.name])

    def _reader(self, view: JobView) -> Callable[[], float | None] | None:
        return None if view.slot is None else self._place(view, view.slot).cpu_seconds


def job_environment(
    spec: JobSpec, threads_for: Cores | None, run: str, marks: Mapping[str, str]
) -> Mapping[str, str]:
    """The whole environment of a job.

    Args:
        spec: its own variables win over those of this process.
        threads_for: cores of a sprint, where the job may run on fewer: thread pools wait passively, unless
            either environment says otherwise. None: left alone.
        run: the run; a mark that survivors are found by, like `marks`.
        marks: of the place it runs in.
    """
    environment = {**os.environ, **spec.env}
    if threads_for is not None:
        environment |= thread_environment(threads_for, environment)
    return {**environment, RUN_MARK: run, JOB_MARK: spec.name, **marks}
