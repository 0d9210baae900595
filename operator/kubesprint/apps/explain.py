"""`kubesprint explain`: the story of one job, from what its run wrote down."""

import difflib
import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from kubesprint.adapters.files.results import finite
from kubesprint.adapters.files.story import JobStory, Note, RunStory, SprintSpan, read_story
from kubesprint.core.errors import Refused, SprintError


def explain(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that kubesprint run wrote.")],
    job: Annotated[
        str, typer.Argument(metavar="JOB", help="The name of a job in it.", show_default=False)
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")] = False,
) -> None:
    """Tell the story of one job: its prediction, every decision and why, its sprints and what they cost.

    The run may still go on, or have been killed. Without JOB the jobs are named. Example:

    \b
      kubesprint explain out/demo/model-driven forest-3

    Exit codes: 0 told, 2 no such run or job.
    """
    try:
        story = read_story(folder)
        told = _find(story, folder, job)
    except SprintError as error:
        typer.echo(f"kubesprint: {error}", err=True)
        raise typer.Exit(2) from error
    if as_json:
        typer.echo(json.dumps(job_document(story, told), ensure_ascii=False, allow_nan=False, indent=2))
    else:
        typer.echo("\n".join(_plain(line) for line in job_lines(story, told)))


def _find(story: RunStory, folder: Path, name: str) -> JobStory:
    if name in story.jobs:
        return story.jobs[name]
    names = list(story.jobs)
    if not name and names:
        raise Refused(f"JOB: name one of the {len(names)} jobs in {folder}: {', '.join(names)}")
    near = difflib.get_close_matches(name, names, n=5, cutoff=0.5)
    contained = [other for other in names if name.lower() in other.lower() and other not in near]
    hints = (near + contained)[:5] or names[:5]
    more = f"; did you mean {', '.join(hints)}?" if near or contained else f"; it has {', '.join(hints)}"
    raise Refused(f"JOB {name!r}: no such job in {folder}{more if hints else '; no job has arrived'}")


def job_document(story: RunStory, job: JobStory) -> dict[str, Any]:
    """What `--json` prints: stable keys, instants in seconds from the start of the run."""
    document = {
        "schema": 1,
        "run": story.name,
        "setting": story.setting,
        "job": job.name,
        "kind": job.kind,
        "slot": job.slot,
        "arrival_seconds": job.arrival,
        "start_seconds": job.start,
        "end_seconds": job.end,
        "deadline_seconds": job.deadline,
        "exit": job.exit,
        "response_seconds": job.response,
        "predicted_response_seconds": job.predicted,
        "advised_response_seconds": job.advised,
        "interval": None if job.interval is None else list(job.interval),
        "relative_error": _error(job),
        "cpu_seconds": job.cpu,
        "sprint_seconds": job.sprint,
        "sprints": [_span(span) for span in job.sprints],
        "decisions": [asdict(note) for note in job.notes],
    }
    return {key: finite(value) for key, value in document.items()}


def _span(span: SprintSpan) -> dict[str, Any]:
    return {
        "grant": span.grant,
        "start_seconds": span.start,
        "end_seconds": span.end,
        "core_seconds": span.core_seconds,
        "reason": span.reason,
    }


def job_lines(story: RunStory, job: JobStory) -> list[str]:
    """The story as lines of text, in the order in which it happened."""
    events = [*_milestones(job), *_decisions(job.notes), *_sprints(job)]
    lines = [f"{job.name} ({job.kind or 'kind unknown'}) in run {story.name}, {story.setting}", ""]
    # an event and the row of its job give one instant with different precision
    for at, _, texts in sorted(events, key=lambda event: (round(event[0], 3), event[1])):
        lines.append(f"{at:10.2f} s  {texts[0]}")
        lines += [f"{'':14}{text}" for text in texts[1:]]
    return [*lines, "", *_outcome(job)]


# An event: its instant, its rank among those of the same instant, its lines.
_Event = tuple[float, int, list[str]]


def _milestones(job: JobStory) -> Iterable[_Event]:
    if job.arrival is not None:
        deadline = "" if job.deadline is None else f"; its deadline is at {job.deadline:.2f} s"
        yield job.arrival, 0, [f"arrived{deadline}"]
    if job.start is not None:
        waited = "" if job.arrival is None else f" after waiting {job.start - job.arrival:.2f} s"
        where = "" if job.slot is None else f" in {job.slot}"
        yield job.start, 1, [f"started{where}{waited}"]
    if job.end is not None:
        how = "finished" if job.exit == 0 else f"failed with exit {job.exit}"
        how = "ended, its outcome is unknown" if job.unknown else how
        late = f", {job.end - job.deadline:.2f} s late" if job.missed and job.deadline is not None else ""
        yield job.end, 5, [f"{how}{late}"]


def _decisions(notes: Iterable[Note]) -> Iterable[_Event]:
    for note in notes:
        inputs = ", ".join(f"{name} {_value(value)}" for name, value in note.inputs.items())
        lines = [f"{note.verb} ({note.reason}): {note.sentence}"]
        yield note.at, 2, [*lines, f"from {inputs}"] if inputs else lines


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "unknown" if value is None else str(value)


def _sprints(job: JobStory) -> Iterable[_Event]:
    for span in job.sprints:
        yield span.start, 3, [f"sprint {span.grant} started"]
        if span.end is not None and span.reason:
            cost = "" if span.core_seconds is None else f" for {span.core_seconds:.3g} core-seconds"
            yield (
                span.end,
                4,
                [f"sprint {span.grant} ended after {span.end - span.start:.2f} s{cost} ({span.reason})"],
            )


def _outcome(job: JobStory) -> Iterable[str]:
    """Measured beside predicted, and what was spent."""
    measured = "not yet" if job.response is None else f"{job.response:.2f} s"
    yield f"response   measured {measured}, predicted {_predicted(job)}"
    if job.advised is not None:
        yield f"advised    {job.advised:.2f} s, had the sprints of Recommend been made"
    cost = math.fsum(span.core_seconds or 0.0 for span in job.sprints)
    sprints = f"{len(job.sprints)} sprint{'' if len(job.sprints) == 1 else 's'}"
    yield f"sprinted   {job.sprint:.2f} s in {sprints}, {cost:.3g} extra core-seconds"
    if job.cpu is not None:
        yield f"CPU        {job.cpu:.2f} s"


def _predicted(job: JobStory) -> str:
    if job.predicted is None:
        return "none was made"
    error, remarks = _error(job), []
    if error is not None:
        remarks.append(f"{100 * error:+.0f} % off")
    if job.interval is not None:
        remarks.append(f"interval {job.interval[0]:.2f} to {job.interval[1]:.2f} s")
    return f"{job.predicted:.2f} s" + (f" ({', '.join(remarks)})" if remarks else "")


def _error(job: JobStory) -> float | None:
    """(predicted - measured) / measured."""
    if job.predicted is None or not job.response or not math.isfinite(job.predicted):
        return None
    return (job.predicted - job.response) / job.response


def _plain(text: str) -> str:
    """The text without control characters: a job's name must not steer the terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
