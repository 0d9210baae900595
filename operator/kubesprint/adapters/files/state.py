"""The state folder: where it is, and what it remembers of budgets."""

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from kubesprint.adapters.files.durable import replace_whole, try_write
from kubesprint.core.budget import Bucket
from kubesprint.core.errors import Refused, Unavailable
from kubesprint.core.units import CoreSeconds

SYSTEM_FOLDER = Path("/var/lib/kubesprint")


def choose_folder(given: Path | None, *, user: int, environment: Mapping[str, str], home: Path) -> Path:
    """`--state-dir` if given; else /var/lib/kubesprint as root, else the XDG state folder of the user."""
    if given is not None:
        return given
    if user == 0:
        return SYSTEM_FOLDER
    base = environment.get("XDG_STATE_HOME", "")
    # a relative path is to be ignored, says the XDG base directory specification
    return (Path(base) if base.startswith("/") else home / ".local" / "state") / "kubesprint"


_ADVICE = "choose another with --state-dir"


def check_folder(folder: Path) -> None:
    """See, without changing anything, that `prepare_folder` has a chance. Raises `Refused`."""
    nearest = folder.absolute()
    try:
        while not nearest.exists():
            nearest = nearest.parent
    except OSError as error:
        raise Refused(f"state folder {folder} cannot be reached ({error.strerror}): {_ADVICE}") from error
    if not nearest.is_dir():
        raise Refused(f"state folder {folder} cannot be made ({nearest} is not a folder): {_ADVICE}")
    if not os.access(nearest, os.R_OK | os.W_OK | os.X_OK):
        raise Refused(f"state folder {folder} is not writable by user {os.geteuid()}: {_ADVICE}")


def prepare_folder(folder: Path) -> Path:
    """Make the folder (0700) if it is missing, and see that it can be written.

    Raises:
        Refused: it cannot be made or written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"state folder {folder} cannot be made ({error.strerror}): {_ADVICE}") from error
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise Refused(f"state folder {folder} is not writable by user {os.getuid()}: {_ADVICE}")
    try:
        try_write(folder / "state", 4096)
    except Unavailable as error:
        raise Refused(f"state folder {folder} is not writable ({error}): {_ADVICE}") from error
    return folder


class Levels:
    """The budget level of every policy, in `budgets/KEY.json`, so that a restart is not a full bucket."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "budgets"

    def load_level(self, policy_key: str) -> tuple[CoreSeconds, float] | None:
        """The level last saved, and when (seconds since 1970); None: never, or not readable."""
        try:
            document = json.loads(self._path(policy_key).read_text(encoding="utf-8"))
            level, saved = float(document["level_core_seconds"]), float(document["saved_unix_seconds"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return (CoreSeconds(level), saved) if abs(level) < float("inf") and saved >= 0 else None

    def save(self, policy_key: str, level: CoreSeconds, wall: float) -> None:
        """Keep a level. `wall` is seconds since 1970. Raises `Unavailable`.

        Not synced to disk: a decision must not wait for a disk (some 6 ms), and what was renamed outlives
        every process that is killed. A crash of the whole machine may bring back an older level, or none.
        """
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise Unavailable(f"{self._folder} cannot be made: {error.strerror}") from error
        document = {"policy": policy_key, "level_core_seconds": level, "saved_unix_seconds": wall}
        replace_whole(self._path(policy_key), json.dumps(document) + "\n")

    def _path(self, policy_key: str) -> Path:
        safe = re.sub(r"[^A-Za-z0-9-]", lambda match: f"_{ord(match.group()):x}_", policy_key)
        return self._folder / f"{safe}.json"


class FilePurse:
    """The engine's purse: saves the free level of one policy's bucket.

    Reserved leases count as spent: whoever starts after a crash cannot spend them again.
    """

    def __init__(self, levels: Levels, policy_key: str, wall: Callable[[], float]) -> None:
        self._levels = levels
        self._policy_key = policy_key
        self._wall = wall

    def save(self, bucket: Bucket) -> None:
        """Keep the level across a kill. Raises `Unavailable`."""
        self._levels.save(self._policy_key, bucket.level, self._wall())
