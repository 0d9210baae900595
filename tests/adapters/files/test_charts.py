"""Charts are valid, named, escaped, and put every number where it belongs."""

import math
import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesprint.adapters.files import charts
from kubesprint.adapters.files.charts import (
    Scale,
    Series,
    figure_text,
    line_chart,
    line_chart_page,
    scatter,
    ticks,
)

SVG = "{http://www.w3.org/2000/svg}"
spans = st.tuples(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6)).map(lambda pair: (pair[0], pair[0] + pair[1]))


def drawn(text: str) -> ET.Element:
    return ET.fromstring(text)


@given(span=spans, count=st.integers(1, 12))
def test_ticks_are_round_inside_and_about_as_many_as_asked(span: tuple[float, float], count: int) -> None:
    low, high = span
    values = ticks(low, high, count)
    width = high - low
    assert all(low - 1e-6 * width <= value <= high + 1e-6 * width for value in values)
    assert len(values) <= count + 1
    assert values == sorted(set(values))


@pytest.mark.parametrize("span", [(0.0, 0.0), (3.0, 1.0), (0.0, math.inf)])
def test_ticks_of_no_range_are_one(span: tuple[float, float]) -> None:
    assert ticks(*span) == [span[0]]


@given(span=spans, value=st.floats(0, 1))
def test_a_scale_maps_its_ends_onto_each_other(span: tuple[float, float], value: float) -> None:
    scale = Scale(*span, 10.0, 110.0)
    assert scale(span[0]) == 10.0
    assert scale(span[1]) == pytest.approx(110.0)
    assert 10.0 <= scale(span[0] + value * (span[1] - span[0])) <= 110.0 + 1e-6


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (math.nan, "–"),
        (0.0, "0.00"),
        (0.0012, "0.0012"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (1234.5, "1\u202f234"),
    ],
)
def test_numbers_for_people(value: float | None, text: str) -> None:
    assert figure_text(value) == text


def test_never_is_a_word() -> None:
    assert figure_text(math.inf, "s") == "never"


def test_a_line_chart_draws_every_point_and_points_at_the_marked_one() -> None:
    points = [(0.0, 5.0), (1.0, 3.0), (2.0, 4.0)]
    picture = drawn(line_chart("T", "x", "y", [Series(name="a", points=points)], marked=points[1]))
    marks = [e for e in picture.iter() if "small" in e.get("class", "")]
    assert len(marks) == 3
    chosen = next(e for e in picture.iter() if e.get("class") == "mark chosen")
    assert (chosen.get("cx"), chosen.get("cy")) == (marks[1].get("cx"), marks[1].get("cy"))
    heights = [float(e.get("cy", "nan")) for e in marks]
    assert heights[1] > heights[2] > heights[0]  # down is more in SVG


def test_never_is_a_level_and_not_a_point_at_infinity() -> None:
    text = line_chart("T", "x", "y", [Series(name="", points=[(0.0, 2.0), (1.0, 3.0), (math.inf, 9.0)])])
    picture = drawn(text)
    assert [e.text for e in picture.iter(f"{SVG}text") if (e.text or "").startswith("never")] == [
        "never: 9.00"
    ]
    assert not re.search(r"\b(inf|nan)\b", text)


def test_a_marked_never_stands_at_the_right_end() -> None:
    points = [(0.0, 2.0), (1.0, 3.0), (math.inf, 1.0)]
    picture = drawn(line_chart("T", "x", "y", [Series(name="", points=points)], marked=points[2]))
    chosen = next(e for e in picture.iter() if e.get("class") == "mark chosen")
    assert float(chosen.get("cx", "0")) == pytest.approx(720.0 - charts.RIGHT)


@pytest.mark.parametrize(
    "points", [[], [(1.0, 1.0)], [(0.0, 0.0), (0.0, 0.0)], [(math.inf, 3.0)], [(1.0, math.nan)]]
)
def test_odd_data_still_gives_a_picture(points: list[tuple[float, float]]) -> None:
    text = line_chart("T", "x", "y", [Series(name="a", points=points)])
    assert drawn(text).tag == f"{SVG}svg"
    assert not re.search(r'"[^"]*\b(inf|nan)\b', text)


