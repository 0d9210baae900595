"""Charts as inline SVG: pure functions from numbers to text, drawn in the colours of the page's style sheet.

Every chart has a title and a description for screen readers, classes instead of colours (so light and
dark follow the reader's system), and a `<title>` on each mark that the page's script shows as a hint.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

LEFT, RIGHT = 64.0, 18.0
"""Margins in user units; charts of one width share them, so that their axes line up."""

TIME_LEFT = 132.0
"""The left margin of everything over time: wide enough for the name of a job."""

SHAPES = ("circle", "square", "triangle", "diamond", "plus", "cross", "wedge", "ring")
"""The marks of a series, beside its colour: a reader who sees no colour still tells eight apart."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map from values to user units."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low
        return self.start + (self.end - self.start) * ((value - self.low) / span if span else 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A line, or a cloud, of points."""

    name: str
    points: Sequence[tuple[float, float]]
    style: int = 0  # which colour and shape
    hints: Sequence[str] = ()  # what to say about each point


def ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Round values from low to high, about `count` of them, both ends included where they are round."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low]
    raw = (high - low) / max(1, count)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def figure_text(value: float | None, unit: str = "") -> str:
    """A number for people: three significant digits, thin enough for a table; a dash for none."""
    if value is None or math.isnan(value):
        return "\N{EN DASH}"
    if math.isinf(value):
        return "never" if unit == "s" else "\N{INFINITY}"
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2
    text = f"{value:,.{digits}f}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    if digits == 2 and size < 0.01 and value:
        text = f"{value:.2g}"
    return f"{text}\N{NARROW NO-BREAK SPACE}{unit}" if unit else text


def tick_text(value: float) -> str:
    """A tick of an axis: no more digits than it needs."""
    return f"{value:,.10g}".replace(",", "\N{NARROW NO-BREAK SPACE}")


# --- pieces -----------------------------------------------------------------------------------------


def element(tag: str, attributes: Mapping[str, object], hint: str = "", text: str = "") -> str:
    """One SVG element; floats are cut to a tenth of a unit, `hint` becomes its title. All text is escaped."""
    cells = "".join(f' {name.replace("_", "-")}="{_attribute(value)}"' for name, value in attributes.items())
    inside = (f"<title>{escape(hint)}</title>" if hint else "") + escape(text)
    return f"<{tag}{cells}>{inside}</{tag}>" if inside else f"<{tag}{cells}/>"


def _attribute(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return escape(str(value))


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight line of class `kind`."""
    return element("line", {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "class": kind})


def label(x: float, y: float, text: str, kind: str = "tick", anchor: str = "start") -> str:
    """A text of class `kind`."""
    return element("text", {"x": x, "y": y, "class": kind, "text_anchor": anchor}, text=text)


def path(points: Iterable[tuple[float, float]], kind: str, close: bool = False) -> str:
    """A line through points given in user units."""
    steps = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return element("path", {"d": f"M{steps}{'Z' if close else ''}", "class": kind}) if steps else ""


def svg(
    width: float, height: float, title: str, description: str, body: Iterable[str], kind: str = ""
) -> str:
    """A whole drawing, named for those who do not see it."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'class="chart {kind}" style="--w:{width:.0f}px" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title><desc>{escape(description)}</desc>{''.join(body)}</svg>"
    )


def mark(x: float, y: float, style: int, hint: str = "", size: float = 4.5, extra: str = "") -> str:
    """The mark of a series at a point, in user units."""
    attributes = {"class": f"mark s{style % len(SHAPES)} {extra}".strip()}
    shape = SHAPES[style % len(SHAPES)]
    if shape in ("circle", "ring"):
        return element("circle", {"cx": x, "cy": y, "r": size, **attributes}, hint)
    corners = {
        "square": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
        "triangle": [(0, -1.15), (1.1, 0.85), (-1.1, 0.85)],
        "wedge": [(0, 1.15), (1.1, -0.85), (-1.1, -0.85)],
        "diamond": [(0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)],
        "plus": _cross(0.0),
        "cross": _cross(math.pi / 4),
    }[shape]
    points = " ".join(f"{x + size * dx:.1f},{y + size * dy:.1f}" for dx, dy in corners)
    return element("polygon", {"points": points, **attributes}, hint)


def _cross(angle: float) -> list[tuple[float, float]]:
    a, b = 0.38, 1.2
    plus = [
        (-a, -b),
        (a, -b),
        (a, -a),
        (b, -a),
        (b, a),
        (a, a),
        (a, b),
        (-a, b),
        (-a, a),
        (-b, a),
        (-b, -a),
        (-a, -a),
    ]
    return [
        (x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle))
        for x, y in plus
    ]


def x_axis(scale: Scale, y: float, text: str, top: float | None = None) -> list[str]:
    """Ticks below `y`, with grid lines up to `top`, and the axis' name at its right end."""
    parts = [line(scale.start, y, scale.end, y, "axis")]
    for value in ticks(scale.low, scale.high, max(2, int((scale.end - scale.start) / 90))):
        x = scale(value)
        if top is not None:
            parts.append(line(x, top, x, y, "grid"))
        parts.append(label(x, y + 16, tick_text(value), anchor="middle"))
    parts.append(label(scale.end, y + 33, text, "name", "end"))
    return parts


def y_axis(scale: Scale, left: float, right: float, text: str) -> list[str]:
    """Ticks left of `left`, grid lines to `right`, and the axis' name above."""
    parts = []
    for value in ticks(scale.low, scale.high, max(2, int(abs(scale.start - scale.end) / 45))):
        parts.append(line(left, scale(value), right, scale(value), "grid"))
        parts.append(label(left - 8, scale(value) + 4, tick_text(value), anchor="end"))
    parts.append(label(8, scale.end - 10, text, "name"))
    return parts


def extent(values: Iterable[float], *, floor: float | None = None, pad: float = 0.06) -> tuple[float, float]:
    """The range that shows all values with some air; `floor` (say 0) is shown when it is not far away."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    if floor is not None and low >= floor and (high - low > 0.5 * (high - floor) or high == low):
        low = floor
    air = (high - low) * pad or abs(high) * pad or 1.0
    return (low if low == floor else low - air), high + air


# --- charts -----------------------------------------------------------------------------------------


def line_chart(
    title: str,
    x_label: str,
    y_label: str,
    series: Sequence[Series],
    *,
    marked: tuple[float, float] | None = None,
    width: float = 720.0,
    height: float = 340.0,
) -> str:
    """Lines over a common axis. A point at x = infinity ("never") is drawn as a dashed level of its own."""
    everything = [point for one in series for point in one.points if math.isfinite(point[1])]
    finite = [point for point in everything if math.isfinite(point[0])]
    xs = extent((x for x, _ in finite), floor=0.0, pad=0.02)
    ys = extent((y for _, y in everything), floor=0.0)
    x = Scale(*xs, LEFT, width - RIGHT)
    y = Scale(*ys, height - 46, 30.0)
    parts = [*y_axis(y, LEFT, width - RIGHT, y_label), *x_axis(x, height - 46, x_label)]
    for one in series:
        parts += _curve(one, x, y, with_marks=len(one.points) <= 60)
    if marked is not None and math.isfinite(marked[1]):
        parts += _marked(marked, x, y, x_label, y_label)
    shown = ", ".join(one.name for one in series if one.name)
    best = f" Marked: {marked[0]:.4g}, {marked[1]:.4g}." if marked else ""
    description = f"{y_label} by {x_label}, {len(everything)} points{': ' + shown if shown else ''}.{best}"
    return svg(width, height, title, description, parts)


def _curve(one: Series, x: Scale, y: Scale, *, with_marks: bool) -> list[str]:
    points = [point for point in one.points if math.isfinite(point[0]) and math.isfinite(point[1])]
    parts = [path(((x(a), y(b)) for a, b in points), f"line s{one.style % len(SHAPES)}")]
    hints = one.hints or [f"{one.name} {figure_text(a)}: {figure_text(b)}".strip() for a, b in one.points]
    for (a, b), hint in zip(one.points, hints, strict=True):
        if math.isinf(a) and math.isfinite(b):
            parts.append(line(x.start, y(b), x.end, y(b), f"level s{one.style % len(SHAPES)}"))
            parts.append(label(x.end - 4, y(b) - 6, f"never: {figure_text(b)}", "note", "end"))
        elif with_marks and math.isfinite(b):
            parts.append(mark(x(a), y(b), one.style, hint, 2.6, "small"))
    return parts


def _marked(point: tuple[float, float], x: Scale, y: Scale, x_label: str, y_label: str) -> list[str]:
    a, b = point
    at = x.end if math.isinf(a) else x(a)
    hint = f"{x_label} {figure_text(a)}, {y_label} {figure_text(b)}"
    side, shift = ("end", -10.0) if at > (x.start + x.end) / 2 else ("start", 10.0)
    text = f"{'never' if math.isinf(a) else figure_text(a)}: {figure_text(b)}"
    return [
        line(at, y.start, at, y.end, "pointer"),
        element("circle", {"cx": at, "cy": y(b), "r": 6.0, "class": "mark chosen"}, hint),
        label(at + shift, y.end + 12, text, "note strong", side),
    ]


def scatter(title: str, x_label: str, y_label: str, series: Sequence[Series], *, size: float = 440.0) -> str:
    """A square cloud on equal axes, with the diagonal on which both are the same."""
    points = [point for one in series for point in one.points]
    high = extent((value for point in points for value in point), floor=0.0)[1]
    x = Scale(0.0, high, LEFT, size - RIGHT)
    y = Scale(0.0, high, size - 46, 30.0)
    parts = [
        *y_axis(y, LEFT, size - RIGHT, y_label),
        *x_axis(x, size - 46, x_label),
        line(x(0), y(0), x(high), y(high), "diagonal"),
        label(x(high) - 8, y(high) + 22, "equal", "note", "end"),
    ]
    for one in series:
        hints = one.hints or [one.name] * len(one.points)
        for (a, b), hint in zip(one.points, hints, strict=True):
            parts.append(mark(x(a), y(b), one.style, hint, 4.5 if len(points) <= 300 else 3.0))
    description = f"{len(points)} jobs; on the diagonal {y_label} equals {x_label}."
    return svg(size, size, title, description, parts, "square")


def step_area(
    title: str,
    y_label: str,
    levels: Sequence[tuple[float, float]],
    time: tuple[float, float],
    *,
    ceiling: float | None = None,
    style: str = "budget",
    steps: bool = False,
    width: float = 1000.0,
    height: float = 150.0,
) -> str:
    """A level over time, filled to zero; `steps` holds each value until the next one."""
    low = min([0.0, *(value for _, value in levels)])
    high = max([ceiling or 0.0, *(value for _, value in levels)]) or 1.0
    x = Scale(*time, TIME_LEFT, width - RIGHT)
    y = Scale(low, high * 1.05, height - 46, 26.0)
    parts = [*y_axis(y, TIME_LEFT, width - RIGHT, y_label), *x_axis(x, height - 46, "seconds")]
    drawn = _thin([(x(at), y(value)) for at, value in levels], 2000)
    if steps:
        drawn = [drawn[0], *(p for a, b in pairwise(drawn) for p in ((b[0], a[1]), b))] if drawn else []
    if drawn:
        parts.append(path([(drawn[0][0], y(0)), *drawn, (drawn[-1][0], y(0))], f"area {style}", close=True))
        parts.append(path(drawn, f"edge {style}"))
    if ceiling:
        parts.append(line(TIME_LEFT, y(ceiling), width - RIGHT, y(ceiling), "level"))
        parts.append(
            label(width - RIGHT - 4, y(ceiling) + 14, f"full: {figure_text(ceiling)}", "note", "end")
        )
    shown = [value for _, value in levels] or [0.0]
    span = f"from {shown[0]:.4g}, lowest {min(shown):.4g}, to {shown[-1]:.4g}"
    return svg(
        width, height, title, f"{y_label} over {time[1] - time[0]:.4g} seconds: {span}.", parts, "wide"
    )


def _thin(points: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """At most about `most` points, keeping the lowest and the highest of every stretch left out."""
    if len(points) <= most:
        return list(points)
    stride = math.ceil(2 * len(points) / most)
    kept = [points[0]]
    lowest: Callable[[tuple[float, float]], float] = lambda point: point[1]  # noqa: E731
    for start in range(0, len(points), stride):
        stretch = points[start : start + stride]
        kept += sorted({min(stretch, key=lowest), max(stretch, key=lowest)})
    return [*kept, points[-1]]


# --- pages ------------------------------------------------------------------------------------------


@cache
def environment() -> "Environment":
    """The templates of this package, with every value escaped; read when a page is first made."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loaded = Environment(
        loader=PackageLoader("kubesprint.adapters.files"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    loaded.filters["figure"] = figure_text
    return loaded


def line_chart_page(
    title: str, x_label: str, y_label: str, points: Sequence[tuple[float, float]], marked: int | None
) -> str:
    """One line chart as a self-contained page.

    Args:
        points: x and y; x may be infinity ("never"), which is drawn as a level.
        marked: the index of the point to point at, say the best one.
    """
    chosen = None if marked is None else points[marked]
    chart = line_chart(title, x_label, y_label, [Series(name="", points=points)], marked=chosen, width=980.0)
    rows = [(figure_text(x), figure_text(y), index == marked) for index, (x, y) in enumerate(points)]
    return (
        environment()
        .get_template("chart.html")
        .render(title=title, x_label=x_label, y_label=y_label, chart=chart, rows=rows)
    )
