"""What a run has learnt of its jobs, kept in its folder, so that a resumed run need not learn it again."""

from collections.abc import Callable, Mapping
from pathlib import Path

from kubesprint.adapters.files.sealed import load_sealed, save_sealed, set_aside
from kubesprint.core.errors import Corrupt, Unavailable
from kubesprint.core.forecast import Estimate, Forecaster
from kubesprint.core.view import View

MODEL = "model.json"
SCHEMA = "kubesprint.dev/learnt/1"


class RememberingForecaster(Forecaster):
    """A forecaster that writes down what it has learnt whenever that is more than before."""

    _path: Path | None = None
    _kept = 0
    _troubled = False

    def remember_in(self, path: Path, warn: Callable[[str], None]) -> None:
        """Take over what is at `path`, if it is whole, and keep it up to date from now on.

        A damaged file is set aside and named; then the profiles answer, until jobs teach again.
        """
        self._path, self._warn = path, warn
        loaded = load_sealed(path, SCHEMA)
        trouble = loaded.trouble
        if loaded.body is not None:
            try:
                self.recall(loaded.body)
            except Corrupt as error:
                trouble = set_aside(path, str(error)).trouble
        if trouble is not None:
            warn(f"{trouble}: the measured profiles are used until jobs have taught more")
        self._kept = self.taught

    def forecast(self, view: View) -> Mapping[str, Estimate]:
        """Estimates for every job that is not over, by name."""
        estimates = super().forecast(view)
        if self._path is not None and self.taught != self._kept:
            self._kept = self.taught
            self._keep(self._path)
        return estimates

    def _keep(self, path: Path) -> None:
        try:
            save_sealed(path, SCHEMA, self.memory())
        except Unavailable as error:
            if not self._troubled:  # once: a full disk would say so at every job
                self._warn(f"what was learnt is not kept: {error}")
            self._troubled = True
