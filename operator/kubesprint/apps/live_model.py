"""The model file of a run: what it adds to the profiles, or why it adds nothing."""

from dataclasses import dataclass
from pathlib import Path

from kubesprint.core.allocation import Allocation
from kubesprint.core.errors import Corrupt, Refused
from kubesprint.core.forecast import Learned


@dataclass(frozen=True, slots=True)
class LiveModel:
    """A learned part for the forecasts of a run."""

    learned: Learned | None = None
    warning: str | None = None  # why there is none

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warning, if there is one."""
        return () if self.warning is None else (self.warning,)


def load_live_model(path: Path, base: Allocation, sprint: Allocation) -> LiveModel:
    """Read a model file. A damaged one is named and not used: then the measured profiles answer alone.

    Raises:
        Refused: the file cannot be read.
    """
    alone = "; the measured profiles answer alone"
    try:
        text = path.read_bytes().decode("utf-8", errors="replace")
    except OSError as error:
        raise Refused(
            f"--model {path} cannot be read: {error.strerror}; make one with kubesprint learn"
        ) from error
    try:
        from kubesprint.learn.live import LiveResidual, mechanism_of
        from kubesprint.learn.model_file import read_model
    except ImportError:
        return LiveModel(warning=f"--model {path} needs numpy (pip install 'kubesprint[learn]'){alone}")
    try:
        model = read_model(text)
    except Corrupt as error:
        return LiveModel(warning=f"--model {path} is damaged ({error}){alone}")
    mechanism = mechanism_of(model, base, sprint)
    if mechanism is None:
        seen = ", ".join(f"{m.base_cores:g} to {m.sprint_cores:g}" for m in model.white.mechanisms.values())
        return LiveModel(
            warning=f"--model {path} was fitted to other allocations (cores: {seen}) than "
            f"{base.cores:g} to {sprint.cores:g}{alone}"
        )
    if model.job is None:
        return LiveModel(warning=f"--model {path} has no part that was learned per job{alone}")
    return LiveModel(learned=LiveResidual(model, mechanism))
