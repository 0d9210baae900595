"""What the engine and the keeper need of the world. Adapters implement these; nothing here does I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from kubesprint.core.allocation import Allocation
from kubesprint.core.budget import Bucket
from kubesprint.core.lease import Directive
from kubesprint.core.reasons import Reason
from kubesprint.core.units import Seconds
from kubesprint.core.workload import JobView


class Clock(Protocol):
    """A monotonic clock. Instants mean nothing between two machines, or across a boot."""

    def now(self) -> Seconds:
        """Seconds since some fixed moment of this boot."""
        ...


class PatientClock(Clock, Protocol):
    """A clock that can also wait: a keeper reads back until the machine has settled."""

    def wait(self, duration: Seconds) -> None:
        """Return after about `duration`, a few milliseconds."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """The jobs that exist now. Until `synced`, some may be missing and nothing is decided."""

    jobs: Sequence[JobView]
    synced: bool = True


class Workloads(Protocol):
    """Who queues, who runs, who has finished, and how much CPU each has used."""

    def observe(self) -> Inventory:
        """A snapshot; never blocks."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KnobReport:
    """What one knob really holds, read back. Instants are on the keeper's clock."""

    knob: str
    grant: str | None  # None: at base; a grant stays named until its return to base was read back
    outcome: Reason
    allocation: Allocation | None  # None: the knob's base
    since: Seconds  # start of the write that led here
    at: Seconds  # when it was read back; both stand still until the state changes
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a keeper did with the newest directive."""

    run: str
    epoch: int
    sequence: int
    knobs: Mapping[str, KnobReport]
    # JOURNAL_UNWRITABLE: no new sprint until it clears. STALE_EPOCH: a directive was not heeded.
    trouble: Reason | None = None
    detail: str = ""


class Nodes(Protocol):
    """The keepers, by whatever way they are reached."""

    def publish(self, directive: Directive) -> None:
        """Hand over a directive; never waits for it to be applied."""
        ...

    def reports(self) -> Sequence[Report]:
        """What has come back since the last call, oldest first."""
        ...


class Purse(Protocol):
    """Where the level of the budget survives a restart."""

    def save(self, bucket: Bucket) -> None:
        """Make the level durable; called before a grant is published. Raises `Unavailable`: none is then."""
        ...


@dataclass(frozen=True, slots=True)
class Address:
    """One thing that can be read and written, by the name that the hardware gives it."""

    knob: str
    name: str  # "cpu.max", "scaling_max_freq", "affinity"


@dataclass(frozen=True, slots=True)
class Write:
    """One value for one address, as the machine spells it."""

    address: Address
    value: str


class Hardware(Protocol):
    """The knobs of one machine. Values are the machine's own text: what was found is put back exactly."""

    def knobs(self) -> Sequence[str]:
        """Every knob, in a stable order."""
        ...

    def clamp(self, knob: str, wish: Allocation) -> tuple[Allocation, str]:
        """The nearest allocation this machine can give, and why it differs (empty: it does not)."""
        ...

    def writes(self, knob: str, allocation: Allocation | None) -> Sequence[Write]:
        """The writes, in a safe order, that give `allocation`; None: the knob's base."""
        ...

    def read(self, address: Address) -> str:
        """The value now. Raises `Unavailable` (try again), `Refused` (will never work) or `Gone`."""
        ...

    def write(self, write: Write) -> None:
        """Ask for a value. Success says nothing about the result: read it back. Raises like `read`."""
        ...

    def settle_seconds(self, address: Address) -> float:
        """How long a value may take to be read back as written; 0: at once."""
        ...


class Journal(Protocol):
    """What was found before the first write, durable and tied to this boot."""

    def record(self, found: Mapping[Address, str]) -> None:
        """Add what was found; returns when it is on disk. Never overwrites. Raises `Unavailable`."""
        ...

    def probe(self) -> None:
        """Nothing, if a further record could be written now. Raises `Unavailable`."""
        ...

    def found(self) -> Mapping[Address, str]:
        """Everything recorded and not yet cleared, in the order of recording."""
        ...

    def clear(self) -> None:
        """Everything was put back and verified."""
        ...
