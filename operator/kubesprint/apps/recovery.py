"""Putting back what a dead run left, from its journal alone: for `restore`, the next run, and a keeper."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kubesprint.adapters.files.journal import open_journal
from kubesprint.adapters.files.lock import RESTORE, RunLock, StillRestoring, take_lock
from kubesprint.adapters.linux.hardware import hardware_for_restore
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.adapters.system import SystemClock
from kubesprint.core.units import Seconds
from kubesprint.engine.keeper_hand import place
from kubesprint.engine.keeper_restore import put_back

WAIT_FOR_KEEPER = Seconds(30.0)
"""How long a keeper that still restores is waited for: it needs some tenths of a second."""

_POLL = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What a restore did, in lines for people; nothing at all if there was nothing to do."""

    run: str | None = None  # whose journal it was
    put_back: Sequence[str] = ()
    left: Sequence[str] = ()
    failed: Sequence[str] = ()  # still in the journal
    note: str = ""  # what became of a journal of an earlier boot


def recover(folder: Path, *, root: Path = Path("/")) -> Recovery:
    """Put back what the journal in `folder` names. The caller holds the lock of `folder`.

    Raises:
        Corrupt: the journal is damaged; it was set aside, and the message names the file.
        Unavailable: the journal cannot be read, or cleared.
    """
    journal = open_journal(folder, run="", root=root)
    found = journal.found()
    if not found:
        journal.clear()
        return Recovery(note=journal.note)
    run = journal.run
    hardware = hardware_for_restore(PseudoFs(str(root)), found)
    result = put_back(SystemClock(), hardware, journal)
    return Recovery(
        run=run,
        put_back=[f"{place(address)} = {found[address] or 'empty'}" for address in result.put_back],
        left=result.left,
        failed=[f"{place(address)}: {why}" for address, why in result.failed.items()],
        note=journal.note,
    )


def restore_from_journal(
    folder: Path,
    *,
    root: Path = Path("/"),
    wait: Seconds = WAIT_FOR_KEEPER,
    lock: RunLock | None = None,
    say: Callable[[str], None] = lambda text: None,  # noqa: ARG005
) -> Recovery:
    """Put back what a dead run left. Idempotent: the second time there is nothing to do.

    Args:
        folder: the state folder; one that does not exist holds nothing to put back.
        root: below which /sys and /proc are found.
        wait: for a keeper that still restores, before giving up.
        lock: of `folder`, if the caller holds it already.
        say: told in one line what is waited for.

    Raises:
        Refused: a live run holds the lock.
        Corrupt, Unavailable: as `recover`.
    """
    if lock is not None:
        return recover(folder, root=root)
    if not folder.is_dir():
        return Recovery()
    with wait_for_lock(folder, RESTORE, wait, say):
        return recover(folder, root=root)


def wait_for_lock(
    folder: Path,
    run: str,
    wait: Seconds = WAIT_FOR_KEEPER,
    say: Callable[[str], None] = lambda text: None,  # noqa: ARG005
) -> RunLock:
    """The lock of `folder`; a keeper that still restores is waited for, a live run is not.

    Args:
        folder: the state folder.
        run: who takes the lock.
        wait: how long to wait at most.
        say: told in one line what is waited for, once.

    Raises:
        Refused: a live run holds the lock, or the wait was in vain.
        Unavailable: as `take_lock`.
    """
    deadline = time.monotonic() + wait
    said = False
    while True:
        try:
            return take_lock(folder, run)
        except StillRestoring as error:
            if time.monotonic() >= deadline:
                raise
            if not said:
                say(f"waiting {wait:g} s at most: {error}")
                said = True
        time.sleep(_POLL)
