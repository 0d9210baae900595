"""What the kernel counts: CPU time, throttling, clocks, pressure, load. What is not there is None."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kubesprint.adapters.linux.cgroup_v1 import QUOTA
from kubesprint.adapters.linux.processes import Marked, Stat, family, snapshot
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.core.units import CoreSeconds, KiloHertz, Seconds

_POLICIES = "/sys/devices/system/cpu/cpufreq"


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttling:
    """How often, and for how long, a group wanted more than its quota."""

    periods: int
    throttled_periods: int
    throttled: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineTime:
    """Seconds since boot, summed over all CPUs (`/proc/stat`)."""

    busy: CoreSeconds
    idle: CoreSeconds
    stolen: CoreSeconds  # by the host of a virtual machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressure:
    """Share of time, in percent, in which some task waited for a CPU."""

    some_10s: float
    some_60s: float
    some_total: Seconds


def _words(text: str | None) -> Mapping[str, str]:
    """A file of "name value" lines."""
    pairs = (line.split(None, 1) for line in (text or "").splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def group_cpu_seconds(fs: PseudoFs, group: str) -> CoreSeconds | None:
    """CPU time of everything that ever ran in a group (`cpu.stat` of v2, `cpuacct.usage` of v1)."""
    usage = _words(fs.optional(f"{group}/cpu.stat")).get("usage_usec")
    if usage is not None:
        return CoreSeconds(int(usage) / 1e6)
    nanoseconds = fs.optional(f"{group}/cpuacct.usage")
    return None if nanoseconds is None else CoreSeconds(int(nanoseconds) / 1e9)


def group_throttling(fs: PseudoFs, group: str) -> Throttling | None:
    """What a group's quota cost it (`cpu.stat`)."""
    words = _words(fs.optional(f"{group}/cpu.stat"))
    if "nr_periods" not in words:
        return None
    v1 = fs.kernel.exists(f"{group}/{QUOTA}")
    stopped = int(words["throttled_time"]) / 1e9 if v1 else int(words["throttled_usec"]) / 1e6
    return Throttling(
        periods=int(words["nr_periods"]),
        throttled_periods=int(words["nr_throttled"]),
        throttled=Seconds(stopped),
    )


def _tick() -> float:
    return 1.0 / os.sysconf("SC_CLK_TCK")


def _total(stats: Iterable[Stat]) -> CoreSeconds:
    """Own time of each, and what each collected from children that have ended."""
    return CoreSeconds(sum(stat.ticks + stat.children_ticks for stat in stats) * _tick())


def job_cpu_seconds(fs: PseudoFs, leaders: Sequence[int]) -> Mapping[int, CoreSeconds]:
    """CPU time of each job: its leader, its session and descendants, and their reaped children.

    A leader that is gone is left out. Misses a process that left the session and whose parent ended,
    and ended itself before anybody looked. Reads all of `/proc` once.
    """
    table = snapshot(fs) if leaders else {}
    return {pid: _total(table[member] for member in family(table, {pid})) for pid in leaders if pid in table}


def run_cpu_seconds(fs: PseudoFs, run_id: str, slot: str | None = None) -> CoreSeconds:
    """CPU time of all living processes that carry the mark of a run, and their reaped children."""
    return _total(Marked(fs, run_id, slot).find())


def machine_time(fs: PseudoFs) -> MachineTime | None:
    """The first line of `/proc/stat`."""
    first = (fs.optional("/proc/stat") or "").split("\n", 1)[0].split()
    if len(first) < 9 or first[0] != "cpu":
        return None
    user, nice, system, idle, waiting, hard, soft, stolen = (int(word) * _tick() for word in first[1:9])
    return MachineTime(
        busy=CoreSeconds(user + nice + system + hard + soft),
        idle=CoreSeconds(idle + waiting),
        stolen=CoreSeconds(stolen),
    )


def load(fs: PseudoFs) -> float | None:
    """The load average of the last minute."""
    text = fs.optional("/proc/loadavg")
    return None if text is None else float(text.split()[0])


def pressure(fs: PseudoFs, group: str | None = None) -> Pressure | None:
    """CPU pressure of the machine, or of a v2 group. The machine's "full" is zero by definition."""
    text = fs.optional("/proc/pressure/cpu" if group is None else f"{group}/cpu.pressure")
    some = next((line for line in (text or "").splitlines() if line.startswith("some ")), None)
    if some is None:
        return None
    values = dict(word.split("=", 1) for word in some.split()[1:])
    return Pressure(
        some_10s=float(values["avg10"]),
        some_60s=float(values["avg60"]),
        some_total=Seconds(int(values["total"]) / 1e6),
    )


def clocks(fs: PseudoFs) -> Mapping[str, KiloHertz]:
    """The current clock of each cpufreq policy. Of an idle CPU it is only what was last asked for."""
    found = {}
    for policy in fs.folders(_POLICIES):
        text = fs.optional(f"{_POLICIES}/{policy}/scaling_cur_freq") or ""
        if policy.startswith("policy") and text.isdigit():
            found[policy] = KiloHertz(int(text))
    return found


def time_in_state(fs: PseudoFs, policy: str) -> Mapping[KiloHertz, Seconds] | None:
    """How long a policy has spent at each clock."""
    text = fs.optional(f"{_POLICIES}/{policy}/stats/time_in_state")
    if text is None:
        return None
    return {KiloHertz(int(khz)): Seconds(int(ticks) / 100) for khz, ticks in _words(text).items()}


def average_clock(
    before: Mapping[KiloHertz, Seconds], after: Mapping[KiloHertz, Seconds]
) -> KiloHertz | None:
    """The mean clock between two readings of `time_in_state`; None: no time has passed, or it was reset."""
    spent = {khz: after[khz] - before.get(khz, 0.0) for khz in after}
    total = sum(spent.values())
    if total <= 0 or min(spent.values()) < 0:
        return None
    return KiloHertz(round(sum(khz * seconds for khz, seconds in spent.items()) / total))
