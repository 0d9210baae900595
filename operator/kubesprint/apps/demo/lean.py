"""Starts a training job sooner: packages that only pass names on are not run until a name is used.

Importing one scikit-learn estimator runs the `__init__` of every package on its way, among them
`scipy.stats`, which no estimator of the demo calls: 1.2 CPU seconds for a fit that takes half of
one. Here such an `__init__` waits for the first use of one of its names. The estimator, the data
and the fit are the same: the score is, bit by bit, that of a plain import (tested).
Not for threads: a package must not be used for the first time by two of them at once.
"""

import importlib
import importlib.util
import sys
from collections.abc import Collection, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class Later:
    """A name of a package that has not run yet: works as a function, a base class or an instance check."""

    def __init__(self, package: "LatePackage", name: str) -> None:
        self._package = package
        self._name = name

    def _real(self) -> Any:
        self._package.run()
        return vars(self._package)[self._name]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._real()(*args, **kwargs)

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[Any, ...]:
        return (self._real(),)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self._real())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what a copy or a signature probes for: not worth a package
            raise AttributeError(name)
        return getattr(self._real(), name)


class LatePackage(ModuleType):
    """A package whose modules can be imported at once and whose own `__init__` runs on demand."""

    def __init__(self, real: ModuleSpec) -> None:
        super().__init__(real.name)
        self._real_spec = real
        self._has_run = False

    def run(self) -> None:
        """Run the package's `__init__`, once."""
        if not self._has_run:
            self._has_run = True
            loader = self._real_spec.loader
            assert loader is not None  # a package found by the default finders has one
            loader.exec_module(self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        module = f"{self.__name__}.{name}"
        if importlib.util.find_spec(module) is not None:
            return importlib.import_module(module)
        if self._has_run:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return Later(self, name)


class _LateLoader(Loader):
    def __init__(self, real: ModuleSpec) -> None:
        self._real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return LatePackage(self._real)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing runs now: that is the point."""


class LateFinder(MetaPathFinder):
    """Gives the named packages as late ones, every other module as ever."""

    def __init__(self, packages: Collection[str]) -> None:
        self._waiting = set(packages)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The late form of the package; None: not ours, or not installed."""
        if fullname not in self._waiting:
            return None
        self._waiting.discard(fullname)  # so that the search below is for the real one
        real = importlib.util.find_spec(fullname)
        if real is None or real.submodule_search_locations is None:
            return None
        late = ModuleSpec(fullname, _LateLoader(real), origin=real.origin, is_package=True)
        late.submodule_search_locations = real.submodule_search_locations
        return late


def defer(packages: Collection[str]) -> None:
    """From now on, import these packages late. Those imported already stay as they are."""
    sys.meta_path.insert(0, LateFinder(packages))
