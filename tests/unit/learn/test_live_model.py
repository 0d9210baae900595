"""A model file in a run: a factor where it knows the job, else a reason and the white box."""

from functools import cache
from pathlib import Path

import pytest

from engine_bench import measured, queued, running
from greybox_bed import Q2, Nature, bed
from kubesprint.apps.live_model import load_live_model
from kubesprint.core.allocation import Allocation
from kubesprint.core.errors import Refused
from kubesprint.core.forecast import Forecaster
from kubesprint.learn.learning import fit_job
from kubesprint.learn.model_file import write_model
from kubesprint.learn.serving import GreyModel
from kubesprint.learn.whitebox import fit_white_box
from storyboards import view

BASE, SPRINT = Allocation(0.6), Allocation(2.0)


@cache
def text(*, with_job: bool = True) -> str:
    data = bed(Nature(serial_tail=0.4), train=10, test=1, kinds=["kind2", "kind6"], seed=8, mechanisms=(Q2,))
    white = fit_white_box(data.training)
    job, _ = fit_job(data.training, white)
    assert job is not None
    return write_model(GreyModel(white=white, job=job if with_job else None))


def test_a_late_sprint_is_forecast_slower_than_a_whole_one(tmp_path: Path) -> None:
    """The last two fifths of these jobs gain nothing from a second core."""
    file = tmp_path / "grey-box.json"
    file.write_text(text(), encoding="utf-8")
    live = load_live_model(file, BASE, SPRINT)
    assert live.warning is None
    profiles = {"kind2": measured("kind2", work=10.0, rate=2.4), "new": measured("new")}
    forecaster = Forecaster(profiles, BASE, SPRINT, live.learned)
    seen = forecaster.forecast(
        view(
            queued("whole", kind="kind2"),
            running("late", kind="kind2", cpu=7.5),
            queued("stranger", kind="new"),
        )
    )
    assert seen["whole"].learned == pytest.approx(1.0, abs=0.15)
    assert seen["late"].learned < 0.8
    assert seen["late"].rate < seen["whole"].rate
    assert seen["late"].rate >= 1.0
    assert seen["stranger"].learned == 1.0


@pytest.mark.parametrize(
    ("content", "base", "why"),
    [
        (lambda: text()[:-40], BASE, "damaged"),
        (lambda: "", BASE, "damaged"),
        (text, Allocation(0.4), "other allocations (cores: 0.6 to 2) than 0.4 to 2"),
        (text, Allocation(0.6, 1.5), "other allocations"),
        (lambda: text(with_job=False), BASE, "no part that was learned per job"),
    ],
)
def test_a_model_that_cannot_be_used_is_named_and_the_white_box_answers(  # type: ignore[no-untyped-def]
    tmp_path: Path, content, base: Allocation, why: str
) -> None:
    file = tmp_path / "grey-box.json"
    file.write_text(content(), encoding="utf-8")
    live = load_live_model(file, base, SPRINT)
    assert live.learned is None
    assert live.warning is not None
    assert str(file) in live.warning
    assert why in live.warning
    assert "the measured profiles answer alone" in live.warning


def test_a_model_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot be read"):
        load_live_model(tmp_path / "none.json", BASE, SPRINT)
