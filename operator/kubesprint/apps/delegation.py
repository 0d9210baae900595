"""Under systemd: start again in a scope of our own, which systemd leaves to us to divide.

systemd lets nobody else make groups below what it manages. A scope with `Delegate=yes` is ours; `systemd-run`
makes one and becomes the program that it is given, so that the process, its terminal and its exit code stay
what they were.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextvars import ContextVar

from kubesprint.adapters.linux import cgroup, cgroup_v2
from kubesprint.adapters.linux.pseudofs import PseudoFs

TRIED = "KUBESPRINT_SCOPE"
"""In the environment of a program that was started again: once is enough. Taken out before any job starts."""

_PATIENCE = 10.0  # seconds for systemd to make a scope


class Program:
    """A program that may be replaced by itself, once."""

    def __init__(self) -> None:
        self.tried = os.environ.pop(TRIED, None) is not None

    def start_again(self, prefix: Sequence[str]) -> None:
        """Become the same program behind a prefix. Raises `OSError`; does not return."""
        sys.stdout.flush()
        sys.stderr.flush()
        os.environ[TRIED] = "1"
        # -P: the user's folder holds no modules of ours
        command = [*prefix, sys.executable, "-P", "-m", "kubesprint", *sys.argv[1:]]
        os.execvp(command[0], command)  # noqa: S606 (no shell on purpose)


PROGRAM: ContextVar[Program | None] = ContextVar("PROGRAM", default=None)
"""Set by the command line where it is a program; whoever calls it as a library is never replaced."""


def enter_scope(mechanism: str, fs: PseudoFs | None = None) -> None:
    """Where systemd's leave is needed to make groups, and can be had: start again in a delegated scope.

    Returns where there is nothing to gain; then what follows finds the machine as it is, and refuses if that
    will not do. Only a program that was started as such is ever replaced.
    """
    program = PROGRAM.get()
    if program is None or program.tried or mechanism == "affinity":
        return
    program.tried = True
    fs = fs or PseudoFs()
    view = cgroup.discover(fs)
    ways = [cgroup_v2.delegation_prefix(fs, view, f"{name}-{os.getpid()}") for name in ("try", "run")]
    if ways[0] is not None and ways[1] is not None and _works(ways[0]):
        program.start_again(ways[1])


def _works(prefix: Sequence[str]) -> bool:
    """Whether systemd makes such a scope for us: no bus or no right shows only here."""
    try:
        done = subprocess.run(
            [*prefix, "true"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
