"""Processor clocks: `/sys/devices/system/cpu/cpufreq/policy*`, read afresh each time, written per policy.

The kernel takes almost any number, remembers it as a request, and shows the outcome a little later: only
what is read back counts. Bounds move with boost and firmware, so none is kept between two turns.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from kubesprint.adapters.linux import cpulist
from kubesprint.adapters.linux.addresses import HOST, AddressBook, Target, settle_seconds
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.core.allocation import Allocation
from kubesprint.core.clocks import ClockDomain
from kubesprint.core.errors import Gone, Refused, SprintError, Unavailable
from kubesprint.core.units import KiloHertz
from kubesprint.engine.ports import Address, Write

ROOT = "/sys/devices/system/cpu/cpufreq"
CPUS = "/sys/devices/system/cpu"
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)%")
_HERTZ = re.compile(r"(\d+(?:\.\d+)?)(kHz|MHz|GHz)")
_UNIT = {"kHz": 1, "MHz": 1000, "GHz": 1_000_000}
_OWN_GOVERNORS = frozenset({"intel_pstate", "amd-pstate-epp"})  # their "powersave" follows the load
_CPPC = ("highest_perf", "nominal_perf", "nominal_freq")
_THRIFTY = frozenset({"power", "balance_power"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One policy as it is now. Clocks in kHz; what the driver does not offer is None or empty."""

    name: str
    driver: str
    governor: str
    governors: tuple[str, ...]
    cpus: frozenset[int]  # online
    least: KiloHertz  # of the hardware, now
    most: KiloHertz
    minimum: KiloHertz  # effective limits
    maximum: KiloHertz
    table: tuple[KiloHertz, ...]  # ascending
    base: KiloHertz | None  # without turbo
    preference: str | None  # energy_performance_preference
    boost: bool | None
    switch: str | None  # the file that switches boost, as far as there is one
    boosted: KiloHertz | None  # the most with boost, where the driver tells it while boost is off

    @property
    def follows_minimum(self) -> bool:
        """Does the governor stay where the lower limit holds it, whatever the load?"""
        return self.governor == "userspace" or (
            self.governor == "powersave" and self.driver not in _OWN_GOVERNORS
        )

    def fit(self, wish: float) -> KiloHertz:
        """The clock next to a wish that the hardware has: in its bounds, and the table entry below."""
        khz = min(max(round(wish), self.least), self.most)
        below = [entry for entry in self.table if self.least <= entry <= khz]
        return KiloHertz(max(below, default=khz))


def names(fs: PseudoFs) -> Sequence[str]:
    """The policies, in the order of their numbers; none on most virtual machines."""
    found = [name for name in fs.folders(ROOT) if re.fullmatch(r"policy\d+", name)]
    return sorted(found, key=lambda name: int(name[6:]))


def _number(fs: PseudoFs, path: str) -> KiloHertz | None:
    text = fs.optional(path) or ""
    return KiloHertz(int(text)) if text.isdigit() else None


def _base(fs: PseudoFs, name: str, cpus: frozenset[int]) -> KiloHertz | None:
    """The clock without turbo: Intel's `base_frequency`, else the nominal clock of ACPI CPPC."""
    base = _number(fs, f"{ROOT}/{name}/base_frequency")
    if base is None and cpus:
        nominal = _number(fs, f"{CPUS}/cpu{min(cpus)}/acpi_cppc/nominal_freq")  # MHz
        base = KiloHertz(nominal * 1000) if nominal else None
    return base