def test_a_chart_has_a_title_and_a_description() -> None:
    picture = drawn(line_chart("The <title> & more", "x", "y", [Series(name="a", points=[(0.0, 1.0)])]))
    assert picture.get("role") == "img"
    assert picture.findtext(f"{SVG}title") == "The <title> & more"
    assert "1 points" in (picture.findtext(f"{SVG}desc") or "")


def test_no_value_breaks_out_of_its_element() -> None:
    hostile = '"><script>&'
    element = drawn(charts.element("text", {"class": hostile, "x": 1.26}, hint=hostile, text=hostile))
    assert element.attrib == {"class": hostile, "x": "1.3"}
    assert "".join(element.itertext()) == hostile * 2


def test_a_cloud_has_equal_axes_and_a_mark_and_a_hint_a_point() -> None:
    series = [
        Series(name=f"kind {index}", points=[(1.0 + index, 2.0)], style=index, hints=[f"job <{index}>"])
        for index in range(9)
    ]
    picture = drawn(scatter("T", "measured", "predicted", series))
    marks = [e for e in picture.iter() if (e.get("class") or "").startswith("mark")]
    assert [m.findtext(f"{SVG}title") for m in marks] == [f"job <{index}>" for index in range(9)]
    diagonal = next(e for e in picture.iter() if e.get("class") == "diagonal")
    run = float(diagonal.get("x2", "0")) - float(diagonal.get("x1", "0"))
    rise = float(diagonal.get("y1", "0")) - float(diagonal.get("y2", "0"))
    assert run > 0
    assert rise > 0


def test_eight_kinds_differ_in_shape_as_well_as_in_colour() -> None:
    def outline(style: int) -> tuple[str, str, int]:
        element = drawn(charts.mark(0.0, 0.0, style))
        return element.tag, element.get("points", ""), style if element.tag == "circle" else -1

    assert len({outline(style) for style in range(8)}) == 8


def test_a_long_level_is_thinned_but_keeps_its_extremes() -> None:
    levels = [(float(t), 5.0) for t in range(20_000)]
    levels[12_345] = (12_345.0, 0.0)
    levels[700] = (700.0, 11.0)
    text = charts.step_area("T", "level", levels, (0.0, 20_000.0), ceiling=12.0)
    assert len(text) < 120_000
    edge = next(e for e in drawn(text).iter() if e.get("class") == "edge budget")
    heights = [float(step.split()[1]) for step in edge.get("d", "")[1:].split("L")]
    scale = Scale(0.0, 12.0 * 1.05, 150.0 - 46, 26.0)
    assert max(heights) == pytest.approx(scale(0.0), abs=0.06)
    assert min(heights) == pytest.approx(scale(11.0), abs=0.06)


def test_steps_hold_each_value_until_the_next() -> None:
    text = charts.step_area("T", "jobs", [(0.0, 0.0), (5.0, 2.0)], (0.0, 10.0), steps=True)
    edge = next(e for e in drawn(text).iter() if (e.get("class") or "").startswith("edge"))
    assert len(edge.get("d", "").split("L")) == 3


def test_the_search_page_is_one_file_with_every_point() -> None:
    points = [(float(t), 10.0 - t) for t in range(5)] + [(math.inf, 12.0)]
    page = line_chart_page("Best <timeout>", "timeout, s", "mean, s", points, 4)
    assert page.startswith("<!DOCTYPE html>")
    assert "Best &lt;timeout&gt;" in page
    assert "<timeout>" not in page
    assert page.count("<tr><td>") + page.count('<tr class="best"><td>') == 6
    assert page.count('class="best"') == 1
    assert "prefers-color-scheme" in page


def test_a_search_page_may_mark_nothing() -> None:
    assert 'class="best"' not in line_chart_page("T", "x", "y", [(0.0, 1.0)], None)
