"""The journal: what was found before the first write, so that any later process can put it back.

One JSON file in the state folder, replaced whole at every record:

    {"schema": 1, "run": "...", "boot": "<boot id>",
     "found": [{"knob": "slot0", "name": "cpu.max", "value": "max"}]}

The order of `found` is the order of recording; a restore goes backwards. Control groups, affinities
and clock limits do not survive a boot, so a journal of an earlier boot is set aside, not applied.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from kubesprint.adapters.files.durable import remove_durably, replace_durably, try_write
from kubesprint.core.errors import Corrupt, Unavailable
from kubesprint.engine.ports import Address

SCHEMA = 1
NAME = "journal.json"
_BOOT_ID = "proc/sys/kernel/random/boot_id"
_PROBE_MARGIN = 4096  # bytes beyond the present size: room for some more entries


def boot_id(root: Path) -> str:
    """The kernel's name for this boot, from `/proc/sys/kernel/random/boot_id`; empty where there is none."""
    try:
        return (root / _BOOT_ID).read_text(encoding="ascii").strip()
    except OSError:
        return ""


class FileJournal:
    """The journal of one state folder, opened by `open_journal`."""

    def __init__(
        self,
        path: Path,
        *,
        run: str,
        boot: str,
        found: Mapping[Address, str],
        note: str = "",
        next_run: str | None = None,
    ) -> None:
        self._path = path
        self._run = run
        self._boot = boot
        self._found = dict(found)
        self._next_run = run if next_run is None else next_run
        self.note = note
        """What became of an older journal; empty: nothing to say."""

    @property
    def run(self) -> str:
        """The run that recorded, or will record, the entries."""
        return self._run

    def record(self, found: Mapping[Address, str]) -> None:
        """Add what is not there yet; on disk when this returns. Raises `Unavailable`."""
        entries = dict(self._found)
        for address, value in found.items():
            entries.setdefault(address, value)
        if entries == self._found:
            return
        replace_durably(self._path, _encode(self._run, self._boot, entries))
        self._found = entries

    def probe(self) -> None:
        """Raise `Unavailable` if a further record could not be written now."""
        try_write(self._path, len(_encode(self._run, self._boot, self._found)) + _PROBE_MARGIN)

    def found(self) -> Mapping[Address, str]:
        """Everything recorded and not cleared, in the order of recording."""
        return MappingProxyType(self._found)

    def clear(self) -> None:
        """Remove the file: everything was put back."""
        if self._found or self._path.exists():
            remove_durably(self._path)
        self._found = {}
        self._run = self._next_run


def open_journal(folder: Path, *, run: str, root: Path = Path("/")) -> FileJournal:
    """The journal in `folder`, with what an earlier run of this boot left in it.

    Args:
        folder: the state folder, which exists.
        run: the run that will record; entries that are there keep theirs.
        root: where `/proc` is found.

    Raises:
        Corrupt: the file cannot be understood; it was renamed, and the message names it.
        Unavailable: it cannot be read, or set aside.
    """
    path = folder / NAME
    boot = boot_id(root)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return FileJournal(path, run=run, boot=boot, found={})
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _corrupt(path, "it is not text") from error
    try:
        old_run, old_boot, found = _decode(text)
    except (ValueError, KeyError, TypeError) as error:
        raise _corrupt(path, str(error)) from error
    if old_boot != boot:
        aside = _set_aside(path, "earlier-boot")
        note = (
            f"the journal of run {old_run} is of an earlier boot; what it held ended with that boot"
            f" (kept as {aside})"
        )
        return FileJournal(path, run=run, boot=boot, found={}, note=note)
    return FileJournal(path, run=old_run if found else run, boot=boot, found=found, next_run=run)


def _encode(run: str, boot: str, found: Mapping[Address, str]) -> str:
    entries = [{"knob": a.knob, "name": a.name, "value": value} for a, value in found.items()]
    return json.dumps({"schema": SCHEMA, "run": run, "boot": boot, "found": entries}, indent=1) + "\n"


def _decode(text: str) -> tuple[str, str, dict[Address, str]]:
    """Run, boot and entries. Raises ValueError, KeyError or TypeError for anything else than we write."""
    document: Any = json.loads(text)
    if document["schema"] != SCHEMA:
        raise ValueError(f"schema {document['schema']} is not {SCHEMA}")
    found = {Address(_text(e, "knob"), _text(e, "name")): _text(e, "value") for e in document["found"]}
    return _text(document, "run"), _text(document, "boot"), found


def _text(entry: Any, key: str) -> str:
    value = entry[key]
    if not isinstance(value, str):
        raise TypeError(f"{key} is {value!r}, not a text")
    return value


def _corrupt(path: Path, why: str) -> Corrupt:
    aside = _set_aside(path, "corrupt")
    return Corrupt(
        f"the journal could not be understood ({why}); it is kept as {aside}, nothing was put back"
    )


def _set_aside(path: Path, label: str) -> Path:
    """Rename to the first free `journal.json.<label>-N`."""
    number = 1
    while (aside := path.with_name(f"{path.name}.{label}-{number}")).exists():
        number += 1
    try:
        return path.rename(aside)
    except OSError as error:
        raise Unavailable(f"{path} cannot be set aside: {error.strerror}") from error
