"""`kubesprint simulate` from the command line: answers, files, and one clear line for whatever is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from kubesprint.apps.simulate import simulate

APP = typer.Typer()
APP.command()(simulate)


@APP.callback()
def root() -> None:
    """A second command, so that `simulate` stays a word of the command line."""


Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    trace = tmp_path / "T.csv"
    trace.write_text("arrival_seconds,work_seconds\n0,3.5\n0,2\n10,1\n")

    def invoke(*options: str, text: str | bytes | None = None) -> Result:
        if text is not None:
            trace.write_bytes(text if isinstance(text, bytes) else text.encode())
        given = ["simulate", "--trace", str(trace), *options]
        return CliRunner().invoke(APP, given, env={"COLUMNS": "200", "TERM": "dumb"})

    return invoke


BASE = ("--capacity", "1", "--refill", "0.5", "--sprint-rate", "2", "--hysteresis", "0.25")


def answer(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_json_has_the_promised_keys_and_the_hand_computed_numbers(run: Run) -> None:
    result = answer(run("--timeout", "0", "--clock", "arrival", "--servers", "1", *BASE, "--json"))
    # the first ends at 2.25, see test_queueing_rules; the second then sprints on 0.25, does 0.5, and so on
    assert set(result) == {
        "mean_response_seconds",
        "p50_response_seconds",
        "p95_response_seconds",
        "p99_response_seconds",
        "sprint_seconds",
        "jobs",
    }
    assert result["jobs"] == 3
    # 0.25 s sprint (0.5), 0.5 s base (0.5), 0.25 s sprint (0.5), 0.5 s base (0.5): ends at 3.75
    assert result["p50_response_seconds"] == pytest.approx(2.25)
    assert result["mean_response_seconds"] == pytest.approx((2.25 + 3.75 + 0.5) / 3)
    assert result["p95_response_seconds"] == pytest.approx(3.75 - 0.1 * 1.5)
    assert result["sprint_seconds"] == pytest.approx(1.25 + 0.5 + 0.5)


def test_never_needs_no_budget(run: Run) -> None:
    assert answer(run("--timeout", "inf", "--json"))["mean_response_seconds"] == pytest.approx(10 / 3)
    assert "mean response" in run("--timeout", "inf").stdout


@pytest.mark.parametrize(("spelt", "plain"), [("1m30s", "90"), ("250ms", "0.25"), ("1s", "1e0")])
def test_times_with_units_are_plain_seconds(run: Run, spelt: str, plain: str) -> None:
    assert answer(run("--timeout", spelt, *BASE, "--json")) == answer(
        run("--timeout", plain, *BASE, "--json")
    )


@pytest.mark.parametrize(
    "changed",
    [
        ("--clock", "start"),
        ("--no-restart",),
        ("--toggle", "0.1"),
        ("--hysteresis", "1"),
        ("--refill-rule", "continuous"),
        ("--servers", "2"),
        ("--sprint-rate", "3"),
        ("--capacity", "2"),
        ("--refill", "0.3"),
    ],
)
def test_every_option_matters(run: Run, changed: tuple[str, ...]) -> None:
    given = ("--timeout", "1", *BASE, "--json")
    many = "arrival_seconds,work_seconds\n" + "".join(f"{i},{(i * 7) % 5 / 3 + 0.8}\n" for i in range(20))
    assert answer(run(*given, text=many)) != answer(run(*given, *changed))


def test_rows_may_be_unsorted_and_have_more_columns(run: Run) -> None:
    expected = answer(run("--timeout", "0", *BASE, "--json"))
    mixed = "\ufeffname,work_seconds,arrival_seconds\r\nc,1,1010\r\n\r\na,3.5,1000\r\nb,2,1000\r\n"
    result = run("--timeout", "0", *BASE, "--json", text=mixed)
    assert answer(result) == expected
    assert "sorted" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_search_prints_the_best_time_out_and_the_curve(run: Run, tmp_path: Path) -> None:
    page = tmp_path / "curve.html"
    result = answer(run("--search", *BASE, "--json", "--plot", str(page), "--timeout", "0.777"))
    curve = result["curve"]
    assert [curve[0]["timeout_seconds"], curve[-1]["timeout_seconds"]] == [0.0, "inf"]
    assert 0.777 in [point["timeout_seconds"] for point in curve]
    best = min(curve, key=lambda point: point["mean_response_seconds"])
    assert result["mean_response_seconds"] == pytest.approx(best["mean_response_seconds"])
    again = answer(run("--timeout", str(result["timeout_seconds"]), *BASE, "--json"))
    assert again["mean_response_seconds"] == pytest.approx(result["mean_response_seconds"])
    assert again["sprint_seconds"] == pytest.approx(result["sprint_seconds"])
    text = page.read_text()
    assert "<svg" in text
    assert "http-equiv" not in text
    assert 'src="http' not in text


def test_a_search_may_minimise_a_percentile(run: Run) -> None:
    result = answer(run("--search", "--objective", "p95", *BASE, "--json"))
    assert result["p95_response_seconds"] == min(p["p95_response_seconds"] for p in result["curve"])
    assert "best" in run("--search", *BASE).stdout


def refused(result: Result) -> str:
    """The one line that is printed."""
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--timeout", "-1"), ("--timeout", "-1", "0 or more")),
        (("--timeout", "nan"), ("--timeout", "nan", "inf")),
        (("--timeout", "5parsecs"), ("--timeout", "5parsecs", "90s")),
        ((), ("--timeout", "missing", "--search")),
        (("--timeout", "1", "--sprint-rate", "0.99"), ("--sprint-rate", "0.99", "1 or more")),
        (("--timeout", "1", "--sprint-rate", "inf"), ("--sprint-rate", "inf")),
        (("--timeout", "1", "--servers", "0"), ("--servers", "'0'", "from 1")),
        (("--timeout", "1", "--servers", "1.5"), ("--servers", "'1.5'")),
        (("--timeout", "1", "--servers", "9" * 5000), ("--servers", "from 1")),
        (("--timeout", "1", "--hysteresis", "0"), ("--hysteresis", "0", "above 0")),
        (("--timeout", "1", "--hysteresis", "inf"), ("--hysteresis", "inf")),
        (("--timeout", "1", "--capacity", "-2s"), ("--capacity", "-2s", "negative")),
        (("--timeout", "1", "--refill", "-0.1"), ("--refill", "-0.1", "0 or more")),
        (("--timeout", "1", "--refill", "1e999"), ("--refill", "1e999")),
        (("--timeout", "1", "--toggle", "-1"), ("--toggle", "-1")),
        (("--timeout", "1", "--clock", "wall"), ("--clock", "wall", "arrival or start")),
        (("--timeout", "1", "--refill-rule", "x"), ("--refill-rule", "paused or continuous")),
        (("--search", "--objective", "max"), ("--objective", "max", "p99")),
        (("--timeout", "1", "--plot", "x.html"), ("--plot", "--search")),
        (("--search", "--plot", "/no/such/folder/x.html"), ("--plot", "/no/such/folder/x.html")),
    ],
)
def test_a_bad_option_is_named_with_its_value_and_what_is_allowed(
    run: Run, options: tuple[str, ...], said: tuple[str, ...]
) -> None:
    line = refused(run(*BASE, *options))
    for part in said:
        assert part in line


@pytest.mark.parametrize("missing", ["--capacity", "--sprint-rate"])
def test_a_sprint_needs_a_budget_and_a_rate(run: Run, missing: str) -> None:
    given = list(BASE)
    at = given.index(missing)
    del given[at : at + 2]
    assert missing in refused(run("--timeout", "1", *given))


HEADER = "arrival_seconds,work_seconds\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEADER + "0,1\n1,abc\n", ("T.csv:3", "work_seconds", "'abc'", "0 or more")),
        (HEADER + "0,1\n\n-1,1\n", ("T.csv:4", "arrival_seconds", "'-1'", "0 or more")),
        (HEADER + "0,nan\n", ("T.csv:2", "work_seconds", "'nan'")),
        (HEADER + "inf,1\n", ("T.csv:2", "arrival_seconds", "'inf'")),
        (HEADER + "0,1_0\n", ("T.csv:2", "work_seconds", "'1_0'")),
        (HEADER + "0,\n", ("T.csv:2", "work_seconds", "''")),
        (HEADER + "0\n", ("T.csv:2", "1 fields", "2")),
        (HEADER + "0,1,5\n", ("T.csv:2", "3 fields", "2")),
        (HEADER + '0,"1\n', ("T.csv:", "CSV")),
        ("arrival_seconds;work_seconds\n0;1\n", ("T.csv:1", "arrival_seconds", "missing")),
        ("arrival_seconds,work_seconds,work_seconds\n", ("T.csv:1", "work_seconds", "more than once")),
        (HEADER, ("T.csv", "no jobs")),
        ("", ("T.csv", "empty", "arrival_seconds,work_seconds")),
        (b"\xff\xfe\x00", ("T.csv", "UTF-8")),
        (HEADER.encode() + b"0,1\x00\n", ("T.csv:",)),
    ],
)
def test_a_broken_trace_is_refused_by_line_and_column(
    run: Run, text: str | bytes, said: tuple[str, ...]
) -> None:
    line = refused(run("--timeout", "1", *BASE, text=text))
    for part in said:
        assert part in line


def test_a_trace_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "none.csv", "No such file"), (tmp_path, "directory")):
        result = CliRunner().invoke(APP, ["simulate", "--trace", str(path), "--timeout", "inf"])
        assert said in refused(result)
    assert "--trace" in refused(CliRunner().invoke(APP, ["simulate", "--timeout", "inf"]))


def test_the_help_teaches(run: Run) -> None:
    text = CliRunner().invoke(APP, ["simulate", "--help"], env={"COLUMNS": "100"}).stdout
    for part in ("Example", "--trace jobs.csv", "oldest first", "threshold", "Exit code"):
        assert part in text
