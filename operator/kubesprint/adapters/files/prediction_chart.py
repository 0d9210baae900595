"""Predicted against measured response times, as one SVG file that carries its own colours."""

from collections.abc import Sequence
from importlib.resources import files

from kubesprint.adapters.files.charts import (
    LEFT,
    Scale,
    Series,
    extent,
    label,
    line,
    mark,
    svg,
    x_axis,
    y_axis,
)

PLOT = 480.0
LEGEND = 190.0
ROW = 20.0

FAR = 1.5
"""Predictions beyond this many times the largest measurement are drawn at the border."""


def prediction_chart(title: str, series: Sequence[Series]) -> str:
    """A cloud of (measured, predicted) for each predictor, in seconds, on equal axes with the diagonal."""
    points = [point for one in series for point in one.points]
    most = max((measured for measured, _ in points), default=1.0)
    drawn = [(measured, min(predicted, FAR * most)) for measured, predicted in points]
    high = extent((part for point in drawn for part in point), floor=0.0)[1]
    x, y = Scale(0.0, high, LEFT, PLOT), Scale(0.0, high, PLOT - 46, 30.0)
    parts = [
        *y_axis(y, LEFT, PLOT, "predicted, seconds"),
        *x_axis(x, PLOT - 46, "measured, seconds"),
        line(x(0), y(0), x(high), y(high), "diagonal"),
    ]
    for one in series:
        hints = one.hints or [one.name] * len(one.points)
        for (measured, predicted), hint in zip(one.points, hints, strict=True):
            parts.append(mark(x(measured), y(min(predicted, FAR * most)), one.style, hint))
    for row, one in enumerate(series):
        at = 40.0 + ROW * row
        parts += [mark(PLOT + 26, at - 4, one.style), label(PLOT + 38, at, one.name, "job")]
    cut = sum(1 for _, predicted in points if predicted > FAR * most)
    if cut:
        parts.append(label(PLOT + 20, 44.0 + ROW * len(series), f"{cut} lie above the border", "note"))
    height = max(PLOT, 80.0 + ROW * len(series))
    description = f"{len(points)} predictions; on the diagonal they equal what was measured."
    return _with_style(svg(PLOT + LEGEND, height, title, description, parts))


def _with_style(drawing: str) -> str:
    """The same with the style sheet of the report inside, so that it stands alone."""
    style = files("kubesprint.adapters.files").joinpath("templates", "style.css").read_text(encoding="utf-8")
    head, rest = drawing.split("<title>", 1)
    return f"{head}<style>{style}svg{{background:var(--card)}}</style><title>{rest}"
