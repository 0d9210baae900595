"""Files that are either the old ones or the new ones, whatever happens in between."""

import os
from contextlib import suppress
from pathlib import Path

from kubesprint.core.errors import Unavailable


def replace_durably(path: Path, text: str) -> None:
    """Put `text` at `path`, whole or not at all, and return when it is on disk.

    Raises:
        Unavailable: the disk is full, read-only or not ours; the old file is untouched.
    """
    _replace(path, text, sync=True)


def replace_whole(path: Path, text: str) -> None:
    """Put `text` at `path`, whole or not at all, without waiting for the disk.

    It survives the death of every process, but not that of the machine. Raises as `replace_durably`.
    """
    _replace(path, text, sync=False)


def _replace(path: Path, text: str, *, sync: bool) -> None:
    temporary = path.with_name(f".{path.name}.new")
    try:
        _write(temporary, text, sync=sync)
        os.rename(temporary, path)  # noqa: PTH104 (the system call that is meant)
        if sync:
            sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise Unavailable(f"{path} cannot be written: {error.strerror}") from error


def try_write(path: Path, size: int) -> None:
    """Write `size` bytes beside `path` and remove them. Raises `Unavailable` if that fails."""
    temporary = path.with_name(f".{path.name}.probe")
    try:
        try:
            temporary.write_bytes(b" " * size)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()
    except OSError as error:
        raise Unavailable(f"{path} cannot be written: {error.strerror}") from error


def remove_durably(path: Path) -> None:
    """Remove `path`; it is gone from the disk on return, or was never there. Raises `Unavailable`."""
    try:
        path.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise Unavailable(f"{path} cannot be removed: {error.strerror}") from error


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(path: Path, text: str, *, sync: bool) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        if sync:
            os.fsync(file.fileno())
