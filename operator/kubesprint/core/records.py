"""What remains of a job when it is over: one row of `jobs.csv`, and of a dataset."""

from dataclasses import dataclass

from kubesprint.core.units import CoreSeconds, Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """A finished job. Instants are seconds from the start of the run; an absent value is None."""

    run: str
    setting: str  # the strategy, or what else was held constant in this run
    kind: str
    arrival: Seconds
    start: Seconds | None
    end: Seconds | None
    cpu: CoreSeconds | None
    sprint: Seconds
    sprint_start: Seconds | None  # the first one
    sprint_cpu: CoreSeconds
    name: str
    exit: int | None  # as a shell shows it: 0, 1..125, or 128 + signal; None: never ran
    predicted_response: Seconds | None  # as predicted when the job arrived

    @property
    def response(self) -> Seconds | None:
        """From arrival to end; None for a job that never ended."""
        return None if self.end is None else Seconds(self.end - self.arrival)
