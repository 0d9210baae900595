"""What a policy's sprint clock means on this machine: which clocks move, how far, and for which slot."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kubesprint.adapters.linux.cpufreq import ClockHardware, open_clocks
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.core.allocation import Allocation
from kubesprint.core.clocks import ClockDomain, mean_ratio
from kubesprint.core.errors import Gone, Refused, SprintError
from kubesprint.core.spec import Mode, Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """The clocks that sprints of a run raise."""

    hardware: ClockHardware
    use: Mapping[str, tuple[ClockDomain, ...]]  # by slot

    @property
    def wishes(self) -> tuple[str, str]:
        """Base and sprint clock as the policy spells them: what a keeper is told."""
        return self.hardware.plan.wishes

    def ratio(self, spelled: str) -> float | None:
        """A clock relative to the base clock, in the mean over the CPUs; None: not one of this machine's."""
        return 1.0 if spelled == "Base" else self.hardware.ratio(spelled)

    def document(self) -> Mapping[str, Mapping[str, object]]:
        """As the event that heads a run tells them."""
        plan = self.hardware.plan
        return {
            name: {"cpus": sorted(plan.cpus[name]), "base_khz": base, "sprint_khz": plan.sprints[name]}
            for name, base in plan.bases.items()
        }

    def describe(self) -> str:
        """One line for people."""
        plan = self.hardware.plan
        steps = [f"{name} {base} to {plan.sprints[name]} kHz" for name, base in plan.bases.items()]
        boost = f", boost switched on ({', '.join(plan.switches)})" if plan.switches else ""
        return f"clocks: {'; '.join(steps)}{boost}"


def base_clock_only(spelled: str) -> float | None:
    """The ratio of a clock where none is moved: only what was measured at the base clock counts."""
    return 1.0 if spelled == "Base" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A policy whose sprint clock is a number, and the clocks that do it."""

    policy: Policy
    clocks: Clocks | None = None  # None: sprints raise cores only
    warnings: tuple[str, ...] = ()


def choose_clocks(fs: PseudoFs, policy: Policy, slots: Mapping[str, frozenset[int]]) -> Choice:
    """Find the clocks of the CPUs that sprints run on; writes nothing.

    Without cpufreq sprints raise the cores only, and a warning says so: nobody can change that. What can be
    changed (rights, a base clock that the driver does not tell, boost) is refused under Enforce.

    Args:
        fs: the machine.
        policy: as the document has it.
        slots: the CPUs of each slot's sprints.

    Raises:
        Refused: naming field, value and remedy.
    """
    wish = policy.clock_maximum
    if wish in (None, "Base"):
        return Choice(policy=policy)
    acting = policy.mode is Mode.ENFORCE
    where = f"spec.sprint.clock: {wish} over spec.base.clock {policy.base_clock}"
    try:
        cpus = frozenset[int]().union(*slots.values())
        hardware = open_clocks(fs, policy.base_clock, wish, cpus, acting=acting)
    except Gone as error:
        if acting and policy.sprint.cores <= policy.base.cores:
            raise Refused(f"{where}: {error}, and the sprint raises nothing else") from error
        return Choice(policy=policy, warnings=(f"{where}: {error}; sprints raise the cores only",))
    except SprintError as error:
        if acting:
            raise type(error)(f"{where}: {error}") from error
        return Choice(policy=policy, warnings=(f"{where}: {error}",))
    use = {slot: hardware.plan.domains(own) for slot, own in slots.items()}
    ratio = mean_ratio(dict.fromkeys(domain for domains in use.values() for domain in domains))
    sprinting = replace(policy, sprint=Allocation(policy.sprint.cores, ratio))
    return Choice(policy=sprinting, clocks=Clocks(hardware=hardware, use=use))
