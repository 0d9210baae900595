"""What is decided for a job, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from kubesprint.core.reasons import Reason
from kubesprint.core.units import Seconds


class Verb(StrEnum):
    """What happens to a job's allocation."""

    HOLD = "Hold"  # stays at base
    SPRINT = "Sprint"  # starts or goes on sprinting
    RELEASE = "Release"  # returns to base


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One job's decision; the same record feeds progress, events, the report and `explain`."""

    job: str
    verb: Verb
    reason: Reason
    sentence: str
    inputs: Mapping[str, float | str | None]
    next_look: Seconds | None = None  # the instant at which this decision is worth taking again
