"""Which processes belong to a job, and the CPUs that their threads may use.

A job is found by the mark in its environment, by descent, and by session, so that neither a second fork
nor a new session hides a process. Processes are told apart by pid *and* start time.
Sources: `/proc/PID/{stat,environ,task}`.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kubesprint.adapters.linux import cpulist
from kubesprint.adapters.linux.pseudofs import PseudoFs, translate
from kubesprint.core.errors import Unavailable

RUN_MARK = "KUBESPRINT_RUN"
SLOT_MARK = "KUBESPRINT_SLOT"
_ROUNDS = 100
_YOUTH = 5.0  # seconds: a job has its mark from its exec on, milliseconds after the fork


def marks(run_id: str, slot: str) -> Mapping[str, str]:
    """The environment by which the processes of a job are found again."""
    return {RUN_MARK: run_id, SLOT_MARK: slot}


@dataclass(frozen=True, slots=True)
class Stat:
    """The part of `/proc/PID/stat` that is used here. Times are in clock ticks."""

    pid: int
    state: str
    parent: int
    session: int
    ticks: int  # own CPU time, user and system
    children_ticks: int  # of children that were waited for
    start: int  # since boot


def parse_stat(text: str) -> Stat:
    """The name of a program may hold blanks and brackets: the last bracket ends it."""
    head, _, tail = text.rpartition(")")
    f = tail.split()
    return Stat(
        pid=int(head.split(" ", 1)[0]),
        state=f[0],
        parent=int(f[1]),
        session=int(f[3]),
        ticks=int(f[11]) + int(f[12]),
        children_ticks=int(f[13]) + int(f[14]),
        start=int(f[19]),
    )


def snapshot(fs: PseudoFs) -> Mapping[int, Stat]:
    """Every process now. One that ends meanwhile is left out."""
    found = {}
    for name in fs.kernel.listdir("/proc"):
        text = fs.optional(f"/proc/{name}/stat") if name.isdigit() else None
        if text:
            stat = parse_stat(text)
            found[stat.pid] = stat
    return found


def family(table: Mapping[int, Stat], seeds: set[int]) -> set[int]:
    """The seeds, their descendants, and the sessions that a seed leads or that have lost their leader."""
    members = {pid for pid in seeds if pid in table}
    sessions = {table[pid].session for pid in members}
    sessions = {s for s in sessions if s > 0 and (s in members or s not in table)}
    grown = True
    while grown:
        more = {
            p for p, s in table.items() if p not in members and (s.parent in members or s.session in sessions)
        }
        members |= more
        grown = bool(more)
    return members


class Marked:
    """Finds the processes of one run, or of one slot of it. Remembers what it has once seen."""

    def __init__(self, fs: PseudoFs, run_id: str, slot: str | None = None) -> None:
        wanted = {f"{RUN_MARK}={run_id}"} | ({f"{SLOT_MARK}={slot}"} if slot is not None else set())
        self._fs, self._wanted = fs, wanted
        self._known: set[tuple[int, int]] = set()
        self._tenants: set[tuple[int, int]] = set()
        self._strangers: set[tuple[int, int]] = set()  # saves reading the same environments over and over
        self._settled = 0.0  # ticks since boot: who started earlier has long had its final environment

    def tenant(self, pid: int, start: int) -> None:
        """This process belongs here, whatever its environment says."""
        self._tenants.add((pid, start))

    def find(self) -> Sequence[Stat]:
        """The living processes, ascending by pid."""
        table = snapshot(self._fs)
        uptime = (self._fs.optional("/proc/uptime") or "0").split()[0]
        self._settled = (float(uptime) - _YOUTH) * os.sysconf("SC_CLK_TCK")
        seeds = {pid for pid, s in table.items() if self._belongs(s)}
        members = family(table, seeds)
        self._known = {(pid, table[pid].start) for pid in members}
        return [table[pid] for pid in sorted(members) if table[pid].state not in "ZX"]

    def _belongs(self, stat: Stat) -> bool:
        key = (stat.pid, stat.start)
        if key in self._known or key in self._tenants:
            return True
        if key in self._strangers:
            return False
        # The environment of another user's process is not shown to us, and cannot be ours.
        text = self._fs.optional(f"/proc/{stat.pid}/environ")
        belongs = text is not None and self._wanted <= set(text.split("\0"))
        if not belongs and stat.start < self._settled:
            self._strangers.add(key)
        return belongs


class SlotProcesses:
    """The occupants of a slot, and the CPUs on which they may run."""

    def __init__(self, fs: PseudoFs, run_id: str, slot: str, found: frozenset[int]) -> None:
        self._fs = fs
        self._marked = Marked(fs, run_id, slot)
        self._empty = found  # what an empty slot would give
        self._seen: frozenset[tuple[int, int]] = frozenset()  # who was confined last

    def tenant(self, pid: int, start: int) -> None:
        """Name the root of the process tree in this slot."""
        self._marked.tenant(pid, start)

    def mask(self) -> str:
        """The CPUs of all threads; masks that differ are joined by `;`. Of an empty slot: the next job's."""
        masks = {cpulist.spell(mask) for mask in self._masks().values()}
        return ";".join(sorted(masks)) if masks else cpulist.spell(self._empty)

    def changed(self) -> bool:
        """Have all processes gone that were confined last, and others come? (Forks of those do not count.)"""
        now = {(stat.pid, stat.start) for stat in self._marked.find()}
        before, self._seen = self._seen, frozenset(now)
        return bool(now) and not (now & before)

    def confine(self, cpus: frozenset[int]) -> None:
        """Confine every thread, and look again until none has appeared meanwhile. Raises `Unavailable`."""
        self._empty = cpus
        for _ in range(_ROUNDS):
            others = [thread for thread, mask in self._masks().items() if mask != cpus]
            if not others:
                self._seen = frozenset((stat.pid, stat.start) for stat in self._marked.find())
                return
            for thread in others:
                self._confine(thread, cpus)
        raise Unavailable(f"threads appear as fast as they are confined to CPUs {cpulist.spell(cpus)}")

    def _confine(self, thread: int, cpus: frozenset[int]) -> None:
        try:
            self._fs.kernel.set_affinity(thread, cpus)
        except ProcessLookupError:
            return  # it has just ended
        except OSError as error:
            raise translate(error, f"/proc/{thread}", "cannot set the CPUs of") from error

    def _masks(self) -> Mapping[int, frozenset[int]]:
        """The mask of each thread."""
        masks = {}
        stats = self._marked.find()
        for stat in stats:
            try:
                for name in self._fs.kernel.listdir(f"/proc/{stat.pid}/task"):
                    masks[int(name)] = self._fs.kernel.affinity(int(name))
            except (ProcessLookupError, FileNotFoundError):
                continue  # it has just ended, or one of its threads: the next look counts
        return masks
