"""The model-driven strategy: the time-out that the simulator likes best, given where things stand.

Every choice simulates the jobs that run and queue now, then sampled future arrivals, under every
candidate time-out on the same samples; it is taken again when a job arrives or ends, or when the last
choice grows old.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from kubesprint.core.budget import Budget
from kubesprint.core.forecast import Estimate, KindModel
from kubesprint.core.futures import ArrivalHistory, Dice, sample_futures
from kubesprint.core.policy import JobTrigger, Trigger
from kubesprint.core.reasons import Reason
from kubesprint.core.search import SearchResult, evaluate, search_timeout
from kubesprint.core.simulation import Outcome, Present, QueueSimulator, SimJob, SprintRules, TriggerClock
from kubesprint.core.spec import Statistic
from kubesprint.core.units import FOREVER, Seconds
from kubesprint.core.view import View
from kubesprint.core.workload import JobView

WORTH_DIFFERING = 1e-6
"""Relative gain below which the time-out that holds for all also holds for the running jobs."""


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
        simulate: QueueSimulator,
        model: Callable[[str], KindModel],
        dice: Callable[[], Dice],
        settings: SearchSettings,
        announced: Sequence[SimJob] | None = None,
    ) -> None:
        """Wire a strategy.

        Args:
            simulate: any implementation of the simulator's contract.
            model: the current model of a kind.
            dice: new dice from the same seed, so that two choices differ by what happened only.
            settings: scenarios and horizon.
            announced: the true future, for the clairvoyant bound in benchmarks only.
        """
        self._simulate = simulate
        self._model = model
        self._dice = dice
        self._settings = settings
        self._announced = announced
        self._last: Trigger | None = None
        self._chosen_at = -FOREVER
        self._state: tuple[tuple[str, str], ...] = ()

    def choose(self, view: View, estimates: Mapping[str, Estimate], *, hurry: bool) -> Trigger:
        """The best time-out now; the last one if nothing has happened since, or in a hurry."""
        state = tuple((job.name, job.state.value) for job in view.jobs)
        fresh = state == self._state and view.now - self._chosen_at < self._settings.stale_after
        if self._last is not None and (fresh or hurry):
            return self._last
        self._last = self._search(view, estimates)
        self._state, self._chosen_at = state, view.now
        return self._last

    def _search(self, view: View, estimates: Mapping[str, Estimate]) -> Trigger:
        """First the best time-out for everybody, then whether those that run now should differ from it."""
        present = present_jobs(view, estimates)
        futures = self._futures(view)
        clock, statistic = self._settings.clock, self._settings.statistic
        trial = _Trial(
            rules=rules_of(view, clock),
            servers=view.servers,
            simulate=_consistent(self._simulate, clock),
            present=Present(
                now=view.now, level=Seconds(max(0.0, view.bucket.physical_level()) / view.cost_rate)
            ),
            statistic=statistic,
        )
        result = trial.search([present + future for future in futures])
        own, gain = self._improve(view, present, futures, trial, result)
        sentence = (
            f"{len(result.curve)} time-outs simulated over {len(present)} jobs and {len(futures)} futures: "
            f"{_spoken(result.timeout)} gives the lowest {statistic.value.lower()} response, {result.value:.2f} s "
            f"(never sprinting: {result.curve[-1].value:.2f} s)."
        )
        return Trigger(
            after=result.timeout,
            clock=clock,
            needs_trust=True,
            basis="WhiteBox",
            sentence=sentence + gain,
            curve=[(point.timeout, point.value) for point in result.curve],
            own=own,
        )

    def _improve(
        self,
        view: View,
        present: Sequence[SimJob],
        futures: Sequence[Sequence[SimJob]],
        trial: "_Trial",
        result: SearchResult,
    ) -> tuple[Mapping[str, JobTrigger], str]:
        """Sprint-or-hold choices for the running jobs, everybody else under the best time-out.

        A time-out cannot see the queue: whether anybody waits behind a job is known only now. One step
        of policy improvement over the best time-out uses it, and is never worse in the simulation.
        """
        running = [job.name for job in view.running()]
        names = [job.name for job in sorted(view.running() + view.queued(), key=lambda job: job.arrival)]
        best, chosen = result.value * (1.0 - WORTH_DIFFERING), None
        for sprinters in _choices(running):
            jobs = [
                _with_choice(job, name in sprinters, view.now) if name in running else job
                for name, job in zip(names, present, strict=True)
            ]
            value = trial.value([[*jobs, *future] for future in futures], result.timeout)
            if value < best:
                best, chosen = value, sprinters
        if chosen is None:
            return {}, ""
        gain = f" Better still by the queue as it is, {best:.2f} s: "
        return {name: _own(name, name in chosen, view.now, gain) for name in running}, ""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """What all candidates of one choice have in common."""

    rules: SprintRules
    servers: int
    simulate: QueueSimulator
    present: Present
    statistic: Statistic

    def search(self, scenarios: Sequence[Sequence[SimJob]]) -> SearchResult:
        return search_timeout(
            scenarios, self.rules, self.servers, self.simulate, present=self.present, statistic=self.statistic
        )

    def value(self, scenarios: Sequence[Sequence[SimJob]], timeout: Seconds) -> float:
        rules = replace(self.rules, timeout=timeout)
        return evaluate(
            scenarios, rules, self.servers, self.simulate, present=self.present, statistic=self.statistic
        ).value


def _choices(running: Sequence[str]) -> list[frozenset[str]]:
    """Which of the running jobs sprint: none, all, and each alone."""
    sets = [frozenset[str](), frozenset(running), *(frozenset({name}) for name in running)]
    return list(dict.fromkeys(sets)) if running else []


def _with_choice(job: SimJob, sprints: bool, now: Seconds) -> SimJob:
    """A running job that sprints from now to its end, or not until it is looked at again (here: never)."""
    if job.trigger is not None:  # not trusted, or not selected
        return job
    return replace(job, trigger=now if sprints else FOREVER)


def _own(name: str, sprints: bool, now: Seconds, gain: str) -> JobTrigger:
    if sprints:
        return JobTrigger(at=now, reason=Reason.TRIGGER_REACHED, sentence=f"{gain}sprint {name} now.")
    return JobTrigger(
        at=FOREVER, reason=Reason.BEFORE_TRIGGER, sentence=f"{gain}keep {name} at base for now."
    )


def _spoken(timeout: Seconds) -> str:
    return "never" if timeout == FOREVER else f"{timeout:.2f} s"


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


def rules_of(view: View, clock: TriggerClock) -> SprintRules:
    """The view's budget in the simulator's sprint seconds."""
    budget: Budget = view.bucket.budget
    return SprintRules(
        clock=clock,
        capacity=Seconds(budget.capacity / view.cost_rate),
        refill=budget.refill / view.cost_rate,
        refill_rule=budget.while_sprinting,
        hysteresis=budget.hysteresis,
    )


def _consistent(simulate: QueueSimulator, clock: TriggerClock) -> QueueSimulator:
    """A candidate whose trigger is still to come would return a sprinting job to base at once."""

    def run(jobs: Sequence[SimJob], rules: SprintRules, servers: int, present: Present) -> Sequence[Outcome]:
        kept = [
            replace(job, sprinting=False)
            if job.sprinting and _trigger(job, rules, clock) > present.now
            else job
            for job in jobs
        ]
        return simulate(kept, rules, servers, present)

    return run


def _trigger(job: SimJob, rules: SprintRules, clock: TriggerClock) -> float:
    if job.trigger is not None:
        return job.trigger
    origin = job.arrival if clock is TriggerClock.ARRIVAL or job.started is None else job.started
    return origin + rules.timeout
