"""What one turn decides on: a frozen picture of jobs, budget and rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kubesprint.core.allocation import Allocation
from kubesprint.core.budget import Bucket
from kubesprint.core.units import Cores, Seconds
from kubesprint.core.workload import JobState, JobView


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The world at `now`, on the engine's clock."""

    now: Seconds
    jobs: Sequence[JobView]  # all that have arrived, in order of arrival
    bucket: Bucket
    base: Allocation
    sprint: Allocation
    servers: int  # jobs that may run at once
    grants: Mapping[str, str]  # job -> grant it holds now
    clock_rate: Cores | None = None  # of the clocks that a lone sprint raises; None: of its own cores only

    @property
    def cost_rate(self) -> Cores:
        """Core-seconds that one job draws a second if it sprints alone: the most that it ever draws."""
        if self.clock_rate is None:
            return self.sprint.cost_rate(self.base)
        return Cores(self.sprint.cores - self.base.cores + self.clock_rate)

    def running(self) -> list[JobView]:
        """Jobs that run, oldest arrival first."""
        return [job for job in self.jobs if job.state is JobState.RUNNING]

    def queued(self) -> list[JobView]:
        """Jobs that wait, in the order in which they will start."""
        return [job for job in self.jobs if job.state is JobState.QUEUED]

    def finished(self) -> list[JobView]:
        """Jobs that are over, in order of arrival."""
        return [job for job in self.jobs if job.state is JobState.FINISHED]
