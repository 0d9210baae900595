"""Quantities as people write them, and back: CPU, multiples, durations, clocks, plain numbers.

CPU is a Kubernetes quantity ("400m", "1", 0.4), a duration is Go's ("1m30s", "200ms") without days.
Every reader raises ValueError with a sentence that quotes the value and shows what is accepted.
"""

import json
import math
import re
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from kubesprint.core.units import Cores, Seconds

NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
CPU_PATTERN = rf"^{NUMBER}[num]?$"
CPU_OR_MULTIPLE_PATTERN = rf"^{NUMBER}[numx]?$"
DURATION_PATTERN = rf"^(?:0|(?:{NUMBER}(?:ns|us|µs|ms|s|m|h))+)$"
CLOCK_PATTERN = r"^(?:Base|Turbo|(?:[1-9]|[1-9][0-9]|100)%|[1-9][0-9]{0,5}MHz)$"
NUMBER_PATTERN = rf"^{NUMBER}$"
MAX_LENGTH = 32  # characters; bounds the cost of checking a value in an API server

_CPU = re.compile(rf"(?P<number>{NUMBER})(?P<suffix>[num]?)")
_MULTIPLE = re.compile(rf"(?P<number>{NUMBER})x")
_DURATION = re.compile(DURATION_PATTERN)
_PART = re.compile(rf"(?P<number>{NUMBER})(?P<unit>ns|us|µs|ms|s|m|h)")
_CLOCK = re.compile(CLOCK_PATTERN)
_BARE = re.compile(rf"-?{NUMBER}")

_SCALES = {"n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1)}
_UNITS = {
    "ns": Decimal("1e-9"),
    "us": Decimal("1e-6"),
    "µs": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
}
_NANO = Decimal("1e-9")
_PICO = Decimal("1e-12")
_LONGEST = Decimal(2**63 - 1) * _NANO  # what Go's time.Duration can hold: 292 years
_MOST_CORES = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Multiple:
    """A CPU amount relative to the base: "2x" is twice the base."""

    factor: float


def quote(value: object) -> str:
    """A value as it reads in a document, shortened: strings in double quotes, the rest plain."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _as_text(value: object, what: str) -> str:
    """The text of a string or a finite number; a quantity may be given as either."""
    if isinstance(value, str):
        if len(value) > MAX_LENGTH:
            raise ValueError(f"{quote(value)} is longer than {MAX_LENGTH} characters")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{quote(value)} is not {what}")
    if not math.isfinite(value):
        raise ValueError(f"{value} is not {what}; it must be finite")
    return format(Decimal(repr(value)), "f")


def parse_cpu(value: object) -> Cores:
    """Cores from "400m", "1", 0.4. Negative, empty and other units are refused."""
    what = "a CPU quantity; write for example 50m or 0.05"
    text = _as_text(value, what)
    if text.startswith("-"):
        raise ValueError(f"{quote(value)} is negative; write a CPU quantity of 0 or more, for example 400m")
    match = _CPU.fullmatch(text)
    if match is None:
        raise ValueError(f"{quote(value)} is not {what}")
    cores = Decimal(match["number"]) * _SCALES[match["suffix"]]
    if cores > _MOST_CORES:
        raise ValueError(f"{quote(value)} is more cores than any machine has; 400m is four tenths of one")
    return Cores(float(cores))


def parse_cpu_or_multiple(value: object) -> Cores | Multiple:
    """Cores from a CPU quantity, or a multiple of the base from "2x"."""
    if isinstance(value, str) and (match := _MULTIPLE.fullmatch(value)):
        return Multiple(float(match["number"]))
    try:
        return parse_cpu(value)
    except ValueError as error:
        if "is not a CPU quantity" not in str(error):
            raise
        raise ValueError(
            f"{quote(value)} is neither a CPU quantity nor a multiple of the base; "
            'write for example "1" or "2x"'
        ) from None


def parse_duration(value: object) -> Seconds:
    """Seconds from a Go-style duration. A bare number other than 0 is refused: it has no unit."""
    what = "a duration; write for example 90s, 1m30s or 200ms"
    text = _as_text(value, what)
    if text.startswith("-"):
        raise ValueError(f"{quote(value)} is negative; write a duration of 0s or more, for example 90s")
    if _BARE.fullmatch(text):
        if Decimal(text) == 0:
            return Seconds(0.0)
        raise ValueError(f"{quote(value)} has no unit; add a unit: {text}s")
    if re.fullmatch(rf"{NUMBER}d.*", text):
        raise ValueError(f"{quote(value)} is in days, which differ in length; write hours, for example 24h")
    if _DURATION.fullmatch(text) is None:
        raise ValueError(f"{quote(value)} is not {what}")
    total = sum((Decimal(p["number"]) * _UNITS[p["unit"]] for p in _PART.finditer(text)), Decimal(0))
    if total > _LONGEST:
        raise ValueError(f"{quote(value)} is longer than the longest duration, 292 years")
    return Seconds(float(total))


def parse_clock(value: object) -> str:
    """A ceiling for the clock, as written: Base, Turbo, a percentage, or megahertz."""
    if isinstance(value, str) and _CLOCK.fullmatch(value):
        return value
    raise ValueError(f'{quote(value)} is not a clock; write Base, Turbo, "80%" or 2400MHz')


def parse_number(value: object) -> float:
    """A finite number of 0 or more, from a number or from its text (custom resources hold no floats)."""
    what = "a number; write for example 600 or 412.5"
    text = _as_text(value, what)
    if text.startswith("-") and _BARE.fullmatch(text):
        raise ValueError(f"{quote(value)} is negative; write a number of 0 or more")
    if re.fullmatch(NUMBER, text) is None:
        raise ValueError(f"{quote(value)} is not {what}")
    return float(text)


def format_cpu(cores: Cores) -> str:
    """The quantity, exact to a billionth of a core: 0.4 -> "400m", 2.0 -> "2"."""
    exact = _nano(cores)
    if exact == exact.to_integral_value():
        return str(int(exact))
    milli = exact * 1000
    if milli == milli.to_integral_value():
        return f"{int(milli)}m"
    return f"{int(exact / _NANO)}n"


def format_cpu_or_multiple(cpu: Cores | Multiple) -> str:
    """As `format_cpu`, or "2x"."""
    return f"{format_number(cpu.factor)}x" if isinstance(cpu, Multiple) else format_cpu(cpu)


def format_duration(duration: Seconds) -> str:
    """The duration, exact to a nanosecond: 90.5 -> "1m30.5s", 0.2 -> "200ms", 0 -> "0s"."""
    exact = _nano(duration)
    if exact < 1:
        return _below_one_second(exact)
    minutes, seconds = divmod(exact, 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((int(hours), "h"), (int(minutes), "m"), (_plain(seconds), "s"))
    return "".join(f"{amount}{unit}" for amount, unit in parts if amount not in (0, "0"))


def format_number(number: float) -> str:
    """The number, exact to 12 decimal places, without an exponent."""
    return _plain(Decimal(repr(float(number))).quantize(_PICO, rounding=ROUND_HALF_EVEN))


def _below_one_second(exact: Decimal) -> str:
    if exact == 0:
        return "0s"
    unit = next(unit for unit in ("ms", "us", "ns") if exact >= _UNITS[unit])
    return f"{_plain(exact / _UNITS[unit])}{unit}"


def _nano(value: float) -> Decimal:
    return Decimal(repr(float(value))).quantize(_NANO, rounding=ROUND_HALF_EVEN)


def _plain(number: Decimal) -> str:
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
