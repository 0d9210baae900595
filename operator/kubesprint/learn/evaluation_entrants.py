"""Every predictor that `kubesprint evaluate` compares, by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kubesprint.core.errors import Refused, Unavailable
from kubesprint.core.events import simulate_servers
from kubesprint.core.simulation import QueueSimulator
from kubesprint.learn.baselines import Belief, Simulated
from kubesprint.learn.baselines_direct import BOOSTING, FOREST, MLP, NEIGHBOURS, Direct, Learner
from kubesprint.learn.baselines_formula import Formula
from kubesprint.learn.predictor import Predictor


@dataclass(frozen=True, slots=True)
class Entrant:
    """One predictor, unmade."""

    about: str
    make: Callable[[], Predictor]


def entrants(simulator: QueueSimulator = simulate_servers) -> Mapping[str, Entrant]:
    """All of them, the model first, then by how much they know of queues."""
    return _grey_boxes(simulator) | _simulated(simulator) | _learners()


def needs_many_simulations(names: Sequence[str]) -> bool:
    """Whether any of these predictors (all, if there is no name) is worth loading a fast simulator for."""
    return not names or any(name.startswith("grey-box") for name in names)


def _grey_boxes(simulator: QueueSimulator) -> dict[str, Entrant]:
    about = {
        "grey-box": "the model of kubesprint",
        "grey-box-without-forest": "the same with nothing learned",
        "grey-box-per-setting": "the same with one learned rate a setting, whether it helps or not",
        "grey-box-per-job": "the same with a rate learned from each job, whether it helps or not",
    }
    return {name: Entrant(words, _grey_box(name, simulator)) for name, words in about.items()}


def _grey_box(name: str, simulator: QueueSimulator) -> Callable[[], Predictor]:
    def make() -> Predictor:
        try:
            from kubesprint.learn.greybox import grey_boxes
        except ImportError as error:
            raise Unavailable(
                f"{name} needs numpy and scikit-learn: pip install 'kubesprint[learn]', "
                "or name another predictor with --predictor"
            ) from error
        return grey_boxes(simulator)[name][1]()

    return make


def _simulated(simulator: QueueSimulator) -> dict[str, Entrant]:
    return {
        "marginal": Entrant(
            "simulated queue, each kind's measured speed-up, nothing learned",
            lambda: Simulated("marginal", Belief.MEASURED, simulator=simulator),
        ),
        "marginal-refreshed": Entrant(
            "the same, with the work of each kind averaged over the training jobs, too",
            lambda: Simulated("marginal-refreshed", Belief.MEASURED, refreshed=True, simulator=simulator),
        ),
        "nominal": Entrant(
            "simulated queue, a sprint is as fast as the ratio of the allocations",
            lambda: Simulated("nominal", Belief.NOMINAL, simulator=simulator),
        ),
        "no-sprint": Entrant(
            "simulated queue, sprints ignored",
            lambda: Simulated("no-sprint", Belief.NOTHING, simulator=simulator),
        ),
        "formula": Entrant("M/G/1 type: Kingman's wait, two-speed service", Formula),
    }


def _learners() -> dict[str, Entrant]:
    words = (
        (MLP, "neural network"),
        (BOOSTING, "gradient boosting"),
        (FOREST, "random forest"),
        (NEIGHBOURS, "mean of the nearest training runs"),
    )
    found: dict[str, Entrant] = {}
    for with_trace, inputs in ((False, "on settings"), (True, "on settings and a summary of the trace")):
        for learner, word in words:
            name = f"{learner.name}-trace" if with_trace else learner.name
            found[name] = Entrant(f"{word} {inputs}", _maker(learner, with_trace=with_trace))
    return found


def _maker(learner: Learner, *, with_trace: bool) -> Callable[[], Predictor]:
    return lambda: Direct(learner, with_trace=with_trace)


def chosen(
    names: Sequence[str], simulator: QueueSimulator = simulate_servers
) -> list[Callable[[], Predictor]]:
    """Makers of the predictors of these names, in their order; of all, if no name is given.

    Raises:
        Refused: a name that there is not.
    """
    known = entrants(simulator)
    for name in names:
        if name not in known:
            raise Refused(f"--predictor {name}: choose {', '.join(known)}")
    return [known[name].make for name in dict.fromkeys(names or known)]
