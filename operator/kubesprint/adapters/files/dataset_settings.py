"""Reads `settings.jsonl` of a dataset: one JSON object a line, one line a run."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from kubesprint.core.budget import RefillRule
from kubesprint.core.dataset import Knob, Mechanism, Setting, Split
from kubesprint.core.errors import Refused
from kubesprint.core.simulation import TriggerClock
from kubesprint.core.units import FOREVER, Cores, Seconds

_Choice = TypeVar("_Choice", bound=StrEnum)

SHORTEST_HYSTERESIS = 1e-9
"""Sprint seconds; what a hysteresis of 0 means to the simulators."""


@dataclass(frozen=True, slots=True)
class SettingLine:
    """A setting and the number of its line."""

    number: int
    setting: Setting


@dataclass(frozen=True, slots=True)
class Settings:
    """What `settings.jsonl` says: settings in the order of the file, at least one."""

    lines: tuple[SettingLine, ...]
    passed_over: Mapping[str, str]  # by run: its split, which is neither train nor test


def read_settings(file: Path) -> Settings:
    """The settings of all runs to train with or to test on.

    Raises:
        Refused: `FILE:LINE: KEY: what is wrong; what is allowed`.
    """
    lines: list[SettingLine] = []
    runs: dict[str, int] = {}
    passed_over: dict[str, str] = {}
    mechanisms: dict[str, tuple[int, Mechanism]] = {}
    for number, value in _objects(file):
        reader = _Object(file, number, value, "")
        run, split = reader.text("run"), reader.text("split")
        if run in runs:
            reader.refuse("run", f"{run!r} is also the run of line {runs[run]}; name each once")
        runs[run] = number
        if split.lower() not in list(Split):
            passed_over[run] = split
            continue
        setting = _setting(reader)
        mechanism = setting.mechanism
        first, known = mechanisms.setdefault(mechanism.name, (number, mechanism))
        if known != mechanism:
            reader.refuse(
                "mechanism.name",
                f"{mechanism.name!r} is another mechanism on line {first} ({_difference(known, mechanism)}); "
                "give each mechanism a name of its own",
            )
        lines.append(SettingLine(number, setting))
    if not runs:
        raise Refused(f"{file}: is empty; write one JSON object a run, one a line")
    if not lines:
        words = ", ".join(sorted(set(passed_over.values())))
        raise Refused(f"{file}: split: every run has the split {words}; write train or test for some")
    return Settings(tuple(lines), passed_over)


def _difference(one: Mechanism, other: Mechanism) -> str:
    names = ("knob", "threads", "base_cores", "sprint_cores")
    differing = [name for name in names if getattr(one, name) != getattr(other, name)]
    return ", ".join(f"{name} {getattr(one, name)} and {getattr(other, name)}" for name in differing)


def _objects(file: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise Refused(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Refused(f"{file}: is not UTF-8 text (byte {error.start})") from error
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise Refused(f"{file}:{number}: column {error.colno}: is not JSON: {error.msg}") from error
        except (ValueError, RecursionError) as error:  # a number of too many digits, brackets without end
            raise Refused(f"{file}:{number}: is not JSON that can be read: {error}") from error
        if not isinstance(value, dict):
            raise Refused(f"{file}:{number}: is no JSON object; write {{...}}, one a run")
        yield number, value


@dataclass(frozen=True, slots=True)
class _Object:
    """One JSON object, or one inside it."""

    file: Path
    line: int
    value: Mapping[str, Any]
    prefix: str

    def refuse(self, key: str, problem: str) -> NoReturn:
        """Say what is wrong, with its place."""
        raise Refused(f"{self.file}:{self.line}: {self.prefix}{key}: {problem}")

    def text(self, key: str) -> str:
        """A name; a number is one, too."""
        value = self._required(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str) or not value.strip():
            self.refuse(key, f"{_shown(value)} is not allowed; write a name")
        return value.strip()

    def number(self, key: str, *, least: float, allowed: str, above: bool = False) -> float:
        """A finite number."""
        value = self._required(key)
        fits = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
        if not fits or value < least or (above and value == least):
            self.refuse(key, f"{_shown(value)} is not allowed; write {allowed}")
        return float(value)

    def count(self, key: str, default: int | None, least: int) -> int:
        """A whole number; absent or null: the default."""
        value = self.value.get(key)
        if value is None and default is not None:
            return default
        value = self._required(key)
        if isinstance(value, bool):
            value = int(value)
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if not whole or not least <= value < 2**31:
            self.refuse(key, f"{_shown(value)} is not allowed; write a whole number, {least} or more")
        return int(value)

    def choice(self, key: str, kind: type[_Choice]) -> _Choice:
        """One of the words of an enumeration, in any case."""
        value = self._required(key)
        word = value.strip().lower() if isinstance(value, str) else ""
        found = next((member for member in kind if member.value.lower() == word), None)
        if found is None:
            words = " or ".join(member.value.lower() for member in kind)
            self.refuse(key, f"{_shown(value)} is not allowed; write {words}")
        return found

    def inner(self, key: str) -> "_Object":
        """An object inside."""
        value = self._required(key)
        if not isinstance(value, dict):
            self.refuse(key, f"{_shown(value)} is not allowed; write an object")
        return _Object(self.file, self.line, value, f"{self.prefix}{key}.")

    def _required(self, key: str) -> Any:
        if self.value.get(key) is None:
            self.refuse(key, "is missing" if key not in self.value else "is null, but has to be there")
        return self.value[key]


def _shown(value: object) -> str:
    return repr(value)[:40]


def _setting(reader: _Object) -> Setting:
    split = reader.choice("split", Split)
    timeout = _timeout(reader)
    return Setting(
        run=reader.text("run"),
        setting=reader.text("setting"),
        split=split,
        mechanism=_mechanism(reader.inner("mechanism")),
        servers=reader.count("servers", 1, 1),
        timeout=timeout,
        **_budget(reader, timeout),
        duration=_duration(reader),
        arrivals=_free(reader, "arrivals"),
        repeat=reader.count("repeat", 0, 0),
        started_at=_free(reader, "started_at") or None,
    )


def _mechanism(reader: _Object) -> Mechanism:
    base = reader.number("base_cores", least=0.0, above=True, allowed="cores, above 0")
    return Mechanism(
        name=reader.text("name"),
        knob=reader.choice("knob", Knob),
        threads=reader.count("threads", None, 1),
        base_cores=Cores(base),
        sprint_cores=Cores(
            reader.number("sprint_cores", least=base, allowed=f"cores, at least base_cores ({base:g})")
        ),
    )


def _timeout(reader: _Object) -> Seconds:
    """Null is never, and so is what `export` writes for an infinite one; a missing key is refused."""
    if "timeout_seconds" not in reader.value:
        reader.refuse("timeout_seconds", "is missing; write seconds, or null for never")
    if _infinite(reader.value["timeout_seconds"]) or reader.value["timeout_seconds"] is None:
        return FOREVER
    return Seconds(reader.number("timeout_seconds", least=0.0, allowed="seconds, 0 or more, or null = never"))


def _infinite(value: object) -> bool:
    return value == math.inf or (isinstance(value, str) and value.strip().lower() in ("inf", "infinity"))


def _budget(reader: _Object, timeout: float) -> dict[str, Any]:
    """Clock and bucket. Of a setting that never sprints they may be left out, or null."""
    never = math.isinf(timeout)
    rules: dict[str, Any] = {}

    def told(key: str) -> bool:
        return not (never and reader.value.get(key) is None)

    if told("clock"):
        rules["clock"] = reader.choice("clock", TriggerClock)
    if told("capacity_sprint_seconds"):
        rules["capacity"] = _capacity(reader)
    if told("refill_per_second"):
        rules["refill"] = reader.number("refill_per_second", least=0.0, allowed="a number, 0 or more")
    if told("refill_rule"):
        rules["refill_rule"] = reader.choice("refill_rule", RefillRule)
    if told("hysteresis_sprint_seconds"):
        least = reader.number("hysteresis_sprint_seconds", least=0.0, allowed="seconds, 0 or more")
        rules["hysteresis"] = Seconds(max(SHORTEST_HYSTERESIS, least))
    return rules


def _capacity(reader: _Object) -> Seconds:
    key = "capacity_sprint_seconds"
    if _infinite(reader.value.get(key)):
        return FOREVER
    return Seconds(reader.number(key, least=0.0, allowed='seconds, 0 or more, or "inf"'))


def _duration(reader: _Object) -> Seconds | None:
    if reader.value.get("duration_seconds") is None:
        return None
    return Seconds(reader.number("duration_seconds", least=0.0, allowed="seconds, 0 or more"))


def _free(reader: _Object, key: str) -> str:
    """What others may write as they like: a word, or whatever JSON it is."""
    value = reader.value.get(key)
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
