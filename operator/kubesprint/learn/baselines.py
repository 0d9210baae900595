"""Predictors that simulate the queue and learn nothing: they differ in what they believe of a sprint.

A simulation gets the arrivals and kinds of the run. A size that a view tells is the CPU time that was
measured, with the sprint in it: what the sprint made of it is taken out by the predictor's own model,
at the share of each job that the predictor's own simulation sprints.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import Enum

from kubesprint.core.dataset import Dataset
from kubesprint.core.events import simulate_servers
from kubesprint.core.simulation import Outcome, Present, QueueSimulator, SimJob
from kubesprint.core.units import FOREVER, Seconds
from kubesprint.learn.baselines_rates import KindRates, RateTable, nominal_speedup, read_rates
from kubesprint.learn.predictor import ALL_VIEWS, Case, Prediction, View, prediction_of

ROUNDS = 12
"""At most so many simulations to find sizes that agree with the sprints which they lead to."""

SETTLED = 1e-6
"""Relative change of the sizes below which they agree."""


class Belief(Enum):
    """What a simulated sprint does."""

    MEASURED = "each kind's measured speed-up"
    NOMINAL = "the ratio of the allocations"
    NOTHING = "nothing: jobs never sprint"


class Simulated:
    """The queue, the budget, and one speed-up a kind.

    Args:
        name: as in the answer of `kubesprint evaluate`.
        belief: what a sprint does.
        refreshed: whether the work of a kind is also averaged over the jobs of the training runs.
        simulator: what simulates the queue.
    """

    views = ALL_VIEWS

    def __init__(
        self,
        name: str,
        belief: Belief,
        *,
        refreshed: bool = False,
        simulator: QueueSimulator = simulate_servers,
    ) -> None:
        self.name = name
        self._belief = belief
        self._refreshed = refreshed
        self._simulator = simulator
        self._table: RateTable | None = None

    def fit(self, training: Dataset) -> None:
        """Read the speeds and the work of each kind."""
        self._table = read_rates(training, refreshed=self._refreshed)

    @property
    def card(self) -> Mapping[str, object]:
        """What it believes."""
        known = self._table.known if self._table else {}
        doubts = {
            f"{mechanism}/{kind}": rates.doubt(sprints=self._belief is Belief.MEASURED)
            for (mechanism, kind), rates in known.items()
        }
        return {
            "sprint": self._belief.value,
            "work": "profile and training jobs" if self._refreshed else "profile, else training jobs",
            "guessed": {where: why for where, why in doubts.items() if why},
        }

    def predict(self, case: Case) -> Prediction:
        """Simulate the run."""
        if self._table is None:
            raise ValueError(f"{self.name} was not fitted")
        kinds = {kind: self._believed(self._table.of(case.mechanism, kind), case) for kind in set(case.kinds)}
        sprints = self._belief is Belief.MEASURED and case.rules.timeout < FOREVER
        notes = sorted({doubt for rates in kinds.values() if (doubt := rates.doubt(sprints=sprints))})
        responses = simulate_case(
            case,
            [kinds[kind] for kind in case.kinds],
            self._simulator,
            sprints=self._belief is not Belief.NOTHING,
        )
        return prediction_of(responses, trusted=not notes, notes=notes)

    def _believed(self, rates: KindRates, case: Case) -> KindRates:
        if self._belief is Belief.MEASURED:
            return rates
        return replace(rates, inflation=1.0, speedup=nominal_speedup(case.mechanism))


def simulate_case(
    case: Case, rates: Sequence[KindRates], simulator: QueueSimulator, *, sprints: bool = True
) -> list[float]:
    """The response time of each job, with one `KindRates` a job."""
    rules = case.rules if sprints else replace(case.rules, timeout=FOREVER)
    works = [one.work for one in rates]
    outcomes: Sequence[Outcome] = ()
    for _ in range(ROUNDS):
        jobs = [
            SimJob(arrival=arrival, work=Seconds(work / one.base_rate), rate=one.speedup)
            for arrival, work, one in zip(case.arrivals, works, rates, strict=True)
        ]
        outcomes = simulator(jobs, rules, case.servers, Present())
        shares = [_share(job, outcome) for job, outcome in zip(jobs, outcomes, strict=True)]
        agreed = agreed_sizes(case, rates, shares)
        change = max(abs(new - old) / old for new, old in zip(agreed, works, strict=True))
        if change <= SETTLED:
            break
        works = agreed
    return [outcome.end - arrival for arrival, outcome in zip(case.arrivals, outcomes, strict=True)]


def _share(job: SimJob, outcome: Outcome) -> float:
    """The share of a job's work that was done in a sprint."""
    return min(1.0, outcome.sprint * job.rate / job.work) if job.work > 0 else 0.0


def agreed_sizes(case: Case, rates: Sequence[KindRates], shares: Sequence[float]) -> list[float]:
    """CPU seconds at base of each job, as the view tells them, if these shares of the work are sprinted."""
    costs = [1.0 + share * (one.inflation - 1.0) for share, one in zip(shares, rates, strict=True)]
    if case.view is View.KNOWN_SIZES and case.cpu is not None:
        return [cpu / cost for cpu, cost in zip(case.cpu, costs, strict=True)]
    works = [one.work for one in rates]
    if case.view is View.DRIFT_NORMALISED and case.total_cpu is not None:
        expected = sum(work * cost for work, cost in zip(works, costs, strict=True))
        return [work * case.total_cpu / expected for work in works]
    return works
