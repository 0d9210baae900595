"""How jobs get into the slots that the keeper made, and how their CPU time is read there."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from kubesprint.adapters.linux.counters import group_cpu_seconds
from kubesprint.adapters.linux.hardware import SlotHardware
from kubesprint.adapters.linux.jobs import end_all
from kubesprint.adapters.linux.parked import Berth, Launcher
from kubesprint.adapters.linux.processes import Marked, parse_stat
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.apps.keeper_link import KeeperLink
from kubesprint.apps.local_jobs import Place


def places_of(
    hardware: SlotHardware | None, link: KeeperLink | None, launcher: Launcher
) -> Mapping[str, Place]:
    """One place a slot; none where jobs start plainly."""
    if hardware is None or link is None:
        return {}
    return {knob: _place(hardware, link, launcher, knob) for knob in hardware.knobs()}


def _place(hardware: SlotHardware, link: KeeperLink, launcher: Launcher, knob: str) -> Place:
    entry = hardware.entry(knob)
    group = hardware.account(knob)
    berth = Berth(launcher, entry.procs, None if entry.cpus is None else sorted(entry.cpus))
    return Place(
        berth=berth,
        cpu_seconds=None if group is None else partial(group_cpu_seconds, PseudoFs(), group),
        tenant=partial(_move_in, link, knob) if hardware.plan.mechanism == "affinity" else None,
        clear=partial(end_all, _occupants(hardware, knob, berth)),
        environment=dict(entry.environment),
    )


def _occupants(hardware: SlotHardware, knob: str, berth: Berth) -> Callable[[], Sequence[int]]:
    """Finds every process of the job in a slot: by its group, else by its marks."""
    files = hardware.join(knob)
    if files:
        return lambda: [pid for pid in _listed(Path(files[0])) if pid != berth.pid]
    marked = Marked(PseudoFs(), hardware.plan.run_id, knob)
    return lambda: [stat.pid for stat in marked.find()]


def _listed(file: Path) -> Sequence[int]:
    try:
        return [int(pid) for pid in file.read_text().split()]
    except OSError:
        return ()  # the group is gone, and nobody can be in it


def _move_in(link: KeeperLink, knob: str, pid: int) -> None:
    try:
        stat = parse_stat(Path(f"/proc/{pid}/stat").read_text())
    except OSError:
        return  # it has ended already
    link.tenant(knob, pid, stat.start)
