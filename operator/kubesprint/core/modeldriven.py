"""The model-driven strategy: the time-out that the simulator likes best, given where things stand.

Every choice simulates the jobs that run and queue now, then sampled future arrivals, under every
candidate time-out on the same samples; then it asks whether the jobs that run now should differ from
it (`improvement`). It is taken again when a job arrives or ends, or when the last one grows old.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from kubesprint.core.batch import Evaluator, Question
from kubesprint.core.budget import Budget
from kubesprint.core.forecast import Estimate, KindModel
from kubesprint.core.futures import ArrivalHistory, Dice, sample_futures
from kubesprint.core.improvement import Scene, improve
from kubesprint.core.policy import JobTrigger, Trigger
from kubesprint.core.search import NOTHING_TO_DO, SearchResult
from kubesprint.core.simulation import Present, SimJob, SprintRules, TriggerClock
from kubesprint.core.spec import Statistic
from kubesprint.core.units import FOREVER, Seconds
from kubesprint.core.view import View
from kubesprint.core.workload import JobView

NO_TRIGGERS: Mapping[str, JobTrigger] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """How much to look at for one choice."""

    scenarios: int = 8
    future_jobs: int = 24
    stale_after: Seconds = Seconds(2.0)
    statistic: Statistic = Statistic.MEAN
    clock: TriggerClock = TriggerClock.ARRIVAL


class ModelDriven:
    """Strategy `Auto`: search over time-outs with the simulator, conditioned on the present."""

    def __init__(
        self,
        evaluator: Evaluator,
        model: Callable[[str], KindModel],
        dice: Callable[[], Dice],
        settings: SearchSettings,
        announced: Sequence[SimJob] | None = None,
    ) -> None:
        """Wire a strategy.

        Args:
            evaluator: simulates many candidates on the same futures.
            model: the current model of a kind.
            dice: new dice for every choice; all candidates of one choice see the same samples.
            settings: scenarios and horizon.
            announced: the true future, for the clairvoyant bound in benchmarks only.
        """
        self._evaluator = evaluator
        self._model = model
        self._dice = dice
        self._settings = settings
        self._announced = announced
        self._last: Trigger | None = None
        self._result: SearchResult | None = None
        self._chosen_at = -FOREVER
        self._state: tuple[tuple[str, str], ...] = ()

    def choose(self, view: View, estimates: Mapping[str, Estimate], *, hurry: bool) -> Trigger:
        """The best choice now; the last one if nothing has happened since, or in a hurry.

        When jobs came or went, every time-out is searched; when only time has passed, the last best
        one is kept and only the choice for the running jobs is taken again.
        """
        state = tuple((job.name, job.state.value) for job in view.jobs)
        happened = state != self._state
        fresh = not happened and view.now - self._chosen_at < self._settings.stale_after
        if self._last is not None and (fresh or hurry):
            return self._last
        self._last = self._choose(view, estimates, again=happened)
        self._state, self._chosen_at = state, view.now
        return self._last

    def _choose(self, view: View, estimates: Mapping[str, Estimate], *, again: bool) -> Trigger:
        """First the best rule for everybody, then whether those that run now should differ from it."""
        present, futures = present_jobs(view, estimates), self._futures(view)
        scene = self._scene(view, present, futures)
        if scene is None:
            self._result, own = NOTHING_TO_DO, NO_TRIGGERS
        else:
            if again or self._result is None:
                self._result = scene.search()
            own = improve(view, scene, self._result)
        result = self._result
        name = self._settings.statistic.value.lower()
        sentence = (
            f"{len(result.curve)} time-outs simulated over {len(present)} jobs and {len(futures)} futures: "
            f"{_spoken(result)} gives the lowest {name} response, {result.value:.2f} s "
            f"(never sprinting: {result.curve[-1].value:.2f} s)."
        )
        return Trigger(
            after=result.timeout,
            clock=self._settings.clock,
            needs_trust=True,
            basis="WhiteBox",
            sentence=sentence,
            curve=[(point.timeout, point.value) for point in result.curve],
            own=own,
        )

    def _scene(
        self, view: View, present: Sequence[SimJob], futures: Sequence[Sequence[SimJob]]
    ) -> Scene | None:
        """None where there is no job, now or in any future."""
        scenarios = [jobs for future in futures if (jobs := [*present, *future])]
        if not scenarios:
            return None
        question = Question(
            scenarios=scenarios,
            rules=rules_of(view, self._settings.clock),
            servers=view.servers,
            present=Present(now=view.now, level=sprint_level(view)),
            statistic=self._settings.statistic,
        )
        return Scene(jobs=present, scenarios=scenarios, answers=self._evaluator(question))

    def _futures(self, view: View) -> list[list[SimJob]]:
        if self._announced is not None:
            return [[job for job in self._announced if job.arrival > view.now]]
        history = ArrivalHistory(
            instants=[job.arrival for job in view.jobs], kinds=[job.kind for job in view.jobs], now=view.now
        )
        dice = self._dice()
        return sample_futures(
            history, self._model, dice, self._settings.scenarios, self._settings.future_jobs
        )


def _spoken(found: SearchResult) -> str:
    if not found.crowd:
        return "never" if found.timeout == FOREVER else f"{found.timeout:.2f} s"
    crowd = "1 waits" if found.crowd == 1 else f"{found.crowd} wait"
    alone = f"sprinting as soon as {crowd}"
    return alone if found.timeout == FOREVER else f"{found.timeout:.2f} s, or as soon as {crowd},"


def present_jobs(view: View, estimates: Mapping[str, Estimate]) -> list[SimJob]:
    """Running and queued jobs as the simulator takes them, in order of arrival."""
    return [
        _as_simulated(view, job, estimates[job.name])
        for job in sorted(view.running() + view.queued(), key=lambda job: job.arrival)
    ]


def _as_simulated(view: View, job: JobView, estimate: Estimate) -> SimJob:
    return SimJob(
        arrival=job.arrival,
        work=estimate.remaining,
        rate=estimate.rate,
        started=job.start,
        sprinting=job.name in view.grants,
        trigger=None if estimate.trusted and job.selected else FOREVER,
    )


def sprint_level(view: View) -> Seconds:
    """What the bucket holds, in the simulator's sprint seconds."""
    return Seconds(_in_sprints(max(0.0, view.bucket.physical_level()), view))


def _in_sprints(core_seconds: float, view: View) -> float:
    """Core-seconds as seconds of one job's sprint; a sprint that adds nothing is not worth having: 0."""
    return core_seconds / view.cost_rate if view.cost_rate > 0 else 0.0


def rules_of(view: View, clock: TriggerClock) -> SprintRules:
    """The view's budget in the simulator's sprint seconds."""
    budget: Budget = view.bucket.budget
    return SprintRules(
        clock=clock,
        capacity=Seconds(_in_sprints(budget.capacity, view)),
        refill=_in_sprints(budget.refill, view),
        refill_rule=budget.while_sprinting,
        hysteresis=budget.hysteresis,
    )
