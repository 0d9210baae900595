"""A machine that does not exist: slots, jobs that progress, a keeper that obeys, time that jumps.

The real `Engine` runs on it, so that a policy can be tried, or a run predicted, in milliseconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kubesprint.core.allocation import Allocation
from kubesprint.core.budget import Bucket
from kubesprint.core.lease import Directive
from kubesprint.core.reasons import Reason
from kubesprint.core.units import CoreSeconds, Seconds
from kubesprint.core.workload import JobState, JobView, Reading
from kubesprint.engine.engine import Engine
from kubesprint.engine.ports import Inventory, KnobReport, Report
from kubesprint.engine.turn import Turn

EPSILON = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualJob:
    """A job that will arrive: its true work is known to the machine only."""

    name: str
    kind: str
    arrival: Seconds
    work: Seconds  # at base
    rate: float = 1.0  # speed-up while sprinting
    cpu_per_work: float = 1.0  # CPU seconds that a second of work shows
    deadline: Seconds | None = None  # an instant


@dataclass(slots=True)
class _Running:
    job: VirtualJob
    slot: str
    left: float
    start: float


@dataclass(slots=True)
class _Held:
    grant: str
    ends: float


class VirtualMachine:
    """Workloads, Nodes, Clock, Purse and Recorder in one, for one engine."""

    def __init__(self, jobs: Sequence[VirtualJob], slots: int, base: Allocation) -> None:
        self.turns: list[Turn] = []
        self._now = 0.0
        self._coming = sorted(jobs, key=lambda job: job.arrival)
        self._views: dict[str, JobView] = {}
        self._queue: list[VirtualJob] = []
        self._running: dict[str, _Running] = {}
        self._slots = [f"slot-{n}" for n in range(slots)]
        self._held: dict[str, _Held] = {}
        self._base = base
        self._outbox: list[Report] = []
        self._directive: Directive | None = None

    def now(self) -> Seconds:
        """Virtual seconds since the start."""
        return Seconds(self._now)

    def observe(self) -> Inventory:
        """Every job that has arrived."""
        for slot, running in self._running.items():
            used = (running.job.work - running.left) * running.job.cpu_per_work
            view = self._views[running.job.name]
            self._views[running.job.name] = replace(
                view, slot=slot, cpu=Reading(value=used, age=Seconds(0.0))
            )
        return Inventory(jobs=list(self._views.values()))

    def publish(self, directive: Directive) -> None:
        """Apply a directive at once."""
        self._directive = directive
        self._held = {g.knob: _Held(g.grant, self._now + g.lease) for g in directive.grants}
        self._report()

    def reports(self) -> Sequence[Report]:
        """What was read back since the last call."""
        out, self._outbox = self._outbox, []
        return out

    def save(self, bucket: Bucket) -> None:
        """A virtual machine forgets."""

    def record(self, turn: Turn) -> None:
        """Remember every turn."""
        self.turns.append(turn)

    @property
    def done(self) -> bool:
        """No job is left."""
        return not (self._coming or self._queue or self._running)

    def finished(self) -> list[JobView]:
        """Jobs that are over."""
        return [view for view in self._views.values() if view.state is JobState.FINISHED]

    def run(self, engine: Engine, limit: Seconds = Seconds(1e6)) -> list[JobView]:
        """Turn the engine until every job is over; returns the finished jobs in order of arrival."""
        self._settle(engine)
        while not self.done and self._now < limit:
            turn = engine.step()
            self._settle(engine)
            self._advance(min(self._next_event(), turn.next_look))
            self._settle(engine)
        engine.step()
        return self.finished()

    def _next_event(self) -> float:
        ends = [self._now + r.left / self._speed(slot) for slot, r in self._running.items()]
        leases = [held.ends for held in self._held.values()]
        arrivals = [self._coming[0].arrival] if self._coming else []
        return min([*ends, *leases, *arrivals], default=self._now + 1.0)

    def _speed(self, slot: str) -> float:
        return self._running[slot].job.rate if slot in self._held else 1.0

    def _advance(self, until: float) -> None:
        """Move time; nothing else happens in between."""
        step = max(0.0, until - self._now)
        for slot, running in self._running.items():
            running.left -= step * self._speed(slot)
        self._now += step

    def _settle(self, engine: Engine) -> None:
        """Everything that is due now: leases, ends, arrivals, starts."""
        lapsed = [slot for slot, held in self._held.items() if held.ends <= self._now + EPSILON]
        for slot in lapsed:
            del self._held[slot]
        if lapsed:
            self._report()
        for slot, running in list(self._running.items()):
            if running.left <= EPSILON:
                self._finish(slot, running)
                engine.release(running.job.name)
        while self._coming and self._coming[0].arrival <= self._now + EPSILON:
            self._arrive(self._coming.pop(0))
        for slot in self._slots:
            if self._queue and slot not in self._running and slot not in self._held:
                self._start(self._queue.pop(0), slot)

    def _arrive(self, job: VirtualJob) -> None:
        self._queue.append(job)
        self._views[job.name] = JobView(
            name=job.name,
            kind=job.kind,
            state=JobState.QUEUED,
            arrival=Seconds(self._now),
            deadline=job.deadline,
        )

    def _start(self, job: VirtualJob, slot: str) -> None:
        self._running[slot] = _Running(job, slot, job.work, self._now)
        view = self._views[job.name]
        self._views[job.name] = replace(view, state=JobState.RUNNING, slot=slot, start=Seconds(self._now))

    def _finish(self, slot: str, running: _Running) -> None:
        del self._running[slot]
        self._views[running.job.name] = replace(
            self._views[running.job.name],
            state=JobState.FINISHED,
            end=Seconds(self._now),
            cpu=Reading(value=CoreSeconds(running.job.work * running.job.cpu_per_work), age=Seconds(0.0)),
            succeeded=True,
        )

    def _report(self) -> None:
        assert self._directive is not None
        now = Seconds(self._now)
        knobs = {
            slot: KnobReport(
                knob=slot,
                grant=held.grant if held else None,
                outcome=Reason.APPLIED,
                allocation=self._base,
                since=now,
                at=now,
            )
            for slot in self._slots
            for held in [self._held.get(slot)]
        }
        d = self._directive
        self._outbox.append(Report(run=d.run, epoch=d.epoch, sequence=d.sequence, knobs=knobs))