def read_policy(fs: PseudoFs, name: str) -> Policy:
    """Raises `Gone` where the policy has gone, `Unavailable` while all its CPUs are offline."""
    folder = f"{ROOT}/{name}"

    def needed(file: str) -> KiloHertz:
        return KiloHertz(int(fs.read(f"{folder}/{file}")))

    cpus = cpulist.parse(fs.read(f"{folder}/affected_cpus"))
    table = (fs.optional(f"{folder}/scaling_available_frequencies") or "").split()
    switch = next((path for path in (f"{ROOT}/boost", f"{folder}/boost") if fs.optional(path)), None)
    boost = None if switch is None else fs.optional(switch)
    return Policy(
        name=name,
        driver=fs.read(f"{folder}/scaling_driver"),
        governor=fs.read(f"{folder}/scaling_governor"),
        governors=tuple((fs.optional(f"{folder}/scaling_available_governors") or "").split()),
        cpus=cpus,
        least=needed("cpuinfo_min_freq"),
        most=needed("cpuinfo_max_freq"),
        minimum=needed("scaling_min_freq"),
        maximum=needed("scaling_max_freq"),
        table=tuple(sorted(KiloHertz(int(entry)) for entry in table)),
        base=_base(fs, name, cpus),
        preference=fs.optional(f"{folder}/energy_performance_preference"),
        boost=None if boost is None else boost == "1",
        switch=switch,
        boosted=_boosted(fs, name, cpus),
    )


def _boosted(fs: PseudoFs, name: str, cpus: frozenset[int]) -> KiloHertz | None:
    """The highest clock with boost: from the driver's own list, amd-pstate, or the ratio in ACPI CPPC."""
    steps = (fs.optional(f"{ROOT}/{name}/scaling_boost_frequencies") or "").split()
    told = [int(step) for step in steps if step.isdigit()]
    told += [khz for khz in [_number(fs, f"{ROOT}/{name}/amd_pstate_max_freq")] if khz]
    if not told and cpus:
        folder = f"{CPUS}/cpu{min(cpus)}/acpi_cppc"
        highest, nominal, mhz = (_number(fs, f"{folder}/{n}") for n in _CPPC)
        told += [round(highest / nominal * mhz * 1000)] if highest and nominal and mhz else []
    return KiloHertz(max(told)) if told else None


def resolve(policy: Policy, wish: str) -> KiloHertz:
    """The clock meant by Base, Turbo, "80%" (of Turbo) or "2400MHz", on this policy. Raises `Refused`."""
    if wish == "Turbo":
        return policy.most
    if wish == "Base":
        if policy.base is None:
            raise Refused(
                f"{policy.name}: {policy.driver} has no base clock to tell; name one, as 2400MHz or 80%"
            )
        return policy.fit(policy.base)
    if match := _PERCENT.fullmatch(wish):
        return policy.fit(policy.most * float(match[1]) / 100)
    if match := _HERTZ.fullmatch(wish):
        return policy.fit(float(match[1]) * _UNIT[match[2]])
    raise Refused(f"clock '{wish}': one of Base, Turbo, a share such as 80%, or a clock such as 2400MHz")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockPlan:
    """The base clock and the sprint clock of each policy. Plain values; says nothing of who asks."""

    wishes: tuple[str, str]  # as they were spelled: base, sprint
    bases: Mapping[str, KiloHertz]
    sprints: Mapping[str, KiloHertz]
    cpus: Mapping[str, frozenset[int]]  # whose clock a policy is
    switches: tuple[str, ...] = ()  # boost files that are 0, and must be 1 for a sprint clock

    def domains(self, cpus: frozenset[int]) -> tuple[ClockDomain, ...]:
        """The clocks of these CPUs, each with all the CPUs that it moves."""
        return tuple(
            ClockDomain(knob=name, cpus=len(own), ratio=self.sprints[name] / self.bases[name])
            for name, own in self.cpus.items()
            if own & cpus
        )


