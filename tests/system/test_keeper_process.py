"""The keeper as a process, on this machine's own control groups and on CPU affinity.

Engine and keeper are killed, alone and together, and silenced; whatever happens, nothing is left.
Job processes survive and return to the group they came from.
"""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kubesprint.adapters.files.lock import take_lock
from kubesprint.adapters.linux import cgroup
from kubesprint.adapters.linux.plan import capability
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.apps.recovery import restore_from_journal
from kubesprint.core.errors import Refused

PATIENCE = 30.0  # seconds; the machine may be busy
FS = PseudoFs("/")
QUOTA = capability(FS, cgroup.discover(FS), "quota")
V1 = QUOTA.place is not None and QUOTA.place.version == 1

pytestmark = pytest.mark.timeout(180)
by_quota = [
    pytest.mark.cgroups,
    pytest.mark.skipif(not QUOTA.possible, reason=f"needs the right to set CPU quotas: {QUOTA.reason}"),
]
by_affinity = [pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")]


class Run:
    """An engine, its keeper and one job."""

    def __init__(self, folder: Path, mechanism: str, lease: float) -> None:
        self.folder = folder
        self.mechanism = mechanism
        self.run = f"t{uuid.uuid4().hex[:8]}"
        self.groups_before = memberships(os.getpid())
        self.cpus_before = os.sched_getaffinity(0)
        program = Path(__file__).with_name("keeper_engine.py")
        self.engine = subprocess.Popen(
            [sys.executable, str(program), str(folder), self.run, mechanism, str(lease)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.engine.stdout is not None
        line = self.engine.stdout.readline()
        assert line, (folder / "keeper.log").read_text()
        pids = json.loads(line)
        self.keeper, self.job = pids["keeper"], pids["job"]

    def value(self) -> str:
        """What the first slot holds."""
        if self.mechanism == "affinity":
            return str(len(os.sched_getaffinity(self.job)))
        assert QUOTA.place is not None
        group = f"{QUOTA.place.parent}/kubesprint-{self.run}-slot-0"
        return FS.read(f"{group}/{'cpu.cfs_quota_us' if V1 else 'cpu.max'}").split()[0]

    @property
    def base(self) -> str:
        return "1" if self.mechanism == "affinity" else "40000"

    @property
    def sprint(self) -> str:
        return "2" if self.mechanism == "affinity" else "100000"

    def end(self) -> list[str] | None:
        """Ask the engine to close; returns what its keeper could not put back."""
        assert self.engine.stdin is not None
        assert self.engine.stdout is not None
        self.engine.stdin.close()
        answer: list[str] | None = json.loads(self.engine.stdout.readline())["failed"]
        self.engine.wait(PATIENCE)
        return answer

    def kill_engine(self) -> None:
        self.engine.kill()
        self.engine.wait(PATIENCE)

    def assert_nothing_left(self) -> None:
        assert leftovers(self.run) == []
        assert not (self.folder / "journal.json").exists()
        assert Path(f"/proc/{self.job}").exists()
        assert memberships(self.job) == self.groups_before
        assert os.sched_getaffinity(self.job) == self.cpus_before

    def clean_up(self) -> None:
        for pid in (self.engine.pid, self.keeper, self.job):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.engine.wait(PATIENCE)
        assert self.engine.stdin is not None
        assert self.engine.stdout is not None
        self.engine.stdin.close()
        self.engine.stdout.close()
        wait_for(lambda: not alive(self.keeper), "the keeper ends")
        restore_from_journal(self.folder)


def memberships(pid: int) -> str:
    return Path(f"/proc/{pid}/cgroup").read_text()


def alive(pid: int) -> bool:
    """A process that is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def leftovers(run: str) -> list[str]:
    return [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/kubesprint-{run}-*") if path.is_dir()]


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


Start = Callable[..., Run]


@pytest.fixture(params=[pytest.param("quota", marks=by_quota), pytest.param("affinity", marks=by_affinity)])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    runs: list[Run] = []

    def begin(lease: float = 60.0) -> Run:
        runs.append(Run(tmp_path, request.param, lease))
        return runs[-1]

    yield begin
    for run in runs:
        run.clean_up()


def test_invariant_9_a_run_that_ends_leaves_everything_as_it_was_found(start: Start):
    run = start()
    assert run.value() == run.sprint
    assert run.end() == []
    assert not alive(run.keeper)
    run.assert_nothing_left()


def test_invariant_2_when_the_engine_is_killed_the_keeper_restores_and_ends(start: Start):
    run = start()
    run.kill_engine()
    wait_for(lambda: not alive(run.keeper), "the keeper ends")
    run.assert_nothing_left()


def test_invariant_2_when_both_are_killed_a_restore_puts_everything_back(start: Start):
    run = start()
    os.kill(run.keeper, signal.SIGKILL)
    run.kill_engine()
    assert run.value() == run.sprint
    assert (run.folder / "journal.json").exists()

    recovery = restore_from_journal(run.folder)

    assert (recovery.run, list(recovery.failed)) == (run.run, [])
    run.assert_nothing_left()
    again = restore_from_journal(run.folder)
    assert (again.run, list(again.put_back)) == (None, [])


def test_invariant_2_the_next_run_restores_before_it_starts(start: Start):
    run = start()
    os.kill(run.keeper, signal.SIGKILL)
    run.kill_engine()
    after = start()
    assert leftovers(run.run) == []
    assert after.end() == []
    run.assert_nothing_left()


def test_invariant_2_a_killed_keeper_leaves_a_journal_that_suffices(start: Start):
    run = start()
    os.kill(run.keeper, signal.SIGKILL)
    wait_for(lambda: not alive(run.keeper), "the keeper dies")
    with pytest.raises(Refused, match=run.run):
        restore_from_journal(run.folder, wait=0.0)  # type: ignore[arg-type]
    assert run.end() is None
    restore_from_journal(run.folder)
    run.assert_nothing_left()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_invariant_2_a_signal_ends_the_keeper_only_after_it_has_restored(
    start: Start, number: signal.Signals
):
    run = start()
    os.kill(run.keeper, number)
    wait_for(lambda: not alive(run.keeper), "the keeper ends")
    run.assert_nothing_left()


def test_invariant_1_a_silent_engine_loses_its_sprint_within_the_lease_and_one_period(start: Start):
    run = start(lease=1.0)
    began = time.monotonic()
    run.engine.send_signal(signal.SIGSTOP)
    wait_for(lambda: run.value() == run.base, "base")
    assert time.monotonic() - began < 1.0 + 1.0 + 2.0  # lease, period, a busy machine
    assert alive(run.keeper)
    run.engine.send_signal(signal.SIGCONT)
    assert run.end() == []


def test_no_run_starts_before_the_keeper_of_a_dead_engine_has_restored(start: Start):
    run = start()
    os.kill(run.keeper, signal.SIGSTOP)
    run.kill_engine()
    with pytest.raises(Refused, match="its keeper still restores"):
        take_lock(run.folder, "next")
    os.kill(run.keeper, signal.SIGCONT)
    restore_from_journal(run.folder)  # waits
    run.assert_nothing_left()


def restore_command(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    program = "import typer; from kubesprint.apps.restore import restore; typer.run(restore)"
    return subprocess.run(
        [sys.executable, "-c", program, "--state-dir", str(folder), *options], capture_output=True, text=True
    )


def test_the_command_restores_once_and_then_has_nothing_to_do(start: Start):
    run = start()
    os.kill(run.keeper, signal.SIGKILL)
    run.kill_engine()

    first = restore_command(run.folder)
    second = restore_command(run.folder, "--json")

    assert (first.returncode, first.stderr) == (0, "")
    assert "put back: slot-0/" in first.stdout
    assert f"run {run.run}: everything is as it was found" in first.stdout
    assert second.returncode == 0
    assert json.loads(second.stdout) == {"run": None, "put_back": [], "left": [], "failed": [], "note": ""}
    run.assert_nothing_left()


def test_the_command_refuses_while_a_run_is_live(start: Start):
    run = start()
    answer = restore_command(run.folder)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert f"run {run.run} (process {run.engine.pid}) is live" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    assert run.value() == run.sprint


def test_ctrl_c_of_the_terminal_does_not_reach_the_keeper(start: Start):
    run = start()
    assert os.getsid(run.keeper) == run.keeper
    assert os.getsid(run.keeper) != os.getsid(run.engine.pid)


@pytest.mark.cgroups
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
def test_a_full_disk_ends_sprints_and_the_run_still_restores(tmp_path: Path):
    if not QUOTA.possible:
        pytest.skip(f"needs the right to set CPU quotas: {QUOTA.reason}")
    state = tmp_path / "state"
    state.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "none", state], capture_output=True)
    if mount.returncode:
        pytest.skip(f"cannot mount a tmpfs here: {mount.stderr.decode().strip()}")
    try:
        run = Run(state, "quota", 60.0)
        try:
            with suppress(OSError), (state / "ballast").open("wb", buffering=0) as ballast:
                while True:
                    ballast.write(bytes(4096))
            wait_for(lambda: run.value() == run.base, "base")
            assert run.end() == []
            run.assert_nothing_left()
        finally:
            run.clean_up()
    finally:
        subprocess.run(["umount", state], check=True)
