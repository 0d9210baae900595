"""The compiled simulator, loaded: the only door to this package.

It needs the extra `learn` (numba). Compiling takes some seconds, once for each version, machine and
user: the result is kept in a cache folder, from which a later process loads it in well under a second.
So this is called before the first job starts, never while jobs run.
"""

import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kubesprint.core.batch import Evaluator
from kubesprint.core.errors import Unavailable
from kubesprint.core.simulation import QueueSimulator
from kubesprint.core.units import Seconds

if TYPE_CHECKING:
    from kubesprint.learn.simulator.planning import Serve

CACHE_VARIABLE = "KUBESPRINT_CACHE_DIR"
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """The simulator, ready."""

    evaluator: Evaluator  # for searches while jobs run
    planner: Evaluator  # for planning: may compile something more when it is first asked
    simulate: QueueSimulator
    took: Seconds  # to import, and to load or compile
    was_cached: bool
    cache: Path | None  # None: nothing is kept, the next process compiles again
    note: str | None  # why nothing is kept


def cache_folder(environment: Mapping[str, str], home: Path) -> Path:
    """`$KUBESPRINT_CACHE_DIR`, or `kubesprint` below the user's cache folder."""
    if given := environment.get(CACHE_VARIABLE):
        return Path(given)
    base = environment.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else home / ".cache") / "kubesprint"


def compiled(cache: Path) -> Compiled:
    """Load the compiled simulator from `cache`, or compile it and keep it there if that can be written.

    Raises:
        Unavailable: there is no compiler, or it does not work here; the reason is one line.
    """
    begun = time.perf_counter()
    try:
        with _no_threads():
            from kubesprint.learn.simulator import batch_kernels, compiler, evaluator, planning
    except ImportError as error:
        raise Unavailable(
            f"the compiled simulator needs the extra `learn` (pip install 'kubesprint[learn]'): {error}"
        ) from error
    kept, note = _usable(cache)
    try:
        with _no_threads():  # the compiler imports more of them
            was_cached = compiler.build(batch_kernels.evaluate, batch_kernels.EVALUATE, kept)
    except Exception as error:  # whatever a compiler may raise: there is a plain path
        raise Unavailable(f"the simulator cannot be compiled here: {_first_line(error)}") from error
    live = evaluator.batch_evaluator(batch_kernels.evaluate)
    return Compiled(
        evaluator=live,
        planner=planning.planning_evaluator(lambda: lanes(kept), live),
        simulate=evaluator.queue_simulator(batch_kernels.evaluate),
        took=Seconds(time.perf_counter() - begun),
        was_cached=was_cached,
        cache=kept,
        note=note,
    )


def lanes(cache: Path | None, *, single: bool = False) -> "Serve":
    """The recursion of one server in lanes, compiled on demand; in plain numpy where it cannot be.

    Args:
        cache: `Compiled.cache`.
        single: in single precision, for `planning.means`.
    """
    from kubesprint.learn.simulator import lanes_numpy

    try:
        with _no_threads():
            from kubesprint.learn.simulator import compiler, lane_kernels

            kernel = lane_kernels.serve_single if single else lane_kernels.serve
            compiler.build(kernel, lane_kernels.SINGLE if single else lane_kernels.DOUBLE, cache)
    except Exception:  # there is a way without a compiler, and it gives the same answers
        return lanes_numpy.serve
    return kernel


def holds_something(cache: Path) -> bool:
    """Whether compiled code is kept there already, if only of another version."""
    return any(cache.glob("*/*.nbi"))


def why_not(folder: Path, user: int) -> str | None:
    """Why compiled code may not be loaded from a folder: whoever can write there decides what we execute."""
    facts = folder.stat()
    if facts.st_uid not in (user, 0):
        return f"{folder} belongs to another user"
    if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"{folder} can be written by others"
    return None


def _usable(cache: Path) -> tuple[Path | None, str | None]:
    """The cache folder, made if need be; or None, and why."""
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        reason = why_not(cache, os.geteuid())
    except OSError as error:
        reason = f"{cache}: {error.strerror}"
    return (cache, None) if reason is None else (None, reason)


@contextmanager
def _no_threads() -> Iterator[None]:
    """Numeric libraries start a pool of threads when they are imported; nothing here uses one.

    The variables are put back at once, because jobs inherit the environment.
    """
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