class ClockHardware:
    """The Hardware port for clocks: a knob per policy; `Allocation.clock` is relative to its base."""

    def __init__(self, fs: PseudoFs, plan: ClockPlan) -> None:
        self.plan = plan
        self._fs = fs
        self._book = AddressBook(fs)
        self._preferences: dict[str, str] = {}  # as found, of policies that we asked for performance

    def knobs(self) -> Sequence[str]:
        """Every policy that the plan names."""
        return tuple(self.plan.bases)

    def ratio(self, wish: str) -> float | None:
        """A clock relative to the base clock, in the mean over all CPUs; None: not to be had here."""
        total, cpus = 0.0, 0
        for name, base in self.plan.bases.items():
            try:
                khz = self.plan.sprints[name] if wish == self.plan.wishes[1] else self._clock(name, wish)
            except SprintError:
                return None
            total += len(self.plan.cpus[name]) * khz / base
            cpus += len(self.plan.cpus[name])
        return total / cpus

    def _clock(self, name: str, wish: str) -> KiloHertz:
        return resolve(read_policy(self._fs, name), wish)

    def setup_writes(self) -> Sequence[Write]:
        """Switches boost on where the sprint clock needs it; the limits then hold the base.

        The limits stand first, as they are: what they were is journalled before boost moves them, and so put
        back after boost is.
        """
        if not self.plan.switches:
            return ()
        writes = []
        for name in self.plan.bases:
            policy = read_policy(self._fs, name)
            writes.append(self._limit(name, "scaling_max_freq", policy.maximum))
            writes.append(self._limit(name, "scaling_min_freq", policy.minimum))
        return [*writes, *(Write(Target("file", path).address(HOST), "1") for path in self.plan.switches)]

    def sprint(self, knob: str, base: Allocation) -> Allocation:
        """The planned sprint of a policy, at the cores of `base`."""
        return Allocation(base.cores, self.plan.sprints[knob] / self._base(knob))

    def clamp(self, knob: str, wish: Allocation) -> tuple[Allocation, str]:
        """The nearest clock that the policy has now, and why it differs."""
        base, policy = self._base(knob), read_policy(self._fs, knob)
        wanted = wish.clock * base
        given = policy.fit(wanted)
        if abs(given - wanted) < 1:  # kHz: less is arithmetic
            return wish, ""
        why = f"{knob} goes from {policy.least} to {policy.most} kHz"
        why += " in steps" if policy.table else ""
        return Allocation(wish.cores, given / base), f"{why}: {given} instead of {round(wanted)}"

    def writes(self, knob: str, allocation: Allocation | None) -> Sequence[Write]:
        """Limits in an order in which they never cross; the governor is left alone."""
        policy = read_policy(self._fs, knob)
        base = self._base(knob)
        sprint = allocation is not None
        top = policy.fit(allocation.clock * base if allocation is not None else base)
        # A governor that rests on the lower limit is lifted by it; others follow the load to the upper one.
        bottom = top if policy.follows_minimum else policy.least
        limits = [self._limit(knob, "scaling_max_freq", top), self._limit(knob, "scaling_min_freq", bottom)]
        if top < policy.maximum:
            limits.reverse()
        return [*limits, *(self._eager(knob, policy) if sprint else self._as_found(knob, policy))]

    def _limit(self, knob: str, file: str, khz: KiloHertz) -> Write:
        return Write(Target("limit", f"{ROOT}/{knob}/{file}").address(knob), str(khz))

    def _eager(self, knob: str, policy: Policy) -> Sequence[Write]:
        """A preference for saving power keeps turbo away: a sprint asks for performance instead."""
        if policy.preference not in _THRIFTY or policy.governor == "performance":
            return ()
        self._preferences.setdefault(knob, policy.preference)
        return (Write(self._preference(knob), "performance"),)

    def _as_found(self, knob: str, policy: Policy) -> Sequence[Write]:
        found = self._preferences.get(knob)
        # Under the governor "performance" the kernel takes no other preference (EBUSY).
        if found is None or policy.governor == "performance":
            return ()
        return (Write(self._preference(knob), found),)

    def _preference(self, knob: str) -> Address:
        return Target("file", f"{ROOT}/{knob}/energy_performance_preference").address(knob)

    def read(self, address: Address) -> str:
        """The value now. Raises `Refused`, `Gone` or `Unavailable`."""
        return self._book.read(address)

    def write(self, write: Write) -> None:
        """Ask for a value. Raises `Refused`, `Gone` or `Unavailable`."""
        self._book.write(write.address, write.value)

    def settle_seconds(self, address: Address) -> float:
        """Limits are applied by a worker of the kernel, seen to take up to 130 ms."""
        return settle_seconds(address)

    def _base(self, knob: str) -> KiloHertz:
        try:
            return self.plan.bases[knob]
        except KeyError:
            raise Gone(f"no clock '{knob}' here; there are {', '.join(self.plan.bases) or 'none'}") from None


