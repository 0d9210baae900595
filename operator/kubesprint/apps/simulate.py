"""`kubesprint simulate`: what a queue would have done under a sprint policy, and which time-out is best."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from kubesprint.adapters.files.charts import line_chart_page
from kubesprint.adapters.files.traces import read_trace
from kubesprint.adapters.wire.quantities import parse_duration
from kubesprint.apps.simulators import fastest_simulators
from kubesprint.core.batch import Evaluator, one_by_one
from kubesprint.core.budget import RefillRule
from kubesprint.core.errors import Refused
from kubesprint.core.events import simulate_servers
from kubesprint.core.queueing import Summary, simulate_one_server, summarise
from kubesprint.core.search import SearchResult, search_timeout
from kubesprint.core.simulation import Outcome, Present, SimJob, SprintRules, TriggerClock
from kubesprint.core.spec import Statistic
from kubesprint.core.units import FOREVER, Seconds

MANY_JOBS = 500
"""From this many jobs on, a search is worth loading the compiled simulator for."""

_Choice = TypeVar("_Choice", bound=StrEnum)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def simulate(
    trace: Annotated[
        str, typer.Option(metavar="T.csv", help="Jobs: columns arrival_seconds, work_seconds (base speed).")
    ] = "",
    servers: Annotated[str, typer.Option(metavar="K", help="Jobs that run at once.")] = "1",
    timeout: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="Sprint a job this long after its clock starts; inf = never. "
            "With --search: one more candidate.",
        ),
    ] = "",
    capacity: Annotated[
        str, typer.Option(metavar="TIME", help="What the bucket holds, in sprint seconds; inf = no limit.")
    ] = "",
    refill: Annotated[str, typer.Option(metavar="R", help="Refill, in sprint seconds per second.")] = "0",
    sprint_rate: Annotated[
        str, typer.Option(metavar="M", help="Speed of a sprinting job over its base speed, 1 or more.")
    ] = "",
    clock: Annotated[
        str, typer.Option(metavar="arrival|start", help="When the time-out of a job starts to count.")
    ] = "arrival",
    hysteresis: Annotated[
        str, typer.Option(metavar="TIME", help="What the bucket must hold to start a sprint, above 0.")
    ] = "0.2",
    no_restart: Annotated[bool, typer.Option("--no-restart", help="At most one sprint a job.")] = False,
    toggle: Annotated[
        str, typer.Option(metavar="TIME", help="Cost of starting a sprint: it drains, without progress.")
    ] = "0",
    refill_rule: Annotated[
        str, typer.Option(metavar="paused|continuous", help="Whether the bucket refills during a sprint.")
    ] = "paused",
    search: Annotated[bool, typer.Option("--search", help="Find the best time-out, and the curve.")] = False,
    objective: Annotated[
        str, typer.Option(metavar="mean|p50|p95|p99", help="What --search minimises.")
    ] = "mean",
    plot: Annotated[str, typer.Option(metavar="FILE.html", help="Draw the curve of --search.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Simulate a queue of jobs under a sprint policy.

    Example:

    \b
    kubesprint simulate --trace jobs.csv --servers 2 --timeout 1m30s \\
        --capacity 60 --refill 0.1 --sprint-rate 2.5 --clock arrival --json

    Which time-out is best, with a picture of the whole curve:

    \b
    kubesprint simulate --trace jobs.csv --capacity 60 --refill 0.1 \\
        --sprint-rate 2.5 --search --plot curve.html

    Times are seconds, or carry units (90s, 1m30s, 200ms).

    Jobs are served first come, first served, by K servers that share
    one bucket of sprint seconds, full at the start. The threshold is
    the smaller of hysteresis and capacity. A sprint starts at the first
    instant at or after the job's trigger (the time-out after its
    arrival or start) at which the bucket holds the threshold. It runs
    until the job ends or the bucket is empty, and may start again
    likewise, unless --no-restart.

    n sprinting jobs drain n per second. Under the rule "paused" nothing
    refills while any job sprints; under "continuous" they drain
    n - refill. When the bucket is empty all sprints end; at the
    threshold all waiting jobs start, the oldest first. A job that
    triggers while others sprint joins if the bucket holds the threshold.

    A toggle takes its time at each start of a sprint: the job drains
    the bucket like any sprinting job and makes no progress. A capacity
    of 0 never sprints.

    Exit code: 0, or 2 if an option or a line of the trace is refused.
    """
    try:
        options = _Options(
            servers=_count("--servers", servers),
            rules=SprintRules(
                timeout=_timeout(timeout, search=search),
                clock=_choice("--clock", clock, TriggerClock),
                capacity=_capacity(capacity, timeout),
                refill=_at_least("--refill", refill, 0.0, "sprint seconds per second"),
                refill_rule=_choice("--refill-rule", refill_rule, RefillRule),
                hysteresis=_above_zero("--hysteresis", hysteresis),
                restart=not no_restart,
                toggle=_duration("--toggle", toggle),
            ),
            rate=_rate(sprint_rate, timeout),
            objective=_choice("--objective", objective, Statistic),
            search=search,
            plot=_plot(plot, search=search),
        )
        answer = _answer(_jobs(trace, options.rate), options)
    except Refused as refused:
        typer.echo(f"error: {refused}", err=True)
        raise typer.Exit(2) from refused
    typer.echo(json.dumps(answer.as_json()) if as_json else answer.as_text())


