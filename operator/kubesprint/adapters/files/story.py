"""A run told from its folder: what became of each job, why, and how the budget moved meanwhile."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubesprint.adapters.files.results import EVENTS, JOBS, number, read_events, read_jobs
from kubesprint.core.records import JobRecord


@dataclass(slots=True, kw_only=True)
class SprintSpan:
    """One sprint; `end` is None while it lasts."""

    grant: str
    start: float
    end: float | None = None
    core_seconds: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One decision: when, what, why, and from which inputs."""

    at: float
    verb: str
    reason: str
    sentence: str
    inputs: Mapping[str, Any]


@dataclass(slots=True, kw_only=True)
class JobStory:
    """One job. Instants are seconds from the start of the run, None where it did not happen."""

    name: str
    kind: str = ""
    arrival: float | None = None
    deadline: float | None = None  # an instant
    slot: str | None = None
    start: float | None = None
    end: float | None = None
    exit: int | None = None
    response: float | None = None
    predicted: float | None = None  # a response
    advised: float | None = None  # the same if the advice of Recommend were followed
    interval: tuple[float, float] | None = None
    cpu: float | None = None
    sprint: float = 0.0  # seconds, as recorded when the job ended; until then the sum of its spans
    sprints: list[SprintSpan] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Ended with an exit other than 0."""
        return self.exit not in (0, None)

    @property
    def unknown(self) -> bool:
        """Ended while nobody was there who could learn its exit."""
        return self.end is not None and self.exit is None

    @property
    def missed(self) -> bool:
        """Ended after its deadline."""
        return self.deadline is not None and self.end is not None and self.end > self.deadline


@dataclass(slots=True, kw_only=True)
class RunStory:
    """A whole run. `run` is its first `run` event; jobs go by arrival."""

    run: Mapping[str, Any] = field(default_factory=dict)
    jobs: dict[str, JobStory] = field(default_factory=dict)
    budget: list[tuple[float, float, float, float]] = field(default_factory=list)  # at, level, reserved, debt
    triggers: list[Mapping[str, Any]] = field(default_factory=list)
    warnings: list[tuple[float, str]] = field(default_factory=list)
    resumed: list[float] = field(default_factory=list)
    status: str = ""
    last: float = 0.0  # the instant of the newest event

    @property
    def name(self) -> str:
        """The name of the run."""
        return str(self.run.get("run", ""))

    @property
    def setting(self) -> str:
        """What was held constant, usually the strategy."""
        return str(self.run.get("setting") or self.run.get("strategy") or self.name)


def read_story(folder: Path) -> RunStory:
    """The story of a run folder. Raises `Refused` if it is none, `Corrupt` for a broken line."""
    records = read_jobs(folder / JOBS) if (folder / JOBS).exists() else []
    return tell(read_events(folder / EVENTS), records)


def tell(events: Iterable[Mapping[str, Any]], records: Sequence[JobRecord] = ()) -> RunStory:
    """The story that events tell, completed by the rows of `jobs.csv`; unknown events are passed over."""
    story = RunStory()
    for event in events:
        story.last = max(story.last, float(event["at"]))
        if teller := _TELLERS.get(event["type"]):
            teller(story, event)
    for record in records:
        _complete(story, record)
    _close_sprints(story, story.last)
    story.budget.sort()  # a file is in the order of writing, and a turn writes some things late
    story.jobs = dict(sorted(story.jobs.items(), key=lambda item: _arrival(item[1])))
    return story


def _arrival(job: JobStory) -> float:
    return math.inf if job.arrival is None else job.arrival


def _job(story: RunStory, event: Mapping[str, Any]) -> JobStory:
    name = str(event.get("job", ""))
    return story.jobs.setdefault(name, JobStory(name=name))


def _on_run(story: RunStory, event: Mapping[str, Any]) -> None:
    if story.run:  # the run went on after a death: nothing sprinted in between
        at = float(event["at"])
        story.resumed.append(at)
        _close_sprints(story, at)
    else:
        story.run = event


def _on_arrived(story: RunStory, event: Mapping[str, Any]) -> None:
    job = _job(story, event)
    job.kind = str(event.get("kind", ""))
    job.arrival = float(event["at"])
    after = number(event.get("deadline_seconds"))
    job.deadline = None if after is None else job.arrival + after
    _predict(job, event)


def _on_started(story: RunStory, event: Mapping[str, Any]) -> None:
    job = _job(story, event)
    job.start = float(event["at"])
    slot = event.get("slot")
    job.slot = None if slot is None else str(slot)
    _predict(job, event)


def _predict(job: JobStory, event: Mapping[str, Any]) -> None:
    predicted = number(event.get("predicted_response_seconds"))
    if predicted is not None:
        job.predicted = predicted
    advised = number(event.get("advised_response_seconds"))
    if advised is not None:
        job.advised = advised
    interval = event.get("interval")
    if isinstance(interval, list) and len(interval) == 2:
        low, high = number(interval[0]), number(interval[1])
        job.interval = None if low is None or high is None else (low, high)


def _on_decision(story: RunStory, event: Mapping[str, Any]) -> None:
    inputs = event.get("inputs")
    note = Note(
        at=float(event["at"]),
        verb=str(event.get("verb", "")),
        reason=str(event.get("reason", "")),
        sentence=str(event.get("sentence", "")),
        inputs=inputs if isinstance(inputs, dict) else {},
    )
    _job(story, event).notes.append(note)


def _on_sprint_started(story: RunStory, event: Mapping[str, Any]) -> None:
    span = SprintSpan(grant=str(event.get("grant", "")), start=float(event["at"]))
    _job(story, event).sprints.append(span)


def _on_sprint_ended(story: RunStory, event: Mapping[str, Any]) -> None:
    job, grant = _job(story, event), str(event.get("grant", ""))
    open_spans = [span for span in job.sprints if span.end is None and span.grant == grant]
    if not open_spans:  # its beginning was never written: what it lasted tells when it began
        start = float(event["at"]) - (number(event.get("seconds")) or 0.0)
        open_spans = [SprintSpan(grant=grant, start=max(0.0, start))]
        job.sprints += open_spans
    span = open_spans[-1]
    seconds = number(event.get("seconds"))
    span.end = float(event["at"]) if seconds is None else span.start + seconds
    span.core_seconds = number(event.get("core_seconds"))
    span.reason = str(event.get("reason", ""))


def _on_finished(story: RunStory, event: Mapping[str, Any]) -> None:
    job = _job(story, event)
    job.end = float(event["at"])
    code = event.get("exit")
    job.exit = code if isinstance(code, int) else None
    job.response = number(event.get("response_seconds"))
    job.cpu = number(event.get("cpu_seconds"))


def _on_budget(story: RunStory, event: Mapping[str, Any]) -> None:
    level, reserved, debt = (
        number(event.get(f"{what}_core_seconds")) or 0.0 for what in ("level", "reserved", "debt")
    )
    story.budget.append((float(event["at"]), level, reserved, debt))


def _on_trigger(story: RunStory, event: Mapping[str, Any]) -> None:
    story.triggers.append(event)


def _on_warning(story: RunStory, event: Mapping[str, Any]) -> None:
    story.warnings.append((float(event["at"]), str(event.get("text", ""))))


def _on_ended(story: RunStory, event: Mapping[str, Any]) -> None:
    story.status = str(event.get("status", ""))


_TELLERS = {
    "run": _on_run,
    "arrived": _on_arrived,
    "started": _on_started,
    "decision": _on_decision,
    "sprint_started": _on_sprint_started,
    "sprint_ended": _on_sprint_ended,
    "finished": _on_finished,
    "budget": _on_budget,
    "trigger": _on_trigger,
    "warning": _on_warning,
    "ended": _on_ended,
}


def _complete(story: RunStory, record: JobRecord) -> None:
    """Take over what the job's row knows: it is written once the job is over, and holds exact instants."""
    job = story.jobs.setdefault(record.name, JobStory(name=record.name))
    job.kind = record.kind
    job.arrival, job.start, job.end = record.arrival, record.start, record.end
    job.exit, job.response, job.sprint = record.exit, record.response, record.sprint
    job.cpu = job.cpu if record.cpu is None else record.cpu
    if record.predicted_response is not None:
        job.predicted = record.predicted_response
    story.last = max(story.last, record.end or 0.0)


def _close_sprints(story: RunStory, at: float) -> None:
    """End what still sprints, at the latest at `at`; add up what a job without a row sprinted."""
    for job in story.jobs.values():
        for span in job.sprints:
            if span.end is None:
                span.end = max(span.start, at if job.end is None else min(at, job.end))
        job.sprint = job.sprint or math.fsum((span.end or span.start) - span.start for span in job.sprints)
