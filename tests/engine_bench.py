"""An engine on a bench: every port is a script, every call is written down in order, time moves when told."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from kubesprint.adapters.virtual.clock import VirtualClock
from kubesprint.core.allocation import Allocation
from kubesprint.core.budget import Bucket, Budget, RefillRule, full
from kubesprint.core.clocks import ClockDomain
from kubesprint.core.errors import Unavailable
from kubesprint.core.forecast import Basis, Forecaster, KindModel
from kubesprint.core.lease import Directive
from kubesprint.core.policy import FixedTimeout, Strategy
from kubesprint.core.reasons import Reason
from kubesprint.core.spec import Mode
from kubesprint.core.workload import JobState, JobView, Reading
from kubesprint.engine.engine import Engine, EngineSettings
from kubesprint.engine.ports import Inventory, KnobReport, Report
from kubesprint.engine.turn import Turn

BASE, SPRINT = Allocation(1.0), Allocation(2.0)  # a sprint costs one core-second a second
RUN = "r1"
EPOCH = 3
ALWAYS = FixedTimeout(0.0)


def measured(kind: str = "fit", work: float = 10.0, rate: float = 2.0, deviation: float = 0.0) -> KindModel:
    """A kind with a profile; a second of work is a CPU second."""
    return KindModel(
        kind=kind,
        work=work,
        deviation=deviation,
        cpu=work,
        rate=rate,
        basis=Basis.PROFILE,
        samples=0,
    )


def queued(name: str, arrival: float = 0.0, **more: object) -> JobView:
    """A job that waits."""
    job = JobView(name=name, kind="fit", state=JobState.QUEUED, arrival=arrival)
    return replace(job, **more)


def running(name: str, slot: str = "slot0", cpu: float | None = 0.0, **more: object) -> JobView:
    """A job that runs since time 0."""
    reading = None if cpu is None else Reading(value=cpu, age=0.0)
    return replace(queued(name, state=JobState.RUNNING, slot=slot, start=0.0, cpu=reading), **more)


def finished(job: JobView, end: float = 0.0, cpu: float = 10.0) -> JobView:
    """The same job, over."""
    reading = Reading(value=cpu, age=0.0)
    return replace(job, state=JobState.FINISHED, end=end, cpu=reading, succeeded=True)


class EngineBench:
    """All ports of one engine."""

    def __init__(
        self,
        *jobs: JobView,
        strategy: Strategy = ALWAYS,
        mode: Mode = Mode.ENFORCE,
        capacity: float = 20.0,
        refill: float = 0.0,
        rule: RefillRule = RefillRule.PAUSED,
        kinds: Iterable[KindModel] = (measured(),),
        servers: int = 2,
        paused: bool = False,
        clocks: Mapping[str, Sequence[ClockDomain]] = MappingProxyType({}),
    ) -> None:
        self.clock = VirtualClock()
        self.jobs: list[JobView] = list(jobs)
        self.synced = True
        self.log: list[tuple[str, object]] = []
        self.turns: list[Turn] = []
        self.purse_works = True
        self._mail: list[Report] = []
        self.engine = Engine(
            EngineSettings(
                run=RUN,
                epoch=EPOCH,
                mode=mode,
                base=BASE,
                sprint=SPRINT,
                servers=servers,
                paused=paused,
                clocks=clocks,
            ),
            clock=self.clock,
            workloads=self,
            nodes=self,
            purse=self,
            recorder=self,
            forecaster=Forecaster({kind.kind: kind for kind in kinds}, BASE, SPRINT),
            strategy=strategy,
            bucket=full(Budget(capacity=capacity, refill=refill, while_sprinting=rule), 0.0),
        )

    # the ports

    def observe(self) -> Inventory:
        """The jobs as scripted."""
        return Inventory(jobs=list(self.jobs), synced=self.synced)

    def publish(self, directive: Directive) -> None:
        """Write it down."""
        self.log.append(("publish", directive))

    def reports(self) -> Sequence[Report]:
        """What was put into the mail."""
        mail, self._mail = self._mail, []
        return mail

    def save(self, bucket: Bucket) -> None:
        """Write it down, or fail."""
        self.log.append(("save", bucket))
        if not self.purse_works:
            raise Unavailable("No space left on device")

    def record(self, turn: Turn) -> None:
        """Keep it."""
        self.turns.append(turn)

    # the script

    def turn(self, at: float | None = None, *jobs: JobView) -> Turn:
        """Move to an instant, change the jobs if any are named, take a turn."""
        if at is not None:
            self.clock.advance_to(at)
        if jobs:
            self.jobs = list(jobs)
        return self.engine.step()

    def directives(self) -> list[Directive]:
        """All that left."""
        return [what for kind, what in self.log if kind == "publish" and isinstance(what, Directive)]

    def leases(self) -> dict[str, float]:
        """Knob to lease of the newest directive."""
        return {grant.knob: grant.lease for grant in self.directives()[-1].grants}

    def read_back(
        self,
        knob: str = "slot0",
        grant: str | None = None,
        *,
        at: float | None = None,
        outcome: Reason = Reason.APPLIED,
        sequence: int | None = None,
        epoch: int = EPOCH,
        trouble: Reason | None = None,
        run: str = RUN,
    ) -> None:
        """A keeper reads one knob back: the grant it holds, or base."""
        instant = self.clock.now() if at is None else at
        newest = self.directives()[-1].sequence if self.directives() else 0
        report = KnobReport(
            knob=knob,
            grant=grant,
            outcome=outcome,
            allocation=SPRINT if grant else None,
            since=instant,
            at=instant,
        )
        self._mail.append(
            Report(
                run=run,
                epoch=epoch,
                sequence=newest if sequence is None else sequence,
                knobs={knob: report},
                trouble=trouble,
            )
        )

    def obey(self, at: float | None = None) -> None:
        """Read back exactly what the newest directive grants, and every other slot at base."""
        grants = {grant.knob: grant.grant for grant in self.directives()[-1].grants}
        for knob in ("slot0", "slot1"):
            self.read_back(knob, grants.get(knob), at=at)
