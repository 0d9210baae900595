"""One live run per machine."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kubesprint.adapters.files.lock import RESTORE, StillRestoring, take_lock
from kubesprint.core.errors import Refused


def test_a_second_run_is_refused_and_told_who_holds_the_lock(tmp_path: Path):
    holder = take_lock(tmp_path, "r1")
    with pytest.raises(Refused, match=rf"run r1 \(process {os.getpid()}\) is live .*lock") as refusal:
        take_lock(tmp_path, "r2")
    assert not isinstance(refusal.value, StillRestoring)
    holder.release()
    take_lock(tmp_path, "r3").release()


def test_a_child_that_inherits_the_lock_holds_it_until_it_ends(tmp_path: Path):
    lock = take_lock(tmp_path, "r1")
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"],
        stdin=subprocess.PIPE,
        pass_fds=(lock.fileno(),),
    )
    lock.release()
    with pytest.raises(Refused, match="run r1"):
        take_lock(tmp_path, "r2")
    assert child.stdin is not None
    child.stdin.close()
    child.wait(20)
    take_lock(tmp_path, "r2").release()


def test_the_kernel_drops_the_lock_of_a_killed_process(tmp_path: Path):
    program = f"""
from pathlib import Path
from kubesprint.adapters.files.lock import take_lock
lock = take_lock(Path({str(tmp_path)!r}), "r1")
print("held", flush=True)
import time; time.sleep(60)
"""
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(Refused, match=f"process {child.pid}"):
            take_lock(tmp_path, "r2")
        child.kill()
        child.wait(20)
    take_lock(tmp_path, "r2").release()


def test_a_keeper_that_still_restores_for_a_dead_engine_is_named_as_such(tmp_path: Path):
    program = f"""
import os
from pathlib import Path
from kubesprint.adapters.files.lock import take_lock
lock = take_lock(Path({str(tmp_path)!r}), "r1")
if os.fork():
    os._exit(0)
import time; time.sleep(60)
"""
    engine = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    engine.wait(20)
    try:
        with pytest.raises(StillRestoring, match="has ended but its keeper still restores"):
            take_lock(tmp_path, "r2")
    finally:
        os.killpg(engine.pid, 9)
    deadline = time.monotonic() + 20
    while True:
        try:
            take_lock(tmp_path, "r2").release()
            break
        except Refused:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_another_process_with_the_id_of_a_dead_engine_is_not_taken_for_it(tmp_path: Path):
    with take_lock(tmp_path, "r1"):
        document = json.loads((tmp_path / "lock").read_text())
        document["start_ticks"] -= 1  # the engine had started earlier
        (tmp_path / "lock").write_text(json.dumps(document))
        with pytest.raises(StillRestoring, match="has ended"):
            take_lock(tmp_path, "r2")


def test_an_engine_that_nobody_has_buried_yet_is_dead(tmp_path: Path):
    program = f"""
import os
from pathlib import Path
from kubesprint.adapters.files.lock import take_lock
lock = take_lock(Path({str(tmp_path)!r}), "r1")
print("held", flush=True)
if os.fork() == 0:
    import time; time.sleep(60)
os.kill(os.getpid(), 9)
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as engine:
        assert engine.stdout is not None
        assert engine.stdout.readline() == b"held\n"
        os.waitid(os.P_PID, engine.pid, os.WEXITED | os.WNOWAIT)
        try:
            with pytest.raises(StillRestoring, match=f"process {engine.pid}"):
                take_lock(tmp_path, "r2")
        finally:
            os.killpg(engine.pid, 9)


def test_a_restore_at_work_is_named_and_worth_waiting_for(tmp_path: Path):
    with take_lock(tmp_path, RESTORE), pytest.raises(StillRestoring, match="kubesprint restore"):
        take_lock(tmp_path, "r2")