def open_clocks(
    fs: PseudoFs,
    base: str = "Base",
    sprint: str = "Turbo",
    cpus: frozenset[int] | None = None,
    *,
    acting: bool = True,
) -> ClockHardware:
    """Plan the clocks of these CPUs (None: of all); writes nothing.

    Args:
        fs: the machine.
        base: Base, Turbo, a share such as 80%, or a clock such as 2400MHz.
        sprint: the same.
        cpus: those that sprints run on.
        acting: whether the right to write them is needed.

    Raises:
        Gone: there are no clocks here, and nothing that the user can do about it.
        Refused: they cannot be moved as asked for, with the remedy.
    """
    policies = [policy for policy in _online(fs) if cpus is None or policy.cpus & cpus]
    if not policies:
        raise Gone("no clock can be set here: this machine has no cpufreq (usual for virtual machines)")
    bases, sprints, switches = dict[str, KiloHertz](), dict[str, KiloHertz](), dict[str, None]()
    for policy in policies:
        bases[policy.name] = resolve(policy, base)
        sprints[policy.name], switch = _sprint(policy, sprint)
        if switch is not None:
            switches[switch] = None
        _check(fs, policy, (base, bases[policy.name]), (sprint, sprints[policy.name]))
        if acting:
            _check_rights(fs, policy, switch)
    own = {policy.name: policy.cpus for policy in policies}
    return ClockHardware(
        fs,
        ClockPlan(wishes=(base, sprint), bases=bases, sprints=sprints, cpus=own, switches=tuple(switches)),
    )


def _online(fs: PseudoFs) -> Iterator[Policy]:
    """Every policy with a CPU that is online; of the others the kernel tells nothing (EBUSY)."""
    for name in names(fs):
        with suppress(Unavailable, Gone):
            yield read_policy(fs, name)


def _sprint(policy: Policy, wish: str) -> tuple[KiloHertz, str | None]:
    """The sprint clock, and the file that must switch boost on for it. Raises `Refused`."""
    plain = resolve(policy, wish)
    hertz = _HERTZ.fullmatch(wish)
    wanted = float(hertz[1]) * _UNIT[hertz[2]] if hertz else 0.0
    if policy.boost is not False or not (wish == "Turbo" or wanted > policy.most):
        return plain, None
    if policy.boosted is None or policy.boosted <= policy.most:
        raise Refused(
            f"{policy.name}: {wish} needs boost, which is off, and {policy.driver} does not tell how far "
            f"that goes: switch it on ({policy.switch}), or name a clock up to {policy.most} kHz"
        )
    return KiloHertz(round(min(wanted, policy.boosted)) if hertz else policy.boosted), policy.switch


def _check(fs: PseudoFs, policy: Policy, base: tuple[str, KiloHertz], sprint: tuple[str, KiloHertz]) -> None:
    """Raises `Refused` unless the sprint clock is above the base clock."""
    if sprint[1] > base[1]:
        return
    low, high = (f"{wish} ({khz} kHz)" for wish, khz in (base, sprint))
    hint = ""
    if fs.optional(f"{CPUS}/intel_pstate/no_turbo") == "1":
        hint = f"; turbo is off: write 0 to {CPUS}/intel_pstate/no_turbo"
    raise Refused(f"{policy.name}: the sprint clock {high} is not above the base clock {low}{hint}")


def _check_rights(fs: PseudoFs, policy: Policy, switch: str | None) -> None:
    for path in (f"{ROOT}/{policy.name}/scaling_max_freq", switch):
        if path is not None and not fs.kernel.writable(path):
            raise Refused(f"no right to write {path}: run as root, with /sys mounted read-write")
