"""Everything one turn saw and did: what progress, files, metrics and explanations are made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from kubesprint.core.decision import Decision
from kubesprint.core.forecast import Estimate
from kubesprint.core.lease import Directive
from kubesprint.core.policy import Trigger
from kubesprint.core.reasons import Reason
from kubesprint.core.units import CoreSeconds, Seconds
from kubesprint.core.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class SprintSpan:
    """One sprint as it was read back: from the write that raised the knob to the read-back of its return."""

    grant: str
    job: str
    knob: str
    start: Seconds
    end: Seconds | None  # None: goes on
    cost: CoreSeconds
    cpu: CoreSeconds  # CPU seconds that the job used meanwhile
    reason: Reason  # why it ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn of the engine."""

    at: Seconds
    view: View | None  # None: held, the inventory was incomplete
    estimates: Mapping[str, Estimate]
    trigger: Trigger | None
    decisions: Sequence[Decision]
    directive: Directive | None
    started: Sequence[SprintSpan]  # sprints whose raised knob was read back in this turn
    ended: Sequence[SprintSpan]
    troubles: Sequence[str]
    next_look: Seconds  # when another turn is due at the latest


class Recorder(Protocol):
    """Whoever is told what happened: progress, files, metrics."""

    def record(self, turn: Turn) -> None:
        """Take note of a turn."""
        ...
