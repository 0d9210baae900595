"""The engine's side of shared clocks: who asks for which, what each pays, and what the keeper made of it."""

from collections.abc import Collection, Mapping, Sequence

from kubesprint.core.allocation import Allocation
from kubesprint.core.clocks import ClockDomain, clock_rates
from kubesprint.core.lease import Grant
from kubesprint.core.reasons import Reason
from kubesprint.core.units import Cores, CoreSeconds, Seconds
from kubesprint.engine.ports import KnobReport, Report

CLOCK_RETURN = Seconds(0.15)
"""A clock's lease ends this much before its slot's: a limit was seen to show up to 130 ms after its write."""

_REFUSED = frozenset({Reason.REJECTED, Reason.CONFLICT, Reason.UNSUPPORTED})


class ClockBook:
    """The clocks that sprints raise, by the slot of the job that asks. Empty: sprints raise cores only."""

    def __init__(self, use: Mapping[str, Sequence[ClockDomain]]) -> None:
        self._use = {slot: tuple(domains) for slot, domains in use.items()}
        self._domains = {domain.knob: domain for domains in use.values() for domain in domains}
        self._told: dict[tuple[str, Reason], str] = {}  # what a user should know
        self._stuck: dict[str, Seconds] = {}  # raised though nobody asks; counted up to this instant
        self._owed = 0.0  # core-seconds of clocks that nobody asked for

    def __bool__(self) -> bool:
        return any(self._use.values())

    @property
    def troubles(self) -> Sequence[str]:
        """One sentence for each clock that did not do as it was told."""
        return tuple(self._told.values())

    def rates(self, sprinting: Mapping[str, Cores]) -> Mapping[str, Cores]:
        """What clocks cost each sprinting slot; see `clock_rates`."""
        return clock_rates(self._use, sprinting)

    def alone(self, cores: Cores) -> Cores:
        """What clocks cost a sprint if no other job sprints, at most."""
        return Cores(max((self.rates({slot: cores})[slot] for slot in self._use), default=0.0))

    def grants(self, slots: Sequence[Grant]) -> Sequence[Grant]:
        """The grants of the clocks that these sprinting slots ask for.

        Each goes by the name of the oldest grant that asks and lasts about as long as the longest: a clock
        that several jobs share returns when the last of them does.
        """
        asking: dict[ClockDomain, list[Grant]] = {}
        for grant in slots:
            for domain in self._use.get(grant.knob, ()):
                asking.setdefault(domain, []).append(grant)
        return [
            Grant(
                grant=several[0].grant,
                knob=domain.knob,
                allocation=Allocation(Cores(domain.cpus), domain.ratio),
                lease=Seconds(max(0.0, max(grant.lease for grant in several) - CLOCK_RETURN)),
            )
            for domain, several in asking.items()
        ]

    def hear(self, report: Report, asking: Collection[str], *, newest: bool) -> None:
        """Take in what was read back of the clocks.

        Args:
            report: of the keeper.
            asking: slots whose sprints go on.
            newest: whether it answers the newest directive; an older one says nothing of who asks now.
        """
        asked = {domain.knob for slot in asking for domain in self._use.get(slot, ())}
        for name, domain in self._domains.items():
            knob = report.knobs.get(name)
            if knob is None:
                continue
            if knob.grant is None:
                since = self._stuck.pop(name, knob.at)
                self._owed += domain.cost * max(0.0, knob.at - since)
            elif newest and name in asked:
                self._stuck.pop(name, None)
            elif newest:
                self._stuck.setdefault(name, knob.at)
            self._listen(knob)

    def owed(self, now: Seconds) -> CoreSeconds:
        """What clocks have cost that stayed up though nobody asked, since the last call."""
        for name, since in self._stuck.items():
            self._owed += self._domains[name].cost * max(0.0, now - since)
            self._stuck[name] = max(since, now)
        owed, self._owed = self._owed, 0.0
        return CoreSeconds(owed)

    def _listen(self, knob: KnobReport) -> None:
        """Note a clock that was refused, or that is not what was asked for: the first time."""
        if knob.grant is None and knob.outcome in _REFUSED:
            self._give_up(knob.knob)
            told = f"{knob.knob} is raised no more: {knob.outcome.value}, {knob.detail}"
        elif knob.outcome is Reason.CLAMPED:
            told = f"{knob.knob}: {knob.outcome.value}, {knob.detail}"
        else:
            return
        self._told.setdefault((knob.knob, knob.outcome), told)

    def _give_up(self, knob: str) -> None:
        """A clock that was refused is asked for no more, and so not paid for."""
        self._use = {
            slot: tuple(domain for domain in domains if domain.knob != knob)
            for slot, domains in self._use.items()
        }