def simulate_queue(
    jobs: Sequence[SimJob], rules: SprintRules, servers: int, present: Present
) -> Sequence[Outcome]:
    """The recursion for one server, events for more."""
    if servers == 1:
        return simulate_one_server(jobs, rules, present)
    return simulate_servers(jobs, rules, servers, present)


def _evaluator(jobs: int) -> Evaluator:
    """The compiled one, where that is worth loading."""
    return fastest_simulators().planner if jobs >= MANY_JOBS else one_by_one(simulate_queue)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    servers: int
    rules: SprintRules
    rate: float
    objective: Statistic
    search: bool
    plot: Path | None


@dataclass(frozen=True, slots=True)
class _Answer:
    """What is printed; with `found` the summary is that of the best time-out."""

    summary: Summary
    objective: Statistic
    found: SearchResult | None

    def as_json(self) -> dict[str, object]:
        answer: dict[str, object] = {
            "mean_response_seconds": self.summary.mean,
            "p50_response_seconds": self.summary.p50,
            "p95_response_seconds": self.summary.p95,
            "p99_response_seconds": self.summary.p99,
            "sprint_seconds": self.summary.sprint,
            "jobs": self.summary.jobs,
        }
        if self.found is not None:
            answer["timeout_seconds"] = _plain(self.found.timeout)
            answer["curve"] = [
                {
                    "timeout_seconds": _plain(point.timeout),
                    f"{self.objective.lower()}_response_seconds": point.value,
                    "sprint_seconds": point.sprint,
                }
                for point in self.found.curve
            ]
        return answer

    def as_text(self) -> str:
        s = self.summary
        rows = [("jobs", f"{s.jobs}")]
        rows += [(f"{name} response", f"{value:.3f} s") for name, value in (("mean", s.mean), ("p50", s.p50))]
        rows += [(f"{name} response", f"{value:.3f} s") for name, value in (("p95", s.p95), ("p99", s.p99))]
        rows.append(("sprint seconds", f"{s.sprint:.3f}"))
        lines = [f"{name:16}{value:>14}" for name, value in rows]
        if self.found is not None:
            lines.insert(0, f"{'best time-out':16}{_spoken(self.found.timeout):>14}")
            lines += ["", f"{'time-out':>14}{self.objective.lower() + ' response':>18}{'sprint seconds':>18}"]
            lines += [
                f"{_spoken(p.timeout):>14}{p.value:>16.3f} s{p.sprint:>18.3f}"
                + ("  best" if p.timeout == self.found.timeout else "")
                for p in self.found.curve
            ]
        return "\n".join(lines)


def _answer(jobs: Sequence[SimJob], options: _Options) -> _Answer:
    rules, found, present = options.rules, None, Present()
    if options.search:
        found = search_timeout(
            [jobs],
            rules,
            options.servers,
            _evaluator(len(jobs)),
            statistic=options.objective,
            also=[rules.timeout],
            per_doubling=4,
            rounds=4,
        )
        rules = replace(rules, timeout=found.timeout)
        if options.plot is not None:
            _draw(options.plot, found, options.objective)
    summary = summarise(jobs, simulate_queue(jobs, rules, options.servers, present))
    return _Answer(summary, options.objective, found)


