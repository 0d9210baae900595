"""What the user asked for: the documents, checked and in the units of the core.

These values have passed every check that needs no machine. `Problem` and `Invalid` are how a document
that did not pass is described: by key path, so that whoever read the file can add its line.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from kubesprint.core.allocation import Allocation
from kubesprint.core.budget import Budget
from kubesprint.core.errors import Refused
from kubesprint.core.simulation import TriggerClock
from kubesprint.core.units import Cores, Seconds

_NO_TEXT: Mapping[str, str] = MappingProxyType({})
_NO_NUMBERS: Mapping[str, float] = MappingProxyType({})


class Mode(StrEnum):
    """How far a policy may go."""

    OBSERVE = "Observe"  # measures and forecasts
    RECOMMEND = "Recommend"  # also says what it would do
    ENFORCE = "Enforce"  # acts


class Statistic(StrEnum):
    """The statistic of the response time (arrival to end) that is minimised."""

    MEAN = "Mean"
    P50 = "P50"
    P95 = "P95"
    P99 = "P99"


class TriggerRule(StrEnum):
    """A trigger that is not a fixed time-out."""

    AUTO = "Auto"  # searched with the simulator
    NEVER = "Never"


class ResizeRule(StrEnum):
    """What of a container is resized; means nothing on one machine."""

    LIMIT_ONLY = "LimitOnly"
    LIMIT_AND_REQUEST = "LimitAndRequest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A SprintPolicy. Exactly one of `statistic` and `deadline` is set."""

    name: str
    mode: Mode = Mode.OBSERVE
    paused: bool = False
    selector: Mapping[str, str] = field(
        default_factory=lambda: _NO_TEXT
    )  # labels a job must carry; empty: every job
    workload: str | None = None  # profile key for jobs that have none of their own
    container: str | None = None
    statistic: Statistic | None = None
    deadline: Seconds | None = None  # from a job's arrival; a job's own deadline wins
    base: Allocation
    sprint: Allocation  # clock 1.0 in a document: what `clock_maximum` is worth, only the machine can say
    base_clock: str = "Base"  # spelled as `clock_maximum`; held by a run that moves clocks, else as found
    clock_maximum: str | None = None  # "Base", "Turbo", "80%" (of the highest), "2400MHz"; None: untouched
    resize: ResizeRule = ResizeRule.LIMIT_ONLY
    trigger: TriggerRule | Seconds = TriggerRule.AUTO  # 0 s: always until empty
    trigger_clock: TriggerClock = TriggerClock.ARRIVAL
    budget: Budget
    concurrency: int | None = None  # jobs running at once in the model; None: Auto
    lease: Seconds = Seconds(5.0)
    resize_timeout: Seconds = Seconds(30.0)

    def __post_init__(self) -> None:
        if (self.statistic is None) == (self.deadline is None):
            raise ValueError("a policy has exactly one of statistic and deadline")

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether a job with these labels falls under the policy."""
        return all(labels.get(key) == value for key, value in self.selector.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """One job of a queue, copies already expanded."""

    name: str
    kind: str  # the key of its profile
    command: tuple[str, ...]  # run as it stands; no shell
    arrival: Seconds = Seconds(0.0)  # from the start of the run
    deadline: Seconds | None = None  # from its arrival
    env: Mapping[str, str] = field(default_factory=lambda: _NO_TEXT)  # added to the environment of the run
    workdir: str = "."  # absolute once loaded from a file
    labels: Mapping[str, str] = field(default_factory=lambda: _NO_TEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSpec:
    """A JobQueue: at least one job, in the order of arrival, names unique."""

    slots: int  # jobs that run at once
    jobs: tuple[JobSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfilePoint:
    """Runs of one kind, alone, at one allocation: means over `runs`."""

    cores: Cores
    clock: str = "Base"
    runs: int = 1
    wall: Seconds
    cpu_time: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileFit:
    """What was learnt of a kind beyond its points. An absent value is None."""

    samples: int | None = None  # jobs that it was learnt from
    cpu_time: Seconds | None = None  # CPU time of one job at the base clock
    dispersion: float | None = None  # standard deviation / mean of the CPU time
    serial_share: float | None = None  # of the work, that only one core can do; 0..1
    work_inflation: float | None = None  # CPU time while sprinting / at base
    compute_share: float | None = None  # of the time, that scales with the clock; 0..1
    standard_errors: Mapping[str, float] = field(
        default_factory=lambda: _NO_NUMBERS
    )  # by the document's name of the value
    basis: str | None = None  # "GreyBox" or "WhiteBox"
    schema: int | None = None
    sha256: str | None = None
    error: float | None = None  # median relative error of predictions, held out
    valid_cores: tuple[Cores, Cores] | None = None  # no claim is made outside


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileSpec:
    """A WorkloadProfile: measured points win over what was fitted."""

    workload: str
    points: tuple[ProfilePoint, ...] = ()
    fit: ProfileFit | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a document: where (keys and list positions from its root) and what."""

    path: tuple[str | int, ...]
    message: str

    def key(self) -> str:
        """The path as people write it: `jobs[3].command`."""
        parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path)
        return "".join(parts).removeprefix(".")

    def under(self, *prefix: str | int) -> "Problem":
        """The same problem seen from further out."""
        return Problem((*prefix, *self.path), self.message)


class Invalid(Refused):
    """A document with problems, in the order found; at least one."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(f"{p.key()}: {p.message}" if p.path else p.message for p in problems))
        self.problems = tuple(problems)
