"""The drawing of predicted against measured stands alone and hides no outlier."""

import xml.etree.ElementTree as ElementTree

from kubesprint.adapters.files.charts import Series
from kubesprint.adapters.files.prediction_chart import FAR, prediction_chart

MARK = "{http://www.w3.org/2000/svg}"


def test_every_prediction_is_a_mark_and_the_file_is_one_drawing_with_its_colours() -> None:
    series = [
        Series(name="good & <true>", points=[(1.0, 1.1), (2.0, 1.9)], style=0),
        Series(name="wild", points=[(1.0, 1e6), (2.0, 2.0)], style=1, hints=["far", "near"]),
    ]
    drawing = prediction_chart("Predicted against measured", series)
    root = ElementTree.fromstring(drawing)
    shapes = [one for one in root.iter() if "mark" in one.get("class", "").split()]
    assert len(shapes) == 4 + 2  # and one a series in the legend
    assert "var(--s0)" in (root.findtext(f"{MARK}style") or "")
    assert "1 lie above the border" in drawing
    assert "good &amp; &lt;true&gt;" in drawing


def test_without_outliers_nothing_is_said_of_a_border() -> None:
    drawing = prediction_chart("t", [Series(name="a", points=[(1.0, FAR * 0.99)], style=0)])
    assert "above the border" not in drawing
