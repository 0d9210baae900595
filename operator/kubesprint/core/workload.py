"""Training jobs as the engine sees them: what was asked, where each stands, what it has used."""

from dataclasses import dataclass
from enum import StrEnum

from kubesprint.core.units import CoreSeconds, Seconds


class JobState(StrEnum):
    """Where a job stands. A job exists for the engine only from its arrival on."""

    QUEUED = "Queued"
    RUNNING = "Running"
    FINISHED = "Finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A measured value and how old it is; an absent reading is `None`, a stale one is ignored."""

    value: float
    age: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """One job at one instant. Instants are on the engine's clock."""

    name: str
    kind: str  # the key of its profile
    selected: bool = True  # by the policy
    state: JobState
    arrival: Seconds
    slot: str | None = None  # where it runs: the knob that speeds it up
    start: Seconds | None = None
    end: Seconds | None = None
    deadline: Seconds | None = None
    cpu: Reading | None = None  # CPU seconds used so far
    sprint: Seconds = Seconds(0.0)  # wall seconds sprinted so far
    sprint_cpu: CoreSeconds = CoreSeconds(0.0)  # CPU seconds used while sprinting
    succeeded: bool | None = None

    @property
    def response(self) -> Seconds | None:
        """From arrival to end, once it has ended."""
        return None if self.end is None else Seconds(self.end - self.arrival)
