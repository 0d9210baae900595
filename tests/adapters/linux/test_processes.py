"""Whose process is whose, and where its threads may run: on real processes and on ones in memory."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kubesprint.adapters.linux.counters import job_cpu_seconds, run_cpu_seconds
from kubesprint.adapters.linux.hardware import open_slots
from kubesprint.adapters.linux.processes import Marked, SlotProcesses, marks, parse_stat
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.adapters.linux.threads import COUNTS, spin_risk, thread_environment
from kubesprint.adapters.virtual.scripted_fs import ScriptedFs
from kubesprint.core.allocation import Allocation
from kubesprint.core.units import Cores

RUN = "test-processes"
# A child in a session of its own whose parent ends, one that clears its environment, and a thread.
JOB = """
import os, sys, threading, time
while time.process_time() < 0.1: pass
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(60)"])
if os.fork() == 0:
    os.execve(sys.executable, [sys.executable, "-c", "import time; time.sleep(60)"], {})
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
time.sleep(60)
"""


def threads_of(pid: int) -> list[int]:
    return [int(folder.name) for folder in Path(f"/proc/{pid}/task").iterdir()]


@contextmanager
def job() -> Iterator[int]:
    """A job of three processes, marked; ended afterwards, whatever became of them."""
    environment = os.environ | dict(marks(RUN, "slot-0"))
    leader = subprocess.Popen([sys.executable, "-c", JOB], env=environment, start_new_session=True)
    marked = Marked(PseudoFs(), RUN)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not _complete(leader.pid):
        time.sleep(0.02)
    try:
        yield leader.pid
    finally:
        for stat in marked.find():
            os.kill(stat.pid, signal.SIGKILL)
        leader.wait()


def _complete(pid: int) -> bool:
    """Three processes, all past their last exec, and the leader's thread."""
    found = Marked(PseudoFs(), RUN, "slot-0").find()
    threads = threads_of(pid)
    return len(found) == 3 and len(threads) == 2 and len({stat.session for stat in found}) == 2


def test_a_second_fork_a_new_session_and_an_emptied_environment_hide_nothing() -> None:
    with job() as pid:
        found = Marked(PseudoFs(), RUN, "slot-0").find()
        assert len(found) == 3
        assert pid in {stat.pid for stat in found}
        assert Marked(PseudoFs(), RUN, "slot-1").find() == []
        assert os.getpid() not in {stat.pid for stat in found}


def test_every_thread_of_every_process_is_confined() -> None:
    cpus = os.sched_getaffinity(0)
    one = frozenset({min(cpus)})
    with job() as pid:
        slot = SlotProcesses(PseudoFs(), RUN, "slot-0", frozenset(cpus))
        slot.confine(one)
        threads = [
            thread for stat in Marked(PseudoFs(), RUN, "slot-0").find() for thread in threads_of(stat.pid)
        ]
        assert len(threads) >= 4
        assert {frozenset(os.sched_getaffinity(thread)) for thread in threads} == {one}
        assert slot.mask() == str(min(cpus))
        assert pid in threads


def test_cpu_time_of_a_job_covers_its_family() -> None:
    with job() as pid:
        family, run = job_cpu_seconds(PseudoFs(), [pid])[pid], run_cpu_seconds(PseudoFs(), RUN, "slot-0")
        assert family is not None
        assert 0 < family <= run
    assert job_cpu_seconds(PseudoFs(), [pid]) == {}


def test_a_process_that_reuses_a_number_is_a_stranger() -> None:
    kernel = ScriptedFs()
    kernel.spawn(7)
    marked = Marked(PseudoFs(kernel), RUN)
    marked.tenant(7, kernel.processes[7].start)
    assert [stat.pid for stat in marked.find()] == [7]
    kernel.processes[7].start += 1  # ended; another process has got its number
    assert marked.find() == []


def test_a_session_keeps_together_whom_nothing_else_does() -> None:
    kernel = ScriptedFs()
    kernel.spawn(7, **marks(RUN, "slot-0"))
    kernel.spawn(8, parent=1, session=7)  # its parent has ended, its environment is empty
    kernel.spawn(9, parent=1, session=9)
    assert [stat.pid for stat in Marked(PseudoFs(kernel), RUN, "slot-0").find()] == [7, 8]


def test_threads_that_appear_while_others_are_confined_are_confined_too() -> None:
    kernel = ScriptedFs()
    process = kernel.spawn(7, **marks(RUN, "slot-0"))
    confine = kernel.set_affinity

    def another_thread_first(thread: int, cpus: object) -> None:
        if len(process.threads) < 5:
            process.threads[100 + len(process.threads)] = kernel.cpus
        confine(thread, cpus)  # type: ignore[arg-type]

    kernel.set_affinity = another_thread_first  # type: ignore[method-assign]
    SlotProcesses(PseudoFs(kernel), RUN, "slot-0", kernel.cpus).confine(frozenset({1}))
    assert set(process.threads.values()) == {frozenset({1})}
    assert len(process.threads) == 5


def test_a_new_job_in_a_slot_is_noticed_and_a_fork_of_the_old_is_not() -> None:
    kernel = ScriptedFs()
    slots = open_slots(
        PseudoFs(kernel), RUN, 1, Allocation(Cores(1)), Allocation(Cores(2)), mechanism="affinity"
    )
    kernel.spawn(7, **marks(RUN, "slot-0"))
    assert len(slots.changed()) == 1
    kernel.spawn(8, parent=7)
    assert slots.changed() == []
    del kernel.processes[7]
    assert slots.changed() == []
    del kernel.processes[8]
    kernel.spawn(9, **marks(RUN, "slot-0"))
    assert len(slots.changed()) == 1


def test_a_program_may_have_any_name() -> None:
    stat = parse_stat("7 (a) S (b) R 3 7 5 0 -1 0 0 0 0 0 11 22 33 44 20 0 1 0 999 0 0")
    assert (stat.pid, stat.parent, stat.session, stat.ticks, stat.children_ticks) == (7, 3, 5, 33, 77)
    assert stat.start == 999


def test_pools_get_the_threads_of_the_sprint_and_wait_passively_unless_told_otherwise() -> None:
    added = thread_environment(1.5, {"OMP_NUM_THREADS": "1"})
    assert added["OMP_WAIT_POLICY"] == "PASSIVE"
    assert {name for name in COUNTS if added.get(name) == "2"} == set(COUNTS) - {"OMP_NUM_THREADS"}
    assert "OMP_NUM_THREADS" not in added


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "OMP_WAIT_POLICY is not set"),
        ({"OMP_WAIT_POLICY": "active"}, "OMP_WAIT_POLICY=active"),
        ({"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "infinity"}, "GOMP_SPINCOUNT=infinity"),
        ({"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "200"}, "KMP_BLOCKTIME=200"),
    ],
)
def test_a_pool_that_may_spin_is_not_moved_between_cpus(environment: dict[str, str], said: str) -> None:
    assert said in (spin_risk(environment) or "")


def test_a_pool_that_waits_passively_may_be_moved() -> None:
    assert spin_risk(thread_environment(2.0, {})) is None
