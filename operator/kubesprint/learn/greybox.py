"""The grey box as a predictor: physics measured, the rest learned, and only where that helps."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from kubesprint.core.dataset import Dataset
from kubesprint.core.simulation import QueueSimulator
from kubesprint.learn.card import card_of
from kubesprint.learn.course import plain_simulator
from kubesprint.learn.learning import Learned, Part, Study
from kubesprint.learn.predictor import ALL_VIEWS, Case, Prediction, Predictor


class Studies:
    """The last training set that was studied, so that several models need not each begin anew."""

    def __init__(self, simulator: QueueSimulator = plain_simulator) -> None:
        self._simulator = simulator
        self._last: Study | None = None

    def of(self, training: Dataset) -> Study:
        """The study of a training set."""
        if self._last is None or self._last.training is not training:
            self._last = Study(training, self._simulator)
        return self._last


class GreyBox:
    """The queue simulated with measured work, speeds and drift, corrected by a forest where it helps.

    Args:
        name: as in the answer of `kubesprint evaluate`.
        part: what is learned, whether it helps or not; None: what cross-validation by run says.
        simulator: what simulates the queue.
        studies: remembers what others found out about the same training set.
    """

    views = ALL_VIEWS

    def __init__(
        self,
        name: str = "grey-box",
        part: Part | None = None,
        *,
        simulator: QueueSimulator = plain_simulator,
        studies: "Studies | None" = None,
    ) -> None:
        self.name = name
        self._part = part
        self._studies = studies or Studies(simulator)
        self._learned: Learned | None = None

    def fit(self, training: Dataset) -> None:
        """Fit the white box, and the learned part if it helps."""
        self._learned = self._studies.of(training).learn(self._part)

    @property
    def learned(self) -> Learned:
        """The fitted model. Raises `ValueError` before `fit`."""
        if self._learned is None:
            raise ValueError(f"{self.name} was not fitted")
        return self._learned

    def predict(self, case: Case) -> Prediction:
        """Mean and p95 of a run, with intervals of the mean."""
        return self.learned.model.predict(case)

    @property
    def card(self) -> Mapping[str, object]:
        """What was fitted, what was dropped and why."""
        return {} if self._learned is None else card_of(self._learned)


GREY_BOXES: Mapping[str, tuple[str, Part | None]] = MappingProxyType(
    {
        "grey-box": ("simulated queue, measured work, speeds and drift, a forest where it helps", None),
        "grey-box-without-forest": ("the same without any forest", Part.NOTHING),
        "grey-box-per-setting": ("the same with the effective rate learned by setting", Part.SETTING),
        "grey-box-per-job": ("the same with the speed of sprints learned by job", Part.JOB),
    }
)
"""What `kubesprint evaluate` compares: the product first, then its ablations."""


def grey_boxes(
    simulator: QueueSimulator = plain_simulator,
) -> dict[str, tuple[str, Callable[[], Predictor]]]:
    """Makers of all grey boxes, by name, each with what it is. They share what they find out."""
    studies = Studies(simulator)
    return {name: (about, _maker(name, part, studies)) for name, (about, part) in GREY_BOXES.items()}


def _maker(name: str, part: Part | None, studies: Studies) -> Callable[[], Predictor]:
    return lambda: GreyBox(name, part, studies=studies)