def _draw(file: Path, found: SearchResult, objective: Statistic) -> None:
    name = objective.value if objective is Statistic.MEAN else objective.lower()
    page = line_chart_page(
        f"{name} response by time-out; best: {_spoken(found.timeout)}",
        "time-out, s",
        f"{name} response, s",
        [(point.timeout, point.value) for point in found.curve],
        [point.timeout for point in found.curve].index(found.timeout),
    )
    try:
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        raise Refused(f"--plot: {file} cannot be written: {error.strerror}") from error


def _jobs(trace: str, rate: float) -> list[SimJob]:
    """The jobs of a trace, on a clock that starts with the first arrival (the bucket is full by then)."""
    if not trace:
        raise Refused("--trace: is missing; give a CSV file with arrival_seconds,work_seconds")
    read = read_trace(Path(trace))
    if read.sorted_here:
        typer.echo(f"warning: {trace}: rows are not in the order of arrival_seconds; sorted", err=True)
    first = read.jobs[0].arrival
    return [SimJob(arrival=Seconds(job.arrival - first), work=job.work, rate=rate) for job in read.jobs]


def _plain(value: float) -> float | str:
    """A number that JSON knows; infinity as the word that --timeout takes."""
    return "inf" if value == math.inf else value


def _spoken(timeout: float) -> str:
    return "never" if timeout == math.inf else f"{timeout:.3f} s"


def _number(option: str, text: str, allowed: str) -> float:
    if _NUMBER.fullmatch(text.strip()) is None:
        raise Refused(f"{option}: {text!r} is not a number; write {allowed}")
    return float(text)


def _at_least(option: str, text: str, least: float, unit: str) -> float:
    allowed = f"{unit}, {least:g} or more"
    value = _number(option, text, allowed)
    if not (math.isfinite(value) and value >= least):
        raise Refused(f"{option}: {text} is not allowed; write {allowed}")
    return value


def _duration(option: str, text: str, *, infinite: bool = False) -> Seconds:
    """Plain seconds, or a duration with units, 0 or more."""
    if infinite and text.strip().lower() == "inf":
        return FOREVER
    if _NUMBER.fullmatch(text.strip()):
        value = float(text)
        if not (math.isfinite(value) and value >= 0):
            raise Refused(f"{option}: {text} is not allowed; write a time, 0 or more")
        return Seconds(value)
    try:
        return parse_duration(text)
    except ValueError as error:
        other = ", or plain seconds" + (", or inf" if infinite else "")
        raise Refused(f"{option}: {error}{other}") from error


def _timeout(text: str, *, search: bool) -> Seconds:
    if not (text or search):
        raise Refused("--timeout: is missing; give a time, inf for never, or --search")
    return _duration("--timeout", text or "inf", infinite=True)


def _capacity(text: str, timeout: str) -> Seconds:
    if not text and timeout.strip().lower() != "inf":
        raise Refused("--capacity: is missing; give the sprint seconds that the bucket holds")
    return _duration("--capacity", text or "0", infinite=True)


def _rate(text: str, timeout: str) -> float:
    if not text and timeout.strip().lower() != "inf":
        raise Refused("--sprint-rate: is missing; give the speed of a sprinting job over base, 1 or more")
    return _at_least("--sprint-rate", text or "1", 1.0, "the speed of a sprinting job over base")


def _above_zero(option: str, text: str) -> Seconds:
    value = _duration(option, text)
    if value <= 0:
        raise Refused(f"{option}: {text} is not allowed; write a time above 0")
    return value


def _count(option: str, text: str) -> int:
    if re.fullmatch(r"0*[1-9][0-9]{0,5}", text) is None:
        raise Refused(f"{option}: {text!r} is not allowed; write a whole number from 1 to 999999")
    return int(text)


def _choice(option: str, text: str, kind: type[_Choice]) -> _Choice:
    for member in kind:
        if member.value.lower() == text.lower():
            return member
    raise Refused(f"{option}: {text!r} is not known; write {' or '.join(m.value.lower() for m in kind)}")


def _plot(text: str, *, search: bool) -> Path | None:
    if text and not search:
        raise Refused("--plot: draws the curve of --search; add --search")
    return Path(text) if text else None
