"""A kernel in memory: files with the real rules, processes, faults on demand; only `sleep` moves time.

It answers the same few system calls as the real one (`kubesprint.adapters.linux` says which), and raises
`OSError` as that would. The rules of control groups are in `scripted_cgroups`, those of clocks in
`scripted_cpufreq`.
"""

import errno
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

SELF = 1000
"""The process that the code under test believes to be."""


def fail(code: int, path: str) -> OSError:
    """The error that the kernel would raise."""
    return OSError(code, os.strerror(code), path)


@dataclass(slots=True)
class Faults:
    """What goes wrong. All off by default."""

    writes: Mapping[int, int] = field(default_factory=dict)  # n-th write (from 1) -> errno
    read_only: tuple[str, ...] = ()  # folders mounted read-only
    forbidden: tuple[str, ...] = ()  # folders in which this user may not write
    after_write: Callable[[str, str], None] | None = None  # another writer: sees each write once it is done


@dataclass(slots=True)
class Process:
    """A living process."""

    pid: int
    parent: int = 1
    session: int = 0
    start: int = 100
    environ: Mapping[str, str] = field(default_factory=dict)
    threads: dict[int, frozenset[int]] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)  # hierarchy's mount point -> folder of its group
    ticks: int = 0

    def stat(self) -> str:
        """`/proc/PID/stat`, as far as anybody reads it."""
        head = f"{self.pid} (a job) x) S {self.parent} {self.session} {self.session} 0 -1 0 0 0 0 0"
        return f"{head} {self.ticks} 0 0 0 20 0 {len(self.threads)} 0 {self.start} 0 0\n"


@dataclass(slots=True)
class File:
    """One file: a fixed text, or what its functions say."""

    text: str = ""
    show: Callable[[], str] | None = None
    store: Callable[[str], None] | None = None  # None: read-only for everybody


