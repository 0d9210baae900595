"""The jobs of a run as real processes on this machine: the engine's `Workloads` port."""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from kubesprint.adapters.linux.jobs import AdoptedJob, JobProcess, SlotGone
from kubesprint.adapters.linux.processes import RUN_MARK
from kubesprint.adapters.linux.threads import thread_environment
from kubesprint.core.errors import Unavailable
from kubesprint.core.spec import JobSpec
from kubesprint.core.units import Cores, CoreSeconds, Seconds
from kubesprint.core.workload import JobView, Reading
from kubesprint.engine.ports import Clock, Inventory
from kubesprint.engine.roster import Ending, Roster

JOB_MARK = "KUBESPRINT_JOB"

NOT_STARTED = 127
"""The exit code of a job whose program could not be started, as a shell has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How a job is put into one slot, and how its CPU time is read there. None: plainly."""

    enter: Callable[[], None] | None = None  # in the child, before exec
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
        tree_cpu: Callable[[int], float | None],
        adopt: Callable[[str], AdoptedJob | None] = lambda name: None,  # noqa: ARG005
    ) -> None:
        """Take over a roster.

        Args:
            roster: the queue.
            clock: shared with the engine.
            places: by slot, for jobs that the policy selects.
            plain: for jobs that it does not.
            logs: folder of the jobs' output.
            env: the whole environment of a job in a place.
            tree_cpu: CPU seconds of a process and its children, where a slot has no meter.
            adopt: the job of this name if it still runs, left over from an earlier part of this run.
        """
        self.roster = roster
        self.processes: dict[str, JobProcess | AdoptedJob] = {}
        self.adopted: list[str] = []
        self._clock = clock
        self._places = places
        self._plain = plain
        self._logs = logs
        self._env = env
        self._tree_cpu = tree_cpu
        self._adopt = adopt
        self._meter_at_start: dict[str, float] = {}

    def observe(self) -> Inventory:
        """Every job that has arrived; CPU readings are taken now."""
        for view in self.roster.running():
            value = self._cpu(view)
            reading = None if value is None else Reading(value=value, age=Seconds(0.0))
            self.roster.measure(view.name, reading)
        return Inventory(jobs=self.roster.views())

    def start_ready(self, at_base: Callable[[str], bool]) -> list[str]:
        """Start as many waiting jobs as there are free slots that hold their base; returns names."""
        started: list[str] = []
        for slot in self.roster.free_slots():
            name = self.roster.next_to_start()
            if name is not None and at_base(slot):
                self._start(name, slot)
                started.append(name)
        return started

    def reap(self) -> list[str]:
        """Note every job that has ended; returns names."""
        ended = []
        for name, process in list(self.processes.items()):
            finished = process.poll()
            if finished is None:
                continue
            view = self.roster.view(name)
            cpu = self._cpu(view) if self._metered(view) else None
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

    def lose_places(self) -> None:
        """The slots are gone: whatever starts from now on starts plainly."""
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
        survivor = self._adopt(name)
        if survivor is not None:
            self.roster.start(name, slot, self._clock.now(), plainly=True)
            self.processes[name] = survivor
            self.adopted.append(name)
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
        return JobProcess.start(
            spec.command,
            env=self._env(spec, place),
            workdir=spec.workdir,
            log=self._logs / f"{name}.log",
            enter=place.enter,
        )

    def _place(self, view: JobView, slot: str) -> Place:
        return self._places.get(slot, self._plain) if view.selected else self._plain

    def _metered(self, view: JobView) -> bool:
        return view.slot is not None and self._place(view, view.slot).cpu_seconds is not None

    def _cpu(self, view: JobView) -> float | None:
        """CPU seconds of a running job: from its slot's meter, or from its process tree."""
        meter = self._place(view, view.slot).cpu_seconds if view.slot is not None else None
        if meter is not None and view.name in self._meter_at_start:
            value = meter()
            return None if value is None else max(0.0, value - self._meter_at_start[view.name])
        process = self.processes.get(view.name)
        return None if process is None else self._tree_cpu(process.pid)


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
