"""The state folder and the levels of budgets."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesprint.adapters.files.state import FilePurse, Levels, check_folder, choose_folder, prepare_folder
from kubesprint.core.budget import Budget, full
from kubesprint.core.errors import Refused, Unavailable
from kubesprint.core.units import Cores, CoreSeconds, Seconds

HOME = Path("/home/ada")


@pytest.mark.parametrize(
    ("given_folder", "user", "environment", "expected"),
    [
        (Path("/x"), 0, {}, "/x"),
        (None, 0, {"XDG_STATE_HOME": "/y"}, "/var/lib/kubesprint"),
        (None, 1000, {"XDG_STATE_HOME": "/y"}, "/y/kubesprint"),
        (None, 1000, {"XDG_STATE_HOME": "relative"}, "/home/ada/.local/state/kubesprint"),
        (None, 1000, {}, "/home/ada/.local/state/kubesprint"),
    ],
)
def test_where_the_state_folder_is(given_folder, user, environment, expected):
    assert str(choose_folder(given_folder, user=user, environment=environment, home=HOME)) == expected


def test_a_new_state_folder_is_private(tmp_path: Path):
    folder = prepare_folder(tmp_path / "a" / "b")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert list(folder.iterdir()) == []


def test_a_state_folder_that_cannot_be_made_is_refused_with_advice(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match=r"file/x cannot be made .*--state-dir"):
        prepare_folder(tmp_path / "file" / "x")


def test_a_state_folder_that_takes_no_file_is_refused():
    with pytest.raises(Refused, match="not writable"):
        prepare_folder(Path("/proc/self"))


def test_a_level_survives(tmp_path: Path):
    Levels(tmp_path).save("demo/night", CoreSeconds(12.5), 1000.0)
    assert Levels(tmp_path).load_level("demo/night") == (12.5, 1000.0)
    assert Levels(tmp_path).load_level("another") is None


@given(keys=st.lists(st.text(min_size=1, max_size=20), min_size=2, max_size=2, unique=True))
def test_two_policies_never_share_a_level(tmp_path_factory: pytest.TempPathFactory, keys: list[str]):
    levels = Levels(tmp_path_factory.mktemp("levels"))
    for value, key in enumerate(keys):
        levels.save(key, CoreSeconds(value), 0.0)
    assert [levels.load_level(key) for key in keys] == [(0.0, 0.0), (1.0, 0.0)]


@pytest.mark.parametrize("text", ["", "{}", '{"level_core_seconds": "x"}', '{"level_core_seconds": NaN}'])
def test_a_damaged_level_is_no_level(tmp_path: Path, text: str):
    levels = Levels(tmp_path)
    levels.save("p", CoreSeconds(1.0), 1.0)
    next((tmp_path / "budgets").iterdir()).write_text(text)
    assert levels.load_level("p") is None


def test_the_purse_saves_what_is_not_reserved(tmp_path: Path):
    bucket = full(Budget(capacity=CoreSeconds(10.0), refill=Cores(0.1)), Seconds(0.0))
    reserved = bucket.plan_leases({"g": Cores(0.6)}, Seconds(5.0))
    FilePurse(Levels(tmp_path), "p", lambda: 77.0).save(reserved)
    assert Levels(tmp_path).load_level("p") == (7.0, 77.0)


def test_a_level_that_cannot_be_saved_is_unavailable(tmp_path: Path):
    (tmp_path / "budgets").write_text("in the way")
    with pytest.raises(Unavailable, match="budgets"):
        Levels(tmp_path).save("p", CoreSeconds(1.0), 1.0)


def test_a_decision_does_not_wait_for_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fsync(descriptor: int) -> None:
        raise AssertionError("synced")

    monkeypatch.setattr("os.fsync", fsync)
    bucket = full(Budget(capacity=CoreSeconds(10.0), refill=Cores(0.1)), Seconds(0.0))
    FilePurse(Levels(tmp_path), "p", lambda: 1.0).save(bucket)
    FilePurse(Levels(tmp_path), "p", lambda: 2.0).save(bucket)
    assert Levels(tmp_path).load_level("p") == (10.0, 2.0)
    assert [path.name for path in (tmp_path / "budgets").iterdir()] == ["p.json"]  # nothing half written


def test_looking_at_a_state_folder_makes_nothing(tmp_path: Path):
    check_folder(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    for bad in (tmp_path / "file", tmp_path / "file" / "x"):
        with pytest.raises(Refused, match="--state-dir"):
            check_folder(bad)
