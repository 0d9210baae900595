"""What all documents share: strict models with camelCase keys, and the types of their fields.

The models are the one source of the file form and of the custom resources: a field's JSON schema says
what an API server can check, its reader says it in words.
"""

import difflib
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel

from kubesprint.adapters.wire import quantities
from kubesprint.adapters.wire.quantities import Multiple, quote
from kubesprint.core.units import Cores, Seconds

Version = Literal["kubesprint.dev/v1alpha1"]
API_VERSION: Final[Version] = "kubesprint.dev/v1alpha1"
WORKLOAD_LABEL: Final = "kubesprint.dev/workload"


class Wire(BaseModel):
    """A part of a document. Unknown keys are refused; values are never coerced from another type."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", strict=True, frozen=True, arbitrary_types_allowed=True
    )


class Machine(Wire):
    """A part that programs write: what a later version added is ignored."""

    model_config = ConfigDict(extra="ignore")


class Metadata(Machine):
    """What the documents use of Kubernetes' metadata; an object read from a cluster brings more."""

    name: Annotated[str, Field(max_length=253)] | None = None
    namespace: Annotated[str, Field(max_length=63)] | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


def nearest(word: str, known: list[str]) -> str:
    """What to tell who wrote `word` instead of one of `known`."""
    lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), lower, n=1, cutoff=0.6)
    choice = f"write one of {', '.join(known)}"
    return f"did you mean {lower[close[0]]}?" if close else choice


def one_of(kind: type[StrEnum]) -> BeforeValidator:
    """A reader for the exact words of an enumeration."""
    words = [str(word) for word in kind]

    def read(value: object) -> StrEnum:
        if isinstance(value, str) and value in words:
            return kind(value)
        hint = nearest(value, words) if isinstance(value, str) else f"write one of {', '.join(words)}"
        raise ValueError(f"{quote(value)} is not one of {', '.join(words)}{_unless_repeated(hint)}")

    return BeforeValidator(read)


def _unless_repeated(hint: str) -> str:
    return f"; {hint}" if hint.startswith("did") else ""


def above_zero(read: Callable[[object], float], example: str) -> Callable[[object], float]:
    """A reader that also refuses 0."""

    def checked(value: object) -> float:
        number = read(value)
        if number <= 0:
            raise ValueError(f"{quote(value)} is not above 0; write for example {example}")
        return number

    return checked


_NAME = re.compile(r"[A-Za-z0-9](?:[-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?")


def read_name(value: object) -> str:
    """A name that is safe as a file name and as the value of a label."""
    if not isinstance(value, str):
        raise ValueError(f'{quote(value)} is not a name; if it is meant as one, quote it: "{value}"')
    if _NAME.fullmatch(value) is None:
        raise ValueError(
            f"{quote(value)} is not a name; use 1 to 63 letters, digits, '-', '_' and '.', "
            "with a letter or digit at both ends"
        )
    return value


def read_fraction(value: object) -> float:
    """A number from 0 to 1."""
    number = quantities.parse_number(value)
    if number > 1:
        raise ValueError(f"{quote(value)} is not from 0 to 1")
    return number


def _int_or_string(pattern: str) -> WithJsonSchema:
    return WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": pattern,
            "maxLength": quantities.MAX_LENGTH,
        }
    )


def _string(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "maxLength": quantities.MAX_LENGTH})


_CPU = _int_or_string(quantities.CPU_PATTERN)
_DURATION = _string(quantities.DURATION_PATTERN)
_NUMBER = _int_or_string(quantities.NUMBER_PATTERN)

_write_cpu = PlainSerializer(quantities.format_cpu, return_type=str)
_write_duration = PlainSerializer(quantities.format_duration, return_type=str)
_write_number = PlainSerializer(quantities.format_number, return_type=str)

Cpu = Annotated[Cores, BeforeValidator(above_zero(quantities.parse_cpu, "400m")), _write_cpu, _CPU]
CpuOrZero = Annotated[Cores, BeforeValidator(quantities.parse_cpu), _write_cpu, _CPU]
CpuOrMultiple = Annotated[
    Cores | Multiple,
    BeforeValidator(quantities.parse_cpu_or_multiple),
    PlainSerializer(quantities.format_cpu_or_multiple, return_type=str),
    _int_or_string(quantities.CPU_OR_MULTIPLE_PATTERN),
]
Duration = Annotated[
    Seconds, BeforeValidator(above_zero(quantities.parse_duration, "200ms")), _write_duration, _DURATION
]
DurationOrZero = Annotated[Seconds, BeforeValidator(quantities.parse_duration), _write_duration, _DURATION]
Clock = Annotated[str, BeforeValidator(quantities.parse_clock), _string(quantities.CLOCK_PATTERN)]
Number = Annotated[float, BeforeValidator(quantities.parse_number), _write_number, _NUMBER]
Fraction = Annotated[float, BeforeValidator(read_fraction), _write_number, _NUMBER]
Name = Annotated[
    str,
    BeforeValidator(read_name),
    WithJsonSchema({"type": "string", "pattern": f"^{_NAME.pattern}$", "maxLength": 63}),
]
Labels = Annotated[dict[str, Annotated[str, Field(max_length=253)]], Field(max_length=64)]

Document = Mapping[str, Any]
"""A document as YAML or JSON gives it."""
