"""How jobs get into the slots that the keeper made, and how their CPU time is read there."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from kubesprint.adapters.linux.hardware import SlotHardware, enter
from kubesprint.adapters.linux.jobs import end_all
from kubesprint.adapters.linux.processes import Marked, parse_stat
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.apps.keeper_link import KeeperLink
from kubesprint.apps.local_jobs import Place


def places_of(hardware: SlotHardware | None, link: KeeperLink | None) -> Mapping[str, Place]:
    """One place a slot; none where jobs start plainly."""
    if hardware is None or link is None:
        return {}
    return {knob: _place(hardware, link, knob) for knob in hardware.knobs()}


def _place(hardware: SlotHardware, link: KeeperLink, knob: str) -> Place:
    entry = hardware.entry(knob)
    group = hardware.account(knob)
    return Place(
        enter=partial(enter, entry),
        cpu_seconds=None if group is None else partial(_group_cpu_seconds, Path(group)),
        tenant=partial(_move_in, link, knob) if hardware.plan.mechanism == "affinity" else None,
        clear=partial(end_all, _occupants(hardware, knob)),
        environment=dict(entry.environment),
    )


def _occupants(hardware: SlotHardware, knob: str) -> Callable[[], Sequence[int]]:
    """Finds every process in a slot: by its group, else by its marks."""
    files = hardware.join(knob)
    if files:
        return partial(_listed, Path(files[0]))
    marked = Marked(PseudoFs(), hardware.plan.run_id, knob)
    return lambda: [stat.pid for stat in marked.find()]


def _listed(file: Path) -> Sequence[int]:
    try:
        return [int(pid) for pid in file.read_text().split()]
    except OSError:
        return ()  # the group is gone, and nobody can be in it


def _group_cpu_seconds(group: Path) -> float | None:
    """CPU seconds of everything that ever ran in a group: v1 `cpuacct.usage`, v2 `cpu.stat`."""
    try:
        return int((group / "cpuacct.usage").read_text()) / 1e9
    except FileNotFoundError:
        pass
    except OSError:
        return None
    try:
        lines = (group / "cpu.stat").read_text().split()
    except OSError:
        return None
    return int(lines[lines.index("usage_usec") + 1]) / 1e6


def _move_in(link: KeeperLink, knob: str, pid: int) -> None:
    try:
        stat = parse_stat(Path(f"/proc/{pid}/stat").read_text())
    except OSError:
        return  # it has ended already
    link.tenant(knob, pid, stat.start)
