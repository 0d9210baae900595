"""Quantities and profiles survive being written and read again; what is refused says why."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesprint.adapters.wire import quantities
from kubesprint.adapters.wire.policies import SprintPolicy
from kubesprint.adapters.wire.profiles import parse_profile, profile_document
from kubesprint.adapters.wire.quantities import Multiple
from kubesprint.core.spec import ProfileFit, ProfilePoint, ProfileSpec
from kubesprint.core.units import Cores, Seconds

NANO_CORES = st.integers(min_value=0, max_value=10**15)
NANO_SECONDS = st.integers(min_value=0, max_value=2**52)

cores = NANO_CORES.map(lambda n: Cores(n / 10**9))
durations = NANO_SECONDS.map(lambda n: Seconds(n / 10**9))
numbers = st.integers(min_value=0, max_value=2**52).map(lambda n: n / 10**12)


@given(cores)
def test_cpu_reads_back_as_written(value: Cores) -> None:
    assert quantities.parse_cpu(quantities.format_cpu(value)) == value


@given(durations)
def test_a_duration_reads_back_as_written(value: Seconds) -> None:
    assert quantities.parse_duration(quantities.format_duration(value)) == value


@given(numbers)
def test_a_number_reads_back_as_written(value: float) -> None:
    text = quantities.format_number(value)
    assert "e" not in text
    assert float(text) == value


def refusal(read: Callable[[object], object], value: object) -> str | None:
    """Why the value is refused; None if it is not."""
    try:
        read(value)
    except ValueError as error:
        return str(error)
    return None


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_with_a_sentence_that_quotes_it(text: str) -> None:
    readers: list[Callable[[object], object]] = [
        quantities.parse_cpu,
        quantities.parse_cpu_or_multiple,
        quantities.parse_duration,
        quantities.parse_number,
        quantities.parse_clock,
    ]
    for read in readers:
        said = refusal(read, text)
        assert said is None or said.startswith(quantities.quote(text))


@pytest.mark.parametrize(
    ("pattern", "read"),
    [
        (quantities.CPU_PATTERN, quantities.parse_cpu),
        (quantities.CPU_OR_MULTIPLE_PATTERN, quantities.parse_cpu_or_multiple),
        (quantities.DURATION_PATTERN, quantities.parse_duration),
        (quantities.NUMBER_PATTERN, quantities.parse_number),
        (quantities.CLOCK_PATTERN, quantities.parse_clock),
    ],
)
@given(data=st.data())
def test_what_an_api_server_lets_through_is_read(
    pattern: str, read: Callable[[object], object], data: st.DataObject
) -> None:
    text = data.draw(st.from_regex(pattern, fullmatch=True).filter(lambda t: not t.endswith("\n")))
    said = refusal(read, text)
    too_much = ("longer than", "more cores than")
    assert said is None or any(words in said for words in too_much)


@given(st.integers() | st.floats() | st.booleans() | st.none() | st.lists(st.integers()))
def test_any_value_is_a_finite_number_of_zero_or_more_or_refused(value: object) -> None:
    readers: list[Callable[[object], float]] = [
        quantities.parse_cpu,
        quantities.parse_duration,
        quantities.parse_number,
    ]
    for read in readers:
        if refusal(read, value) is None:
            assert 0 <= read(value) < math.inf


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("400m", 0.4),
        ("1", 1.0),
        (1, 1.0),
        (0.4, 0.4),
        ("0.05", 0.05),
        (".5", 0.5),
        ("2.", 2.0),
        ("100u", 1e-4),
    ],
)
def test_cpu_is_a_kubernetes_quantity(text: object, expected: float) -> None:
    assert quantities.parse_cpu(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", 90.0),
        ("1m30s", 90.0),
        ("200ms", 0.2),
        ("0s", 0.0),
        ("0", 0.0),
        (0, 0.0),
        ("1h", 3600.0),
        ("1.5h", 5400.0),
        ("1h1m1s1ms1us1ns", 3661.001001001),
        ("5µs", 5e-6),
    ],
)
def test_a_duration_is_gos(text: object, expected: float) -> None:
    assert quantities.parse_duration(text) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(
    ("value", "expected"), [(0.0, "0s"), (0.2, "200ms"), (90.5, "1m30.5s"), (3600.0, "1h"), (301.0, "5m1s")]
)
def test_a_duration_is_written_for_people(value: float, expected: str) -> None:
    assert quantities.format_duration(Seconds(value)) == expected


@pytest.mark.parametrize(("value", "expected"), [(0.4, "400m"), (2.0, "2"), (0.0, "0"), (0.00005, "50000n")])
def test_cpu_is_written_for_people(value: float, expected: str) -> None:
    assert quantities.format_cpu(Cores(value)) == expected


def test_a_multiple_is_told_from_a_quantity() -> None:
    assert quantities.parse_cpu_or_multiple("2x") == Multiple(2.0)
    assert quantities.parse_cpu_or_multiple("2") == 2.0


names = st.from_regex(r"[a-z]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
shares = st.none() | st.integers(min_value=0, max_value=10**12).map(lambda n: n / 10**12)
counts = st.none() | st.integers(min_value=1, max_value=10**6)
above_zero = NANO_SECONDS.filter(bool).map(lambda n: Seconds(n / 10**9))
some_cores = NANO_CORES.filter(bool).map(lambda n: Cores(n / 10**9))
points = st.builds(
    ProfilePoint,
    cores=some_cores,
    clock=st.sampled_from(["Base", "Turbo", "80%", "2400MHz"]),
    runs=st.integers(min_value=1, max_value=1000),
    wall=above_zero,
    cpu_time=durations,
)
fits = st.builds(
    ProfileFit,
    samples=counts,
    cpu_time=st.none() | durations,
    dispersion=st.none() | numbers,
    serial_share=shares,
    work_inflation=st.none() | numbers,
    compute_share=shares,
    standard_errors=st.dictionaries(st.sampled_from(["serialShare", "workInflation"]), numbers),
    basis=st.none() | st.sampled_from(["GreyBox", "WhiteBox"]),
    schema=counts,
    error=st.none() | numbers,
    valid_cores=st.none() | st.tuples(some_cores, some_cores).map(lambda pair: (min(pair), max(pair))),
)
profiles = st.builds(
    ProfileSpec,
    workload=names,
    points=st.lists(points, max_size=4, unique_by=lambda p: (p.cores, p.clock)).map(tuple),
    fit=st.none() | fits,
)


@given(profiles)
def test_a_profile_reads_back_as_written(profile: ProfileSpec) -> None:
    again, warnings = parse_profile(profile_document(profile))
    assert again == profile
    assert warnings == []


def test_the_schema_gives_defaults_and_quantities_as_an_api_server_wants_them() -> None:
    schema = SprintPolicy.model_json_schema(mode="serialization")["$defs"]
    assert schema["BudgetRules"]["properties"]["hysteresis"]["default"] == "200ms"
    assert schema["BudgetRules"]["properties"]["refillCores"]["default"] == "0"
    cpu = schema["Base"]["properties"]["cpu"]
    assert (cpu["x-kubernetes-int-or-string"], cpu["maxLength"]) == (True, 32)
