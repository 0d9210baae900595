"""Every predictor that `kubesprint evaluate` compares, by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kubesprint.core.errors import Refused
from kubesprint.learn.baselines import Belief, Simulated
from kubesprint.learn.baselines_direct import BOOSTING, FOREST, MLP, NEIGHBOURS, Direct, Learner
from kubesprint.learn.baselines_formula import Formula
from kubesprint.learn.predictor import Predictor


@dataclass(frozen=True, slots=True)
class Entrant:
    """One predictor, unmade."""

    about: str
    make: Callable[[], Predictor]


def entrants() -> Mapping[str, Entrant]:
    """All of them, the model first, then by how much they know of queues."""
    known = {
        "marginal": Entrant(
            "simulated queue, each kind's measured speed-up, nothing learned",
            lambda: Simulated("marginal", Belief.MEASURED),
        ),
        "marginal-refreshed": Entrant(
            "the same, with the work of each kind averaged over the training jobs, too",
            lambda: Simulated("marginal-refreshed", Belief.MEASURED, refreshed=True),
        ),
        "nominal": Entrant(
            "simulated queue, a sprint is as fast as the ratio of the allocations",
            lambda: Simulated("nominal", Belief.NOMINAL),
        ),
        "no-sprint": Entrant(
            "simulated queue, sprints ignored", lambda: Simulated("no-sprint", Belief.NOTHING)
        ),
        "formula": Entrant("M/G/1 type: Kingman's wait, two-speed service", Formula),
    }
    return known | _learners()


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


def chosen(names: list[str]) -> list[Callable[[], Predictor]]:
    """Makers of the predictors of these names, in their order; of all, if no name is given.

    Raises:
        Refused: a name that there is not.
    """
    known = entrants()
    for name in names:
        if name not in known:
            raise Refused(f"--predictor {name}: choose {', '.join(known)}")
    return [known[name].make for name in dict.fromkeys(names or known)]
