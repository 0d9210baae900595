"""The jobs of one run and where each stands: who has arrived, who waits, who runs where, who is over.

First come, first served; a job that has not arrived is not there for anybody (no clairvoyance).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kubesprint.core.spec import JobSpec, Policy
from kubesprint.core.units import CoreSeconds, Seconds
from kubesprint.core.workload import JobState, JobView, Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a job ended."""

    at: Seconds
    exit: int | None  # as a shell shows it; None: not known (a survivor of a killed run)
    cpu: CoreSeconds | None


class Roster:
    """The queue of one run. Instants are on the engine's clock."""

    def __init__(
        self, jobs: Sequence[JobSpec], policy: Policy, slots: Sequence[str], origin: Seconds
    ) -> None:
        """Take in a queue.

        Args:
            jobs: in order of arrival.
            policy: gives default deadline, default workload and the selector.
            slots: names of the places where a job can run.
            origin: the instant that arrivals count from.
        """
        self.specs: Mapping[str, JobSpec] = {job.name: job for job in jobs}
        self.endings: dict[str, Ending] = {}
        self._policy = policy
        self._origin = origin
        self._coming = list(jobs)
        self._waiting: list[str] = []
        self._views: dict[str, JobView] = {}
        self._slots = list(slots)
        self._taken: dict[str, str] = {}  # slot -> job

    def arrive(self, now: Seconds) -> list[str]:
        """Let in every job whose instant has come; returns their names, in order."""
        names = []
        while self._coming and self._origin + self._coming[0].arrival <= now:
            job = self._coming.pop(0)
            arrival = Seconds(self._origin + job.arrival)
            after = job.deadline if job.deadline is not None else self._policy.deadline
            self._views[job.name] = JobView(
                name=job.name,
                kind=job.kind,
                state=JobState.QUEUED,
                arrival=arrival,
                deadline=None if after is None else Seconds(arrival + after),
                selected=self._policy.selects(job.labels),
            )
            self._waiting.append(job.name)
            names.append(job.name)
        return names

    def next_arrival(self) -> Seconds | None:
        """When the next job will be let in."""
        return Seconds(self._origin + self._coming[0].arrival) if self._coming else None

    def next_to_start(self) -> str | None:
        """The job at the head of the queue."""
        return self._waiting[0] if self._waiting else None

    def free_slots(self) -> list[str]:
        """Slots that no job occupies."""
        return [slot for slot in self._slots if slot not in self._taken]

    def start(self, name: str, slot: str, at: Seconds, *, plainly: bool = False) -> None:
        """The job runs from now on; `plainly`: outside its slot, so that nothing may be done to it."""
        self._waiting.remove(name)
        self._taken[slot] = name
        self._views[name] = replace(self._views[name], state=JobState.RUNNING, slot=slot, start=at)
        if plainly:
            self._views[name] = replace(self._views[name], selected=False)

    def measure(self, name: str, cpu: Reading | None) -> None:
        """Note how much CPU a running job has used."""
        self._views[name] = replace(self._views[name], cpu=cpu)

    def finish(self, name: str, ending: Ending) -> None:
        """The job is over, or will never start."""
        view = self._views[name]
        if view.slot is not None:
            self._taken.pop(view.slot, None)
        if name in self._waiting:
            self._waiting.remove(name)
        cpu = view.cpu if ending.cpu is None else Reading(value=ending.cpu, age=Seconds(0.0))
        self.endings[name] = ending
        self._views[name] = replace(
            view, state=JobState.FINISHED, end=ending.at, cpu=cpu, succeeded=ending.exit == 0
        )

    def skip(self, names: Mapping[str, JobView]) -> None:
        """Jobs that an earlier part of this run has finished: they stay as history."""
        self._coming = [job for job in self._coming if job.name not in names]
        self._views.update(names)

    def cancel_rest(self) -> list[str]:
        """Drop everything that has not started; returns the names."""
        dropped = [*self._waiting, *(job.name for job in self._coming)]
        for name in self._waiting:
            del self._views[name]
        self._waiting.clear()
        self._coming.clear()
        return dropped

    def view(self, name: str) -> JobView:
        """One job that has arrived."""
        return self._views[name]

    def views(self) -> list[JobView]:
        """Every job that has arrived, in order of arrival."""
        return list(self._views.values())

    def running(self) -> list[JobView]:
        """Jobs that run."""
        return [self._views[name] for name in self._taken.values()]

    @property
    def waiting(self) -> int:
        """Jobs that have arrived and not started."""
        return len(self._waiting)

    @property
    def unstarted(self) -> int:
        """Jobs that wait or are still to come."""
        return len(self._waiting) + len(self._coming)

    @property
    def done(self) -> bool:
        """Nothing runs, waits or is still to come."""
        return not (self._coming or self._waiting or self._taken)
