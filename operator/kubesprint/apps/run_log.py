"""What a run leaves behind: turns and job endings become `events.jsonl` and `jobs.csv`."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from kubesprint.adapters.files.results import EventLog, JobTable
from kubesprint.core.budget import Bucket
from kubesprint.core.decision import Decision
from kubesprint.core.errors import Unavailable
from kubesprint.core.records import JobRecord
from kubesprint.core.units import CoreSeconds, Seconds
from kubesprint.core.workload import JobView
from kubesprint.engine.roster import Ending
from kubesprint.engine.turn import SprintSpan, Turn

BUDGET_EVERY = Seconds(1.0)
CURVE_EVERY = Seconds(2.0)


@dataclass(slots=True)
class _Sprints:
    """What one job has sprinted so far."""

    first: float | None = None
    wall: float = 0.0
    cpu: float = 0.0


class RunLog:
    """The engine's recorder. Instants in the files count from the start of the run."""

    def __init__(
        self,
        events: EventLog,
        table: JobTable,
        *,
        run: str,
        setting: str,
        origin: Seconds,
        arrived: Collection[str] = (),
    ) -> None:
        """Write to a run folder; `arrived` names the jobs that an earlier part has told of."""
        self._arrived = set(arrived)
        self.records: list[JobRecord] = []
        self.granted = CoreSeconds(0.0)
        self.warnings: list[str] = []
        self.incomplete: str | None = None  # why not everything is in the files
        self._events = events
        self._table = table
        self._run = run
        self._setting = setting
        self.origin = origin
        self._said: dict[str, Decision] = {}
        self._sprints: dict[str, _Sprints] = {}
        self._predicted: dict[str, Seconds] = {}
        self._advised: dict[str, Seconds] = {}
        self._budget_at = -BUDGET_EVERY
        self._level = -1.0
        self._after: Seconds | None = None
        self._curve_at = -CURVE_EVERY
        self._troubles: tuple[str, ...] = ()

    def write(self, at: Seconds, kind: str, /, **fields: object) -> None:
        """One event; `at` is on the engine's clock."""
        self._keep(lambda: self._events.append(at - self.origin, kind, **fields))

    def _keep(self, write: Callable[[], None]) -> None:
        """Jobs go on when the disk is full: the first failure is noted, and told when the run ends."""
        try:
            write()
        except Unavailable as error:
            if self.incomplete is None:
                self.incomplete = str(error)
                self.warnings.append(f"results are incomplete from here on: {error}")

    def warn(self, at: Seconds, text: str) -> None:
        """One warning, kept for the summary as well."""
        self.warnings.append(text)
        self.write(at, "warning", text=text)

    def record(self, turn: Turn) -> None:
        """Write what changed in this turn; a turn in which nothing changed leaves no line."""
        self._trigger(turn)
        for span in turn.started:
            self._sprints.setdefault(span.job, _Sprints()).first = (
                self._sprints.get(span.job, _Sprints()).first or span.start - self.origin
            )
            self.write(span.start, "sprint_started", job=span.job, grant=span.grant, slot=span.knob)
        for span in turn.ended:
            self._sprint_ended(span)
        for decision in turn.decisions:
            self._decision(turn.at, decision)
        if turn.view is not None:
            self._budget(turn.at, turn.view.bucket)
        if tuple(turn.troubles) != self._troubles:
            self._troubles = tuple(turn.troubles)
            for trouble in turn.troubles:
                self.warn(turn.at, trouble)

    def predicted(self, job: str, response: Seconds, advised: Seconds | None = None) -> None:
        """What was predicted when the job arrived; `advised`: if the advice of Recommend were followed."""
        self._predicted.setdefault(job, response)
        if advised is not None:
            self._advised.setdefault(job, advised)

    def predictions_of(self, job: str) -> Mapping[str, Seconds | None]:
        """The predictions made at the job's arrival, as events spell them."""
        predicted = {"predicted_response_seconds": self._predicted.get(job)}
        return predicted | ({"advised_response_seconds": self._advised[job]} if job in self._advised else {})

    def finished(self, view: JobView, ending: Ending) -> JobRecord:
        """A job is over and the cost of its sprints is known: one row."""
        sprints = self._sprints.get(view.name, _Sprints())
        never_ran = view.start is None
        row = JobRecord(
            run=self._run,
            setting=self._setting,
            kind=view.kind,
            arrival=Seconds(view.arrival - self.origin),
            start=None if view.start is None else Seconds(view.start - self.origin),
            end=None if never_ran else Seconds(ending.at - self.origin),
            cpu=None if view.cpu is None else CoreSeconds(view.cpu.value),
            sprint=Seconds(sprints.wall),
            sprint_start=None if sprints.first is None else Seconds(sprints.first),
            sprint_cpu=CoreSeconds(sprints.cpu),
            name=view.name,
            exit=ending.exit,
            predicted_response=self._predicted.get(view.name),
        )
        self._keep(lambda: self._table.append(row))
        self.records.append(row)
        return row

    def arrived(self, view: JobView) -> None:
        """A job is in the queue."""
        if view.name in self._arrived:
            return
        self._arrived.add(view.name)
        after = None if view.deadline is None else view.deadline - view.arrival
        self.write(view.arrival, "arrived", job=view.name, kind=view.kind, deadline_seconds=after)

    def ended(self, view: JobView, ending: Ending) -> None:
        """A job is over, told at once: if the run is killed now, it must not repeat this job."""
        self.write(
            ending.at,
            "finished",
            job=view.name,
            exit=ending.exit,
            response_seconds=None if view.start is None else ending.at - view.arrival,
            cpu_seconds=None if view.cpu is None else view.cpu.value,
        )

    def _sprint_ended(self, span: SprintSpan) -> None:
        assert span.end is not None
        sprints = self._sprints.setdefault(span.job, _Sprints())
        sprints.wall += span.end - span.start
        sprints.cpu += span.cpu
        self.granted = CoreSeconds(self.granted + span.cost)
        self.write(
            span.end,
            "sprint_ended",
            job=span.job,
            grant=span.grant,
            seconds=span.end - span.start,
            core_seconds=span.cost,
            reason=span.reason.value,
        )

    def _decision(self, at: Seconds, decision: Decision) -> None:
        """Transitions, not turns: a decision is written when its verb or its reason changes."""
        said = self._said.get(decision.job)
        if said is not None and (said.verb, said.reason) == (decision.verb, decision.reason):
            return
        self._said[decision.job] = decision
        self.write(
            at,
            "decision",
            job=decision.job,
            verb=decision.verb.value,
            reason=decision.reason.value,
            sentence=decision.sentence,
            inputs=dict(decision.inputs),
        )

    def _trigger(self, turn: Turn) -> None:
        if turn.trigger is None or turn.trigger.after == self._after:
            return
        self._after = turn.trigger.after
        curve = {}
        if turn.at - self._curve_at >= CURVE_EVERY:  # a curve is long, and changes little
            self._curve_at = turn.at
            curve = {"curve": [[_short(value) for value in point] for point in turn.trigger.curve]}
        self.write(
            turn.at,
            "trigger",
            after_seconds=turn.trigger.after,
            basis=turn.trigger.basis,
            sentence=turn.trigger.sentence,
            **curve,
        )

    def _budget(self, at: Seconds, bucket: Bucket) -> None:
        """Once a second while it moves."""
        if at - self._budget_at < BUDGET_EVERY or bucket.level == self._level:
            return
        self._budget_at, self._level = at, bucket.level
        self.write(at, "budget", **budget_fields(bucket))


def _short(value: float) -> float:
    """Four significant digits: nobody can see more in a plot."""
    return float(f"{value:.4g}")


def budget_fields(bucket: Bucket) -> Mapping[str, float]:
    """The budget as events and the summary spell it."""
    return {
        "level_core_seconds": bucket.level,
        "reserved_core_seconds": bucket.reserved_total,
        "debt_core_seconds": bucket.debt,
    }
