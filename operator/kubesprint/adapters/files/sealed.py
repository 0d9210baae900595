"""Sealed documents on disk: written whole, read back whole, set aside when damaged."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubesprint.adapters.files.durable import replace_whole
from kubesprint.core.errors import Corrupt, Unavailable
from kubesprint.core.sealed import seal, unseal

COPIES = 100
"""At most so many damaged files are kept beside each other; the last name is then used again."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a file held. `body` is None where there is none, or none that can be used."""

    body: Any
    set_aside: Path | None = None  # where the damaged file is now
    trouble: str | None = None  # one line for the user; None: nothing is wrong


def load_sealed(path: Path, schema: str) -> Loaded:
    """Read a sealed document. One that is damaged is renamed, never overwritten and never guessed at."""
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return Loaded(None)
    except OSError as error:
        return Loaded(None, trouble=f"{path} cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        return set_aside(path, "it is not text")
    try:
        return Loaded(unseal(schema, text))
    except Corrupt as error:
        return set_aside(path, str(error))


def set_aside(path: Path, why: str) -> Loaded:
    """Rename a damaged file, so that it can be looked at and is not read again."""
    names = (path.with_name(f"{path.name}.damaged-{number}") for number in range(1, COPIES + 1))
    target = next(
        (name for name in names if not name.exists()), path.with_name(f"{path.name}.damaged-{COPIES}")
    )
    try:
        path.rename(target)
    except OSError as error:
        return Loaded(None, trouble=f"{path} is damaged ({why}) and cannot be renamed: {error.strerror}")
    return Loaded(None, target, f"{path} is damaged ({why}); it is now {target.name}, and is not used")


def save_sealed(path: Path, schema: str, body: Any) -> None:
    """Write a body of JSON values, whole or not at all. Raises `Unavailable`."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"{path.parent} cannot be made: {error.strerror}") from error
    replace_whole(path, seal(schema, body))
