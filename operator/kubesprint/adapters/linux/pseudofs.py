"""Files that are really the kernel: one value a read, one value a write, and errors that say what to do.

`Kernel` is the handful of system calls that the adapters use; it raises `OSError`. `PseudoFs` turns those
into `Refused` (will never work as it stands), `Gone` (not there any more) and `Unavailable` (not now).
`RealKernel` takes a root folder, so the same code runs on `/`, below `/host` in a container, and on a
captured tree.
"""

import errno
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from kubesprint.core.errors import Gone, Refused, SprintError, Unavailable

_LATER = frozenset({errno.EBUSY, errno.EAGAIN, errno.EINTR, errno.ENOMEM, errno.EIO})
_GONE = frozenset({errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ESRCH})
_ABSENT = frozenset({errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.EOPNOTSUPP, errno.ENOTDIR, errno.ESRCH})
_CHUNK = 1 << 16


class Kernel(Protocol):
    """System calls on paths below some root. All raise `OSError` as the kernel does."""

    def read(self, path: str) -> str:
        """The whole text."""
        ...

    def write(self, path: str, text: str) -> None:
        """Exactly one write(2) of a file that exists."""
        ...

    def listdir(self, path: str) -> Sequence[str]:
        """Names, in no order."""
        ...

    def isdir(self, path: str) -> bool:
        """False where there is nothing, too."""
        ...

    def exists(self, path: str) -> bool:
        """A file or a folder is there."""
        ...

    def mkdir(self, path: str) -> None:
        """One folder; its parent exists."""
        ...

    def rmdir(self, path: str) -> None:
        """One folder that holds no folder (a control group always holds files)."""
        ...

    def writable(self, path: str) -> bool:
        """May this process write there, by mode and by mount? (access(2))"""
        ...

    def delegated(self, path: str) -> bool:
        """Has systemd marked this control group as handed over (extended attribute `delegate`)?"""
        ...

    def affinity(self, thread: int) -> frozenset[int]:
        """CPUs on which a thread may run; 0 is the caller."""
        ...

    def set_affinity(self, thread: int, cpus: Iterable[int]) -> None:
        """Confine one thread."""
        ...

    def uid(self) -> int:
        """Effective user."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let the kernel get on with it."""
        ...


class RealKernel:
    """The machine itself, or a tree of its files below `root`."""

    def __init__(self, root: str = "/") -> None:
        self._root = root.rstrip("/")

    def read(self, path: str) -> str:
        file = os.open(self._root + path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            parts = [os.read(file, _CHUNK)]
            while parts[
                -1
            ]:  # sequence files (mountinfo, cgroup.procs) end a read at a page, not at their end
                parts.append(os.read(file, _CHUNK))
        finally:
            os.close(file)
        return b"".join(parts).decode("utf-8", "surrogateescape")

    def write(self, path: str, text: str) -> None:
        # No O_TRUNC and no O_CREAT: each write(2) is one complete value, and a file that is gone stays gone.
        file = os.open(self._root + path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(file, text.encode())
        finally:
            os.close(file)

    def listdir(self, path: str) -> Sequence[str]:
        with os.scandir(self._root + path) as entries:
            return [entry.name for entry in entries]

    def isdir(self, path: str) -> bool:
        return Path(self._root + path).is_dir()

    def exists(self, path: str) -> bool:
        return Path(self._root + path).exists()

    def mkdir(self, path: str) -> None:
        Path(self._root + path).mkdir(0o755)

    def rmdir(self, path: str) -> None:
        Path(self._root + path).rmdir()

    def writable(self, path: str) -> bool:
        return os.access(self._root + path, os.W_OK, effective_ids=True)

    def delegated(self, path: str) -> bool:
        for name in ("user.delegate", "trusted.delegate"):
            try:
                if os.getxattr(self._root + path, name) == b"1":
                    return True
            except OSError:  # not set, or not supported by this file system: not delegated
                continue
        return False

    def affinity(self, thread: int) -> frozenset[int]:
        return frozenset(os.sched_getaffinity(thread))

    def set_affinity(self, thread: int, cpus: Iterable[int]) -> None:
        os.sched_setaffinity(thread, cpus)

    def uid(self) -> int:
        return os.geteuid()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def _advice(code: int | None, path: str) -> str:
    """What the reader can do about an error on `path`."""
    mount = "/".join(path.split("/")[:4])
    match code:
        case errno.EACCES | errno.EPERM:
            return f"no permission: run as root, or in a control group that is delegated to you ({mount})"
        case errno.EROFS:
            return f"{mount} is mounted read-only: mount it read-write (in a container: a privileged one)"
        case errno.ENOENT | errno.ENODEV | errno.ENXIO:
            return "the kernel does not offer it here, or it has gone"
        case errno.EINVAL | errno.ERANGE | errno.ENOSPC:
            return "the kernel does not take this value here"
        case errno.EOPNOTSUPP:
            return "not supported by this kernel or in this control group"
        case errno.EBUSY | errno.EAGAIN:
            return "busy: try again"
    return "unexpected"


def translate(error: OSError, path: str, what: str) -> SprintError:
    """`Unavailable` for what may pass, `Gone`, or `Refused`; the message names path, cause and remedy."""
    name = errno.errorcode.get(error.errno or 0, "error")
    message = f"{what} {path}: {name} ({_advice(error.errno, path)})"
    if error.errno in _GONE:
        return Gone(message)
    return Unavailable(message) if error.errno in _LATER else Refused(message)


class PseudoFs:
    """Kernel files with the errors of kubesprint."""

    def __init__(self, kernel: Kernel | str = "/") -> None:
        self.kernel: Kernel = RealKernel(kernel) if isinstance(kernel, str) else kernel

    def read(self, path: str) -> str:
        """The text without its last line break. Raises `Refused` or `Unavailable`."""
        try:
            return self.kernel.read(path).rstrip("\n")
        except OSError as error:
            raise translate(error, path, "cannot read") from error

    def optional(self, path: str) -> str | None:
        """The text, or None where this kernel has no such thing or does not show it to us."""
        try:
            return self.kernel.read(path).rstrip("\n")
        except OSError as error:
            if error.errno in _ABSENT or error.errno in (
                errno.EACCES,
                errno.EPERM,
                errno.EINVAL,
                errno.EBUSY,
            ):
                return None
            raise translate(error, path, "cannot read") from error

    def write(self, path: str, text: str) -> None:
        """One value. Raises `Refused` or `Unavailable`; success says nothing about the result."""
        try:
            self.kernel.write(path, text)
        except OSError as error:
            raise translate(error, path, f"cannot write '{text}' to") from error

    def folders(self, path: str) -> Sequence[str]:
        """Names of the folders in a folder, sorted; empty where it does not exist."""
        try:
            names = self.kernel.listdir(path)
        except OSError as error:
            if error.errno in _ABSENT:
                return ()
            raise translate(error, path, "cannot list") from error
        return sorted(name for name in names if self.kernel.isdir(f"{path}/{name}"))

    def mkdir(self, path: str) -> None:
        """A folder; it may exist already."""
        try:
            self.kernel.mkdir(path)
        except FileExistsError:
            return
        except OSError as error:
            raise translate(error, path, "cannot create") from error
