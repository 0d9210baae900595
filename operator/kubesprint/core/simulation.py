"""What a queue simulator takes and gives back, whatever computes it (plain Python, or compiled).

Times are seconds, work is seconds at base speed, the budget is in sprint seconds: one job that
sprints for a second drains one. The semantics, decided once and shared by every implementation:

- jobs are served first come, first served, by `servers` servers that share one bucket;
- a sprint starts at the first instant at or after the job's trigger at which the bucket holds the
  threshold min(hysteresis, capacity), reached with >=; it runs until the job ends or the bucket is
  empty, and may start again likewise unless `restart` is off;
- n sprinting jobs drain n per second (`Paused`: no refill meanwhile) or n - refill (`Continuous`);
- when the bucket is empty all sprinters revert; at the threshold all waiting jobs start, the oldest
  first; a job that triggers while others sprint joins if the bucket holds the threshold then;
- if there is a crowd (a number of jobs), a job that runs when so many wait for a server, or starts while
  they do, is triggered and stays so, whatever the time-out; not one with a trigger of its own;
- a toggle cost, if any, is bucket and wall time spent without progress at each start of a sprint.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from kubesprint.core.budget import RefillRule
from kubesprint.core.units import FOREVER, Seconds


class TriggerClock(StrEnum):
    """Where the time-out of a job starts to count."""

    ARRIVAL = "Arrival"
    START = "Start"


@dataclass(frozen=True, slots=True, kw_only=True)
class SprintRules:
    """A policy in the units of the simulator."""

    timeout: Seconds = FOREVER  # inf = never; 0 = always until empty
    crowd: int = 0  # so many waiting jobs trigger all that run; 0: however many
    clock: TriggerClock = TriggerClock.ARRIVAL
    capacity: Seconds = Seconds(0.0)  # sprint seconds
    refill: float = 0.0  # sprint seconds per second
    refill_rule: RefillRule = RefillRule.PAUSED
    hysteresis: Seconds = Seconds(0.2)  # sprint seconds, above 0
    restart: bool = True
    toggle: Seconds = Seconds(0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimJob:
    """A job to simulate. `started` makes it one that is running already at `Present.now`."""

    arrival: Seconds
    work: Seconds  # what is left of it, at base speed
    rate: float = 1.0  # speed-up while sprinting, at least 1
    trigger: Seconds | None = None  # its own trigger instant; None: by the rules
    started: Seconds | None = None
    sprinting: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """Where a simulation starts: the instant, and what the bucket holds (None: full)."""

    now: Seconds = Seconds(0.0)
    level: Seconds | None = None  # sprint seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one job, in the order of the jobs given."""

    start: Seconds
    end: Seconds
    sprint: Seconds  # wall seconds sprinted from `Present.now` on
    sprint_start: Seconds | None


class QueueSimulator(Protocol):
    """Simulates a queue of jobs, given in the order of their arrival."""

    def __call__(
        self, jobs: Sequence[SimJob], rules: SprintRules, servers: int, present: Present
    ) -> Sequence[Outcome]:
        """One outcome a job. Pure: the same input gives the same output."""
        ...
