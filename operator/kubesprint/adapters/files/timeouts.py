"""Which one time-out a run went by, from what it wrote down about its decisions.

A strategy may choose many time-outs during a run, and exceptions for single jobs. What counts is what was
decided for the jobs that ran: if one time-out would have decided the same everywhere, the run is one of it.
"""

import math
from collections import defaultdict
from collections.abc import Iterator

from kubesprint.adapters.files.results import number
from kubesprint.adapters.files.story import JobStory, RunStory

TRIGGERED = frozenset({"TriggerReached", "BudgetShort", "BudgetExhausted"})
"""Reasons of a job whose trigger has passed, whether or not the budget let it sprint."""

UNTRIGGERED = frozenset({"BeforeTrigger", "Never", "Untrusted", "Stale"})

LATE = 0.25
"""Seconds by which a decision may be taken after its instant: the engine looks at instants, not always."""

_Span = tuple[bool, float, float]  # triggered or not, from this age on (seconds), up to that age


class Changed(ValueError):
    """No one time-out explains the decisions of the run."""


def effective_timeout(story: RunStory, clock: str) -> float:
    """The time-out of a run in seconds; infinity: never. `clock` is where ages count from.

    Raises:
        Changed: its decisions follow no single one.
        ValueError: the run did not say what its time-outs were.
    """
    strategy = str(story.run.get("strategy", ""))
    chosen = [number(event.get("after_seconds")) for event in story.triggers]
    known = [after for after in chosen if after is not None]
    if not known and strategy in ("never", "always"):
        return math.inf if strategy == "never" else 0.0
    if not known:
        raise ValueError(f"strategy {strategy!r} wrote no trigger, so its time-out is unknown")
    spans = [span for job in story.jobs.values() for span in _spans(job, clock)]
    least = max((max(start, end - LATE) for triggered, start, end in spans if not triggered), default=0.0)
    most = min((start for triggered, start, _ in spans if triggered), default=math.inf)
    held = _held(story)
    if len(held) == 1 and strategy != "model-driven":  # which may except single jobs from its time-out
        return next(iter(held))
    if least > most:
        values = ", ".join(f"{after:.3g}" for after in sorted(held)[:4])
        raise Changed(f"the time-out changed during the run ({values} s), and a setting has one")
    fitting = [after for after in held if least <= after <= most]
    return max(fitting, key=held.__getitem__) if fitting else most


def _held(story: RunStory) -> dict[float, float]:
    """Seconds that each time-out was in force."""
    times = [(float(e["at"]), number(e.get("after_seconds"))) for e in story.triggers]
    held: dict[float, float] = defaultdict(float)
    for (at, after), (until, _) in zip(
        times, [*times[1:], (max(story.last, times[-1][0]), None)], strict=True
    ):
        if after is not None:
            held[after] += until - at
    return dict(held)


def _spans(job: JobStory, clock: str) -> Iterator[_Span]:
    """How a job was looked upon while it ran, by its age."""
    origin = job.start if clock == "start" else job.arrival
    if origin is None or job.end is None:
        return
    ends = [*(note.at for note in job.notes[1:]), job.end]
    for note, end in zip(job.notes, ends, strict=False):
        if note.reason in TRIGGERED | UNTRIGGERED and note.at < min(end, job.end):
            yield note.reason in TRIGGERED, note.at - origin, min(end, job.end) - origin
