"""The journal on disk: durable, ordered, never overwritten, never guessed."""

import json
import os
from pathlib import Path

import pytest

from kubesprint.adapters.files.journal import FileJournal, open_journal
from kubesprint.core.errors import Corrupt, Unavailable
from kubesprint.engine.ports import Address

A, B, C = Address("slot-0", "group"), Address("slot-0", "quota"), Address("host", "controllers")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    boot(tmp_path, "boot-1")
    return tmp_path


def boot(root: Path, name: str) -> None:
    path = root / "proc/sys/kernel/random/boot_id"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{name}\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "state"
    path.mkdir()
    return path


def reopened(folder: Path, root: Path, run: str = "r2") -> FileJournal:
    return open_journal(folder, run=run, root=root)


def test_what_is_recorded_is_there_for_the_next_process_in_order(folder: Path, root: Path):
    journal = open_journal(folder, run="r1", root=root)
    journal.record({C: ""})
    journal.record({A: "absent", B: "-1"})

    again = reopened(folder, root)

    assert list(again.found().items()) == [(C, ""), (A, "absent"), (B, "-1")]
    assert again.run == "r1"


def test_an_entry_is_never_overwritten(folder: Path, root: Path):
    journal = open_journal(folder, run="r1", root=root)
    journal.record({B: "-1"})
    journal.record({B: "40000", A: "absent"})
    assert dict(reopened(folder, root).found()) == {B: "-1", A: "absent"}


def test_a_cleared_journal_leaves_no_file_and_belongs_to_the_next_run(folder: Path, root: Path):
    open_journal(folder, run="r1", root=root).record({B: "-1"})
    journal = reopened(folder, root)
    journal.clear()
    journal.clear()
    assert list(folder.iterdir()) == []
    assert (journal.run, dict(journal.found())) == ("r2", {})


def test_it_is_on_disk_before_record_returns(folder: Path, root: Path, monkeypatch: pytest.MonkeyPatch):
    order: list[str] = []
    fsync, rename = os.fsync, os.rename
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append("fsync"), fsync(fd))[1])
    monkeypatch.setattr(os, "rename", lambda a, b: (order.append("rename"), rename(a, b))[1])
    open_journal(folder, run="r1", root=root).record({B: "-1"})
    assert order == ["fsync", "rename", "fsync"]  # the file, its name, the folder


def test_a_full_disk_is_unavailable_and_loses_nothing(
    folder: Path, root: Path, monkeypatch: pytest.MonkeyPatch
):
    journal = open_journal(folder, run="r1", root=root)
    journal.record({B: "-1"})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(Unavailable, match=r"journal\.json cannot be written: No space left"):
            journal.record({A: "absent"})
    assert dict(journal.found()) == dict(reopened(folder, root).found()) == {B: "-1"}
    journal.record({A: "absent"})
    assert dict(reopened(folder, root).found()) == {B: "-1", A: "absent"}


def test_a_folder_that_takes_no_file_is_noticed_by_the_probe():
    journal = FileJournal(Path("/dev/full/journal.json"), run="r", boot="b", found={})
    with pytest.raises(Unavailable):
        journal.probe()


def test_the_probe_leaves_nothing_behind(folder: Path, root: Path):
    open_journal(folder, run="r1", root=root).probe()
    assert list(folder.iterdir()) == []


def test_a_journal_of_an_earlier_boot_is_set_aside_with_a_note(folder: Path, root: Path):
    open_journal(folder, run="r1", root=root).record({B: "-1"})
    boot(root, "boot-2")

    journal = reopened(folder, root)

    assert dict(journal.found()) == {}
    assert "run r1 is of an earlier boot" in journal.note
    assert (folder / "journal.json.earlier-boot-1").exists()
    assert not (folder / "journal.json").exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"schema": 2}',
        b"\xff\xfe",
        json.dumps({"schema": 1, "run": "r", "boot": "boot-1", "found": [{"knob": "a", "name": "b"}]}),
        json.dumps(
            {"schema": 1, "run": "r", "boot": "boot-1", "found": [{"knob": 1, "name": "", "value": ""}]}
        ),
    ],
)
def test_a_damaged_journal_is_set_aside_and_named_never_guessed(folder: Path, root: Path, text: str | bytes):
    data = text if isinstance(text, bytes) else text.encode()
    (folder / "journal.json").write_bytes(data)
    (folder / "journal.json.corrupt-1").write_text("an older one")

    with pytest.raises(Corrupt, match=r"journal\.json\.corrupt-2"):
        reopened(folder, root)

    assert (folder / "journal.json.corrupt-2").read_bytes() == data
    assert dict(reopened(folder, root).found()) == {}


def test_only_the_owner_can_read_it(folder: Path, root: Path):
    open_journal(folder, run="r1", root=root).record({B: "-1"})
    assert (folder / "journal.json").stat().st_mode & 0o777 == 0o600
