"""What a model file promises: the same answers after a restart, or a name for what is wrong."""

import json
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greybox_bed import Nature, bed
from kubesprint.adapters.files.sealed import load_sealed, save_sealed
from kubesprint.core.errors import Corrupt, Unavailable
from kubesprint.core.sealed import seal, unseal
from kubesprint.learn.course import plain_simulator
from kubesprint.learn.learning import fit_job, fit_setting
from kubesprint.learn.model_file import SCHEMA, document_of, model_of, read_model, write_model
from kubesprint.learn.predictor import View, case_of
from kubesprint.learn.serving import GreyModel
from kubesprint.learn.whitebox import fit_white_box

DATA = bed(Nature(), train=6, test=2, kinds=["kind0", "kind4"], seed=9)


@cache
def model() -> GreyModel:
    white = fit_white_box(DATA.training)
    setting, _ = fit_setting(DATA.training, white, plain_simulator)
    job, _ = fit_job(DATA.training, white)
    assert setting is not None
    assert job is not None
    return GreyModel(white=white, setting=setting, job=job)


def test_a_model_answers_exactly_the_same_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "models" / "grey-box.json"
    save_sealed(path, SCHEMA, document_of(model()))
    again = model_of(load_sealed(path, SCHEMA).body)
    for run in DATA.scored:
        for view in View:
            case = case_of(run, view)
            assert again.predict(case) == model().predict(case)
    assert document_of(read_model(write_model(model()))) == document_of(model())


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda text: text[: len(text) // 2], "not a whole document"),
        (lambda text: text.replace('"work_error":', '"work_error":1'), "hash"),
        (lambda text: text.replace("grey-box/1", "grey-box/7"), "schema"),
        (lambda text: "[]", "not a whole document"),
        (lambda text: "", "not a whole document"),
        (lambda text: "[" * 100_000, "not a whole document"),
    ],
)
def test_a_damaged_file_is_named_set_aside_and_not_used(tmp_path: Path, change, why: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "grey-box.json"
    damaged = change(write_model(model()))
    path.write_text(damaged, encoding="utf-8")
    loaded = load_sealed(path, SCHEMA)
    assert loaded.body is None
    assert loaded.trouble is not None
    assert why in loaded.trouble
    assert str(path) in loaded.trouble
    assert not path.exists()
    assert loaded.set_aside is not None
    assert loaded.set_aside.read_text(encoding="utf-8") == damaged


def test_damaged_files_are_kept_beside_each_other(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    for number in (1, 2):
        path.write_bytes(b"\xff\xfe")
        assert load_sealed(path, "s").set_aside == tmp_path / f"state.json.damaged-{number}"


def test_no_file_is_no_trouble_and_an_unwritable_place_is_unavailable(tmp_path: Path) -> None:
    loaded = load_sealed(tmp_path / "none.json", "s")
    assert (loaded.body, loaded.trouble) == (None, None)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(Unavailable, match="file"):
        save_sealed(tmp_path / "file" / "state.json", "s", {})


def test_a_sealed_document_that_is_no_model_is_corrupt() -> None:
    document = document_of(model())
    for key in document:
        broken = {name: value for name, value in document.items() if name != key}
        with pytest.raises(Corrupt, match="model"):
            read_model(seal(SCHEMA, broken))
    document["job"]["forest"]["names"] = ["a", "b", "c", "d", "e"]
    with pytest.raises(Corrupt, match="other features"):
        read_model(seal(SCHEMA, document))


@given(st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
))  # fmt: skip
def test_what_is_sealed_comes_back_as_it_is(body: object) -> None:
    assert unseal("s", seal("s", body)) == body


@given(st.data())
def test_one_changed_digit_is_noticed(data: st.DataObject) -> None:
    text = seal("s", {"level": 0.125, "kinds": [3, 4, 5]})
    place = data.draw(st.sampled_from([i for i, c in enumerate(text) if c.isdigit()]))
    other = data.draw(st.sampled_from([digit for digit in "0123456789" if digit != text[place]]))
    changed = text[:place] + other + text[place + 1 :]
    with pytest.raises(Corrupt):
        unseal("s", changed)


def test_a_number_that_is_not_finite_is_never_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        seal("s", {"level": float("nan")})
    assert json.loads(seal("s", [0.1]))["body"] == [0.1]
