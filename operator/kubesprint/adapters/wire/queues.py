"""JobQueue: the jobs of one machine, when they arrive, and how many run at once."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from kubesprint.adapters.wire.base import (
    Document,
    Duration,
    DurationOrZero,
    Labels,
    Metadata,
    Name,
    Version,
    Wire,
)
from kubesprint.adapters.wire.problems import validate
from kubesprint.adapters.wire.quantities import quote
from kubesprint.core.spec import Invalid, JobSpec, Problem, QueueSpec
from kubesprint.core.units import Seconds

MOST_JOBS = 10_000  # of one queue, copies counted

Place = Callable[[JobSpec], JobSpec]
"""Ties a job to the machine (folder, command); raises `Invalid` with paths relative to the job."""


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError(f"{quote(text)} holds a NUL character, which no argument can carry")
    return text


def _variable(text: str) -> str:
    if not text or "=" in text:
        raise ValueError(f"{quote(text)} is not the name of an environment variable")
    return _no_nul(text)


Argument = Annotated[str, AfterValidator(_no_nul)]
Variable = Annotated[str, AfterValidator(_variable)]


class Job(Wire):
    """One job, or `count` copies of it."""

    name: Annotated[Name, Field(examples=["small"])]
    kind: Annotated[Name, Field(examples=["forest"])]
    command: Annotated[list[Argument], Field(min_length=1, examples=["[python3, train.py]"])]
    arrival: DurationOrZero = Seconds(0.0)
    deadline: Duration | None = None
    env: dict[Variable, Argument] = Field(default_factory=dict)
    workdir: Annotated[Argument, Field(min_length=1)] | None = None
    labels: Labels = Field(default_factory=dict)
    count: Annotated[int, Field(ge=1, le=MOST_JOBS)] | None = None
    every: DurationOrZero | None = None


class JobQueue(Wire):
    """The whole document; it exists as a file only."""

    api_version: Version
    kind: Literal["JobQueue"]
    metadata: Metadata = Metadata()
    slots: Annotated[int, Field(ge=1, le=1024, examples=["1"])]
    jobs: Annotated[list[Job], Field(examples=["[{name: a, kind: forest, command: [python3, train.py]}]"])]


def parse_queue(document: Document, place: Place = lambda job: job) -> tuple[QueueSpec, list[Problem]]:
    """The queue, copies expanded and in the order of arrival, and warnings.

    Raises:
        Invalid: every problem that was found.
    """
    wire = validate(JobQueue, "JobQueue", document)
    if problems := [*_size_problems(wire.jobs), *_every_problems(wire.jobs)]:
        raise Invalid(problems)
    placed, problems = _placed(wire.jobs, place)
    problems += _duplicates(wire.jobs)
    if problems:
        raise Invalid(problems)
    jobs = [copy for job, spec in zip(wire.jobs, placed, strict=True) for copy in _copies(job, spec)]
    jobs.sort(key=lambda job: job.arrival)
    return QueueSpec(slots=wire.slots, jobs=tuple(jobs)), _order_warnings(wire.jobs)


def _size_problems(jobs: list[Job]) -> list[Problem]:
    if not jobs:
        return [Problem(("jobs",), "empty; write at least one job")]
    total = sum(job.count or 1 for job in jobs)
    if total > MOST_JOBS:
        return [Problem(("jobs",), f"{total} jobs, copies counted; at most {MOST_JOBS}")]
    return []


def _every_problems(jobs: list[Job]) -> list[Problem]:
    message = "needs count: it is the time between the arrivals of two copies"
    alone = (index for index, job in enumerate(jobs) if job.every is not None and job.count is None)
    return [Problem(("jobs", index, "every"), message) for index in alone]


def _placed(jobs: list[Job], place: Place) -> tuple[list[JobSpec], list[Problem]]:
    specs: list[JobSpec] = []
    problems: list[Problem] = []
    for index, job in enumerate(jobs):
        try:
            specs.append(place(_spec(job)))
        except Invalid as error:
            problems += [problem.under("jobs", index) for problem in error.problems]
    return specs, problems


def _spec(job: Job) -> JobSpec:
    return JobSpec(
        name=job.name,
        kind=job.kind,
        command=tuple(job.command),
        arrival=job.arrival,
        deadline=job.deadline,
        env=dict(job.env),
        workdir="." if job.workdir is None else job.workdir,
        labels=dict(job.labels),
    )


def _names(job: Job) -> list[str]:
    return [job.name] if job.count is None else [f"{job.name}-{i}" for i in range(job.count)]


def _copies(job: Job, spec: JobSpec) -> list[JobSpec]:
    every = job.every or 0.0
    return [
        replace(spec, name=name, arrival=Seconds(round(job.arrival + i * every, 9)))
        for i, name in enumerate(_names(job))
    ]


def _duplicates(jobs: list[Job]) -> list[Problem]:
    owners: dict[str, int] = {}
    problems = []
    for index, job in enumerate(jobs):
        clash = next((name for name in _names(job) if name in owners), None)
        if clash is not None:
            copy = "" if clash == job.name else f" (a copy of {quote(job.name)})"
            message = f"{quote(clash)}{copy} is also the name of jobs[{owners[clash]}]; names must differ"
            problems.append(Problem(("jobs", index, "name"), message))
        for name in _names(job):
            owners.setdefault(name, index)
    return problems


def _order_warnings(jobs: list[Job]) -> list[Problem]:
    for index in range(1, len(jobs)):
        if jobs[index].arrival < jobs[index - 1].arrival:
            message = (
                f"{quote(jobs[index].name)} arrives before the job above it; jobs were sorted by arrival"
            )
            return [Problem(("jobs", index, "arrival"), message)]
    return []