class ScriptedFs:
    """Folders, files, processes and time."""

    def __init__(self, *, cpus: int = 4, user: int = 0) -> None:
        self.now = 0.0
        self.faults = Faults()
        self.written: list[tuple[str, str]] = []
        self.files: dict[str, File] = {}
        self.dirs: set[str] = {"/proc", "/proc/self"}
        self.processes: dict[int, Process] = {}
        self.makers: dict[str, Callable[[str], None]] = {}  # below this folder, mkdir is a kernel's business
        self.removers: dict[str, Callable[[str], None]] = {}
        self.marked: set[str] = set()  # delegated by systemd
        self.cpus = frozenset(range(cpus))
        self._user = user
        self._writes = 0
        self.spawn(SELF)

    def spawn(self, pid: int, *, parent: int = 1, session: int = 0, **environ: str) -> Process:
        """A process with one thread on all CPUs, in the groups of its parent."""
        above = self.processes.get(parent)
        process = Process(pid, parent, session or pid, 100 + pid, environ)
        process.threads = {pid: self.cpus if above is None else next(iter(above.threads.values()))}
        process.groups = {} if above is None else dict(above.groups)
        self.processes[pid] = process
        return process

    def put(self, path: str, text: str, store: Callable[[str], None] | None = None) -> None:
        """A file and the folders above it."""
        self.files[path] = File(text=text, store=store)
        folder = path.rpartition("/")[0]
        while folder and folder not in self.dirs:
            self.dirs.add(folder)
            folder = folder.rpartition("/")[0]

    def tree(self) -> dict[str, str]:
        """Every file that has a fixed place and every folder; what a restore must bring back."""
        shown = {path: self._show(file) for path, file in self.files.items() if not path.startswith("/proc")}
        return shown | {folder: "" for folder in self.dirs if folder.startswith("/sys")}

    # the system calls

    def read(self, path: str) -> str:
        """The whole text."""
        if path.startswith("/proc/") and path.split("/")[2].isdigit():
            return self._proc(path)
        if path not in self.files:
            raise fail(errno.EISDIR if path in self.dirs else errno.ENOENT, path)
        return self._show(self.files[path])

    def write(self, path: str, text: str) -> None:
        """One value."""
        self._writes += 1
        if self._writes in self.faults.writes:
            raise fail(self.faults.writes[self._writes], path)
        if path.startswith(self.faults.read_only or ("\0",)):
            raise fail(errno.EROFS, path)
        if path not in self.files:
            raise fail(errno.ENOENT, path)
        store = self.files[path].store
        if store is None or not self.writable(path):
            raise fail(errno.EACCES, path)
        store(text.rstrip("\n"))
        self.written.append((path, text))
        if self.faults.after_write is not None:
            self.faults.after_write(path, text)

    def listdir(self, path: str) -> Sequence[str]:
        """Names."""
        if path == "/proc":
            return [str(pid) for pid in self.processes]
        if path.endswith("/task"):
            return [str(thread) for thread in self._process(path).threads]
        if path not in self.dirs:
            raise fail(errno.ENOENT, path)
        inside = [name[len(path) + 1 :] for name in (*self.files, *self.dirs) if name.startswith(path + "/")]
        return sorted({name.split("/")[0] for name in inside})

    def isdir(self, path: str) -> bool:
        """A folder is there."""
        return path in self.dirs

    def exists(self, path: str) -> bool:
        """A file or a folder is there."""
        return path in self.dirs or path in self.files

    def mkdir(self, path: str) -> None:
        """A folder, with what the kernel puts into it."""
        if path in self.dirs:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        parent = path.rpartition("/")[0]
        if parent not in self.dirs:
            raise fail(errno.ENOENT, path)
        if parent.startswith(self.faults.read_only or ("\0",)):
            raise fail(errno.EROFS, path)
        if not self.writable(parent):
            raise fail(errno.EACCES, path)
        self.dirs.add(path)
        for point, make in self.makers.items():
            if path.startswith(point + "/"):
                make(path)

    def rmdir(self, path: str) -> None:
        """Gone, with the kernel's files in it."""
        if path not in self.dirs:
            raise fail(errno.ENOENT, path)
        if any(folder.startswith(path + "/") for folder in self.dirs):
            raise fail(errno.EBUSY, path)
        for point, check in self.removers.items():
            if path.startswith(point + "/"):
                check(path)
        self.dirs.remove(path)
        self.files = {name: file for name, file in self.files.items() if not name.startswith(path + "/")}

    def writable(self, path: str) -> bool:
        """By mount and by mode."""
        return not path.startswith((*self.faults.read_only, *self.faults.forbidden) or ("\0",))

    def delegated(self, path: str) -> bool:
        """As marked."""
        return path in self.marked

    def affinity(self, thread: int) -> frozenset[int]:
        """Of a thread, or of `SELF`."""
        return self._thread(thread).threads[thread or SELF]

    def set_affinity(self, thread: int, cpus: Iterable[int]) -> None:
        """Only CPUs that exist count; none is an error."""
        mask = frozenset(cpus) & self.cpus
        if not mask:
            raise fail(errno.EINVAL, f"thread {thread}")
        self._thread(thread).threads[thread or SELF] = mask

    def uid(self) -> int:
        """As told."""
        return self._user

    def sleep(self, seconds: float) -> None:
        """Time passes, nothing else."""
        self.now += seconds

    def _show(self, file: File) -> str:
        return file.text if file.show is None else file.show()

    def _thread(self, thread: int) -> Process:
        for process in self.processes.values():
            if (thread or SELF) in process.threads:
                return process
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH), str(thread))

    def _process(self, path: str) -> Process:
        process = self.processes.get(int(path.split("/")[2]))
        if process is None:
            raise fail(errno.ENOENT, path)
        return process

    def _proc(self, path: str) -> str:
        process = self._process(path)
        if path.endswith("/stat"):
            return process.stat()
        if path.endswith("/environ"):
            return "\0".join(f"{key}={value}" for key, value in process.environ.items()) + "\0"
        raise fail(errno.ENOENT, path)
