"""The compiler, and where its results are kept from one process to the next.

A kernel is marked when its module is imported; that costs nothing and touches no disk. `build` compiles
it for one signature, or loads what an earlier process compiled from the cache folder.
"""

import hashlib
import os
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core import caching

from kubesprint import __version__

BROKEN = (
    OSError,
    EOFError,
    ImportError,
    pickle.UnpicklingError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
)
"""What reading a cache may raise that was cut short, or written by something else."""

_Function = TypeVar("_Function", bound=Callable[..., Any])


def kernel(function: _Function) -> _Function:
    """Mark a function to be compiled. It may call other kernels, and is called like the function."""
    return cast(_Function, numba.njit(function, error_model="numpy"))


def inlined(function: _Function) -> _Function:
    """Mark a small kernel that other kernels call often: its body takes the place of the call.

    An array is seven or more arguments to a call, which cost more than what such a kernel does.
    """
    return cast(_Function, numba.njit(function, error_model="numpy", forceinline=True))


def lanes(function: _Function) -> _Function:
    """Mark a kernel of independent lanes, where the compiler may reorder sums to fill vector registers."""
    return cast(_Function, numba.njit(function, error_model="numpy", fastmath={"contract", "nnan", "nsz"}))


def build(function: Callable[..., Any], signature: str, cache: Path | None) -> bool:
    """Compile a kernel for one signature, or load it. Returns whether it was loaded.

    Args:
        function: marked by `kernel` or `lanes`.
        signature: as numba writes it.
        cache: the folder for results; None: nothing is kept. One that cannot be written is only read.
    """
    dispatcher = cast(Any, function)
    if dispatcher.signatures:  # by this process, a while ago
        return True
    if cache is not None:
        dispatcher._cache = _cache_in(cache, dispatcher.py_func)  # noqa: SLF001  numba has no public way
    dispatcher.compile(signature)
    dispatcher.disable_compile()
    return bool(dispatcher.stats.cache_hits)


def _stamp() -> str:
    """Of the source of all kernels: one that is compiled holds those that it calls."""
    whole = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        whole.update(file.read_bytes())
    return whole.hexdigest()


def _cache_in(folder: Path, function: Callable[..., Any]) -> Any:
    place = str(folder / f"kernels-{__version__}")

    class Locator(caching._SourceFileBackedLocatorMixin, caching._CacheLocator):  # noqa: SLF001
        """One folder, the same wherever this package is installed."""

        def __init__(self, py_func: Any, py_file: str) -> None:
            self._py_file = py_file
            self._lineno = py_func.__code__.co_firstlineno

        def ensure_cache_path(self) -> None:
            os.makedirs(place, mode=0o700, exist_ok=True)  # noqa: PTH103

        def get_source_stamp(self) -> str:
            return _stamp()

        def get_cache_path(self) -> str:
            return place

    class Impl(caching.CompileResultCacheImpl):
        _locator_classes = [Locator]  # noqa: RUF012

    class Cache(caching.FunctionCache):
        """Never why a program fails: what is unreadable is compiled, what is unwritable is not kept."""

        _impl_class = Impl

        def load_overload(self, signature: Any, target: Any) -> Any:
            try:
                return cast(Any, super()).load_overload(signature, target)
            except BROKEN:
                with suppress(OSError):
                    cast(Any, self).flush()
                return None

        def save_overload(self, signature: Any, data: Any) -> None:
            with suppress(OSError):
                cast(Any, super()).save_overload(signature, data)

    return cast(Any, Cache)(function)
