"""Jobs of a killed run that live on: found by their marks in one look, waited for, never started twice."""

import os
import select
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from kubesprint.adapters.linux.jobs import Exit, JobProcess, end_all
from kubesprint.adapters.linux.processes import RUN_MARK, Stat, family, snapshot
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.core.units import CoreSeconds


class AdoptedJob(JobProcess):
    """The leader of a job that is not our child: its end is seen, its outcome cannot be known."""

    def __init__(self, pid: int, clear: Callable[[], None] | None = None) -> None:
        """Watch a process that leads its own session.

        Args:
            pid: of it.
            clear: ends what the job leaves in other sessions, once its leader has ended.

        Raises:
            ProcessLookupError: it has ended.
        """
        super().__init__(pid)
        self._clear = clear

    def poll(self) -> Exit | None:
        """Whether its leader has ended: then the job is over, and what it has left is ended."""
        over = self._exit is not None
        ended = super().poll()
        if ended is not None and not over and self._clear is not None:
            self._clear()
        return ended

    def _wait(self) -> tuple[int | None, CoreSeconds | None] | None:
        return (None, None) if select.select([self.pidfd], [], [], 0)[0] else None


def adopt_survivors(
    fs: PseudoFs,
    run: str,
    job_mark: str,
    *,
    pids: Mapping[str, int],
    over: Collection[str],
    sweep: bool,
) -> Mapping[str, AdoptedJob]:
    """The jobs of a run whose leader still lives, by name; what others have left is ended.

    One look is enough: whoever could start more of them is gone.

    Args:
        fs: where `/proc` is.
        run: whose jobs.
        job_mark: the variable that holds the name of a job in its environment.
        pids: the leaders, as far as the run came to write them down.
        over: jobs whose end is known; they have no leader any more.
        sweep: whether a job that is over may leave nothing, in whatever session: so it is with slots.
    """
    jobs = {}
    find = partial(_processes, fs, run, job_mark)
    for name, stats in find().items():
        clear = partial(end_all, partial(_pids, find, name))
        leader = None if name in over else _leader(stats, pids.get(name))
        try:
            if leader is not None:
                jobs[name] = AdoptedJob(leader.pid, clear if sweep else None)
                continue
        except ProcessLookupError:
            pass  # it has just ended
        if sweep or name not in over:
            clear()
    return jobs


def _processes(fs: PseudoFs, run: str, job_mark: str) -> Mapping[str, Sequence[Stat]]:
    """The living processes of a run's jobs, by job: those that carry its marks, and theirs."""
    table = snapshot(fs)
    seeds: dict[str, set[int]] = {}
    for pid in table:
        # the environment of another user's process is not shown to us, and cannot be ours
        variables = (fs.optional(f"/proc/{pid}/environ") or "").split("\0")
        pairs = dict(variable.partition("=")[::2] for variable in variables)
        if pid != os.getpid() and job_mark in pairs and _of_run(pairs.get(RUN_MARK, ""), run):
            seeds.setdefault(pairs[job_mark], set()).add(pid)
    return {
        name: [table[pid] for pid in sorted(family(table, pids)) if table[pid].state not in "ZX"]
        for name, pids in seeds.items()
    }


def _of_run(mark: str, run: str) -> bool:
    """Whether a mark is that of the run, or of a later part of it: `RUN-2`, `RUN-3`, ..."""
    rest = mark.removeprefix(f"{run}-")
    return mark == run or (rest != mark and rest.isdecimal())


def _pids(find: Callable[[], Mapping[str, Sequence[Stat]]], name: str) -> Sequence[int]:
    return [stat.pid for stat in find().get(name, ())]


def _leader(stats: Sequence[Stat], pid: int | None) -> Stat | None:
    """The first process of a job leads its session; a daemon may lead one too, but it came later."""
    leaders = [stat for stat in stats if stat.session == stat.pid and pid in (None, stat.pid)]
    return min(leaders, key=lambda stat: stat.start, default=None)
