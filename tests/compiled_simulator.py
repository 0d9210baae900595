"""The compiled simulator, loaded once for all tests of a process."""

import tempfile
from functools import cache
from pathlib import Path

from kubesprint.learn.simulator.loading import Compiled, compiled


@cache
def loaded() -> Compiled:
    """Compiled here and now, whatever caches there are."""
    with tempfile.TemporaryDirectory() as folder:
        return compiled(Path(folder))
