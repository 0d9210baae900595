"""WorkloadProfile: what is known of one kind of job. It is the one document that is also written."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from kubesprint.adapters.wire.base import (
    API_VERSION,
    Clock,
    Cpu,
    Document,
    Duration,
    DurationOrZero,
    Fraction,
    Machine,
    Metadata,
    Name,
    Number,
    Version,
    Wire,
)
from kubesprint.adapters.wire.problems import validate
from kubesprint.adapters.wire.quantities import format_cpu, format_duration, format_number, quote
from kubesprint.core.spec import Invalid, Problem, ProfileFit, ProfilePoint, ProfileSpec
from kubesprint.core.units import Cores


class Point(Wire):
    """Runs of the kind, alone, at one allocation."""

    cpu: Annotated[Cpu, Field(examples=["400m"])]
    clock: Clock = "Base"
    runs: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    wall: Annotated[Duration, Field(examples=["301s"])]
    cpu_time: Annotated[DurationOrZero, Field(examples=["120s"])]


class ProfileBody(Wire):
    """The measured part, by the profiler or by hand."""

    workload: Annotated[Name, Field(examples=["forest"])]
    points: Annotated[list[Point], Field(max_length=256)] = Field(default_factory=list)


class Work(Machine):
    """How much there is to do."""

    cpu_time: DurationOrZero | None = None
    dispersion: Number | None = None


class Speed(Machine):
    """How the work responds to cores and clock."""

    serial_share: Fraction | None = None
    work_inflation: Number | None = None
    compute_share: Fraction | None = None
    standard_errors: dict[str, Number] = Field(default_factory=dict)


class ModelCard(Machine):
    """Which model it was fitted with."""

    version: Annotated[int, Field(ge=1)] | None = Field(default=None, alias="schema")
    sha256: Annotated[str, Field(max_length=64)] | None = None
    basis: Annotated[str, Field(max_length=32)] | None = None
    error: Number | None = None


def _read_range(value: object) -> object:
    if isinstance(value, list) and len(value) == 2:
        return value
    raise ValueError(f'{quote(value)} is not a range; write [lowest, highest], for example [400m, "1"]')


class ValidRange(Machine):
    """Where the fit may be believed."""

    cpu: (
        Annotated[
            list[Cpu],
            BeforeValidator(_read_range),
            WithJsonSchema(
                {"type": "array", "minItems": 2, "maxItems": 2, "items": {"x-kubernetes-int-or-string": True}}
            ),
        ]
        | None
    ) = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.cpu is not None and self.cpu[0] > self.cpu[1]:
            raise ValueError("cpu: the first must not be above the second")
        return self


class ProfileStatus(Machine):
    """The fitted part, by programs only."""

    samples: Annotated[int, Field(ge=0)] | None = None
    work: Work = Work()
    speed: Speed = Speed()
    model: ModelCard = ModelCard()
    valid_range: ValidRange = ValidRange()


class WorkloadProfile(Wire):
    """The whole document."""

    api_version: Version
    kind: Literal["WorkloadProfile"]
    metadata: Metadata = Metadata()
    spec: Annotated[ProfileBody, Field(examples=["{workload: forest}"])]
    status: ProfileStatus | None = None


def parse_profile(document: Document) -> tuple[ProfileSpec, list[Problem]]:
    """The profile; there are no warnings yet.

    Raises:
        Invalid: every problem that was found.
    """
    wire = validate(WorkloadProfile, "WorkloadProfile", document)
    if problems := _repeated_points(wire.spec.points):
        raise Invalid(problems)
    points = tuple(
        ProfilePoint(cores=p.cpu, clock=p.clock, runs=p.runs, wall=p.wall, cpu_time=p.cpu_time)
        for p in wire.spec.points
    )
    fit = None if wire.status is None else _fit(wire.status)
    return ProfileSpec(workload=wire.spec.workload, points=points, fit=fit), []


def profile_document(profile: ProfileSpec) -> dict[str, object]:
    """The document of a profile, ready to be written; it reads back as the same profile.

    CPU is kept to a billionth of a core and durations to a nanosecond.
    """
    points = [
        {
            "cpu": format_cpu(p.cores),
            "clock": p.clock,
            "runs": p.runs,
            "wall": format_duration(p.wall),
            "cpuTime": format_duration(p.cpu_time),
        }
        for p in profile.points
    ]
    document: dict[str, object] = {
        "apiVersion": API_VERSION,
        "kind": "WorkloadProfile",
        "metadata": {"name": profile.workload},
        "spec": {"workload": profile.workload, "points": points},
    }
    if profile.fit is not None:
        document["status"] = _status(profile.fit)
    validate(WorkloadProfile, "WorkloadProfile", document)
    return document


def _repeated_points(points: list[Point]) -> list[Problem]:
    seen: set[tuple[Cores, str]] = set()
    problems = []
    for index, point in enumerate(points):
        if (point.cpu, point.clock) in seen:
            message = f"a second point at cpu {format_cpu(point.cpu)} and clock {point.clock}; merge them"
            problems.append(Problem(("spec", "points", index), message))
        seen.add((point.cpu, point.clock))
    return problems


def _fit(status: ProfileStatus) -> ProfileFit:
    cpu = status.valid_range.cpu
    return ProfileFit(
        samples=status.samples,
        cpu_time=status.work.cpu_time,
        dispersion=status.work.dispersion,
        serial_share=status.speed.serial_share,
        work_inflation=status.speed.work_inflation,
        compute_share=status.speed.compute_share,
        standard_errors=dict(status.speed.standard_errors),
        basis=status.model.basis,
        schema=status.model.version,
        sha256=status.model.sha256,
        error=status.model.error,
        valid_cores=None if cpu is None else (cpu[0], cpu[1]),
    )


def _status(fit: ProfileFit) -> dict[str, object]:
    def number(value: float | None) -> str | None:
        return None if value is None else format_number(value)

    errors = {name: format_number(value) for name, value in fit.standard_errors.items()}
    parts: dict[str, Mapping[str, object]] = {
        "work": {
            "cpuTime": None if fit.cpu_time is None else format_duration(fit.cpu_time),
            "dispersion": number(fit.dispersion),
        },
        "speed": {
            "serialShare": number(fit.serial_share),
            "workInflation": number(fit.work_inflation),
            "computeShare": number(fit.compute_share),
            "standardErrors": errors or None,
        },
        "model": {
            "schema": fit.schema,
            "sha256": fit.sha256,
            "basis": fit.basis,
            "error": number(fit.error),
        },
        "validRange": {"cpu": fit.valid_cores and [format_cpu(cores) for cores in fit.valid_cores]},
    }
    known = {name: {k: v for k, v in part.items() if v is not None} for name, part in parts.items()}
    samples = {} if fit.samples is None else {"samples": fit.samples}
    return {**samples, **{name: part for name, part in known.items() if part}}
