"""Jobs that wait in their slot as a process, and become a command in one step."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubesprint.adapters.linux.jobs import JobProcess, SlotGone
from kubesprint.adapters.linux.parked import Berth, LaunchedJob, Launcher
from kubesprint.core.errors import Unavailable

PATIENCE = 20.0  # seconds
TELL = """
import json, os, signal, sys
lines = open("/proc/self/status").read().splitlines()
status = dict(line.split(":\\t", 1) for line in lines if ":\\t" in line)
print(json.dumps({
    "pid": os.getpid(), "session": os.getsid(0), "cwd": os.getcwd(),
    "cpus": sorted(os.sched_getaffinity(0)), "env": dict(os.environ),
    "files": sorted(int(n) for n in os.listdir("/proc/self/fd"))[:-1],
    "ignored": int(status["SigIgn"], 16), "blocked": int(status["SigBlk"], 16),
    "stdin": os.readlink("/proc/self/fd/0"),
}))
"""


@pytest.fixture
def launcher() -> Iterator[Launcher]:
    launcher = Launcher()
    yield launcher
    launcher.close()


def run(berth: Berth, command: list[str], tmp_path: Path, **env: str) -> JobProcess:
    return berth.start(
        command, env={"PATH": os.environ["PATH"], **env}, workdir=str(tmp_path), log=log(tmp_path)
    )


def log(tmp_path: Path) -> Path:
    return tmp_path / "job.log"


def wait_until(condition: object) -> bool:
    assert callable(condition)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.005)
    return False


def ended(job: JobProcess) -> bool:
    return job.poll() is not None


def gone(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return text.rpartition(")")[2].split()[0] in "ZX"


def test_a_parked_process_becomes_the_job_that_any_other_start_would_have_made(
    launcher: Launcher, tmp_path: Path
) -> None:
    berth = Berth(launcher, [], [0])
    berth.park()
    waited = berth.pid
    huge = "x" * 100_000  # more than one message of the channel holds
    job = run(berth, [sys.executable, "-I", "-S", "-c", TELL], tmp_path, HUGE=huge, ODD="\udcff")
    assert wait_until(lambda: ended(job))

    told = json.loads(log(tmp_path).read_text())
    assert told["pid"] == told["session"] == job.pid == waited
    assert told["cwd"] == str(tmp_path)
    assert told["cpus"] == [0]
    assert told["files"] == [0, 1, 2], "nothing of the engine or the launcher is open"
    assert told["stdin"] == "/dev/null"
    assert (told["env"]["HUGE"], told["env"]["ODD"]) == (huge, "\udcff")
    assert not told["env"].keys() - {"PATH", "HUGE", "ODD", "LC_CTYPE"}, "the engine's environment stays out"
    plain = JobProcess.start(
        [sys.executable, "-I", "-S", "-c", TELL], env={}, workdir="/", log=tmp_path / "plain"
    )
    assert wait_until(lambda: ended(plain))
    same = json.loads((tmp_path / "plain").read_text())
    assert (told["blocked"], told["ignored"]) == (same["blocked"], same["ignored"])
    assert not told["ignored"] >> (signal.SIGTERM - 1) & 1, "whom the launcher ignores its jobs hear"


def test_its_exit_and_cpu_time_are_known_though_it_is_the_launchers_child(
    launcher: Launcher, tmp_path: Path
) -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass\nraise SystemExit(7)"
    job = run(Berth(launcher, [], None), [sys.executable, "-I", "-S", "-c", burn], tmp_path)
    assert job.poll() is None
    assert wait_until(lambda: ended(job))
    result = job.poll()
    assert result is not None
    assert result.code == 7
    assert result.cpu is not None
    assert 0.3 <= result.cpu < 2.0


def test_a_job_that_is_killed_ends_as_a_shell_has_it(launcher: Launcher, tmp_path: Path) -> None:
    job = run(Berth(launcher, [], None), ["sleep", "60"], tmp_path)
    job.terminate()
    assert wait_until(lambda: ended(job))
    result = job.poll()
    assert result is not None
    assert result.code == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("command", "folder", "says"),
    [("./absent", "", "No such file"), ("true", "absent", "absent"), ("/dev/null", "", "Permission denied")],
)
def test_a_command_that_cannot_start_is_an_error_that_says_why(
    launcher: Launcher, tmp_path: Path, command: str, folder: str, says: str
) -> None:
    berth = Berth(launcher, [], None)
    berth.park()
    waited = berth.pid
    assert waited is not None
    with pytest.raises(Unavailable, match=says) as caught:
        berth.start([command], env=dict(os.environ), workdir=str(tmp_path / folder), log=log(tmp_path))
    assert not isinstance(caught.value, SlotGone), "to start it elsewhere would not help"
    assert gone(waited)


def test_a_slot_that_is_not_there_is_told_apart_from_a_command_that_is_not(
    launcher: Launcher, tmp_path: Path
) -> None:
    berth = Berth(launcher, [str(tmp_path / "cgroup.procs")], None)
    berth.park()
    with pytest.raises(SlotGone, match=r"cgroup\.procs"):
        run(berth, ["true"], tmp_path)


def test_it_joins_every_group_before_the_job_begins(launcher: Launcher, tmp_path: Path) -> None:
    groups = [tmp_path / "cpu", tmp_path / "cpuacct"]
    for group in groups:
        group.touch()
    berth = Berth(launcher, [str(group) for group in groups], None)
    berth.park()
    assert wait_until(lambda: all(group.read_text() == "0" for group in groups))
    berth.dismiss()


def test_somebody_kills_the_process_that_waits_and_the_job_still_starts_in_the_slot(
    launcher: Launcher, tmp_path: Path
) -> None:
    berth = Berth(launcher, [], [0])
    berth.park()
    waited = berth.pid
    assert waited is not None
    os.kill(waited, signal.SIGKILL)
    assert wait_until(lambda: gone(waited))
    job = run(berth, [sys.executable, "-I", "-S", "-c", TELL], tmp_path)
    assert wait_until(lambda: ended(job))
    assert json.loads(log(tmp_path).read_text())["cpus"] == [0]
    assert job.pid != waited


def test_somebody_kills_the_launcher_and_jobs_go_on_with_an_outcome_that_nobody_knows(
    launcher: Launcher, tmp_path: Path
) -> None:
    berth = Berth(launcher, [], None)
    orphan = run(berth, ["sleep", "60"], tmp_path)
    os.kill(parent_of(orphan.pid), signal.SIGKILL)
    second = run(Berth(launcher, [], None), ["true"], tmp_path) if wait_parks(berth) else None
    assert second is not None
    assert wait_until(lambda: ended(second))
    assert not gone(orphan.pid)
    orphan.kill()
    assert wait_until(lambda: ended(orphan))
    result = orphan.poll()
    assert result is not None
    assert result.code is None
    last = second.poll()
    assert last is not None
    assert last.code == 0


def wait_parks(berth: Berth) -> bool:
    """The first question after its death finds out; the next one has a new launcher."""
    try:
        berth.park()
    except Unavailable:
        berth.park()
    berth.dismiss()
    return True


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_whoever_waits_ends_with_the_engine_and_jobs_that_run_live_on(tmp_path: Path) -> None:
    engine = subprocess.Popen(
        [sys.executable, "-c", ENGINE, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert engine.stdout is not None
    pids = json.loads(engine.stdout.readline())
    assert not any(gone(pid) for pid in pids.values())
    engine.kill()
    engine.wait()
    engine.stdout.close()
    assert wait_until(lambda: gone(pids["parked"]) and gone(pids["launcher"]))
    assert not gone(pids["job"])
    os.kill(pids["job"], signal.SIGKILL)


ENGINE = """
import json, sys, time
from pathlib import Path
from kubesprint.adapters.linux.parked import Berth, Launcher
launcher = Launcher()
berths = [Berth(launcher, [], None) for _ in range(3)]
for berth in berths:
    berth.park()
env, log = {"PATH": "/usr/bin:/bin"}, Path(sys.argv[1], "log")
job = berths[0].start(["sleep", "60"], env=env, workdir="/", log=log)
berths[0].park()
stat = Path(f"/proc/{job.pid}/stat").read_text()
print(json.dumps({"job": job.pid, "parked": berths[1].pid, "launcher": int(stat.split()[3])}), flush=True)
time.sleep(60)
"""


def test_dismissed_processes_are_gone(launcher: Launcher) -> None:
    berth = Berth(launcher, [], None)
    berth.park()
    pid = berth.pid
    assert pid is not None
    berth.dismiss()
    assert berth.pid is None
    assert not Path(f"/proc/{pid}").exists(), "not even a zombie"


def test_a_job_of_the_launcher_is_a_job_process(launcher: Launcher, tmp_path: Path) -> None:
    job = run(Berth(launcher, [], None), ["true"], tmp_path)
    assert isinstance(job, LaunchedJob)
    assert wait_until(lambda: ended(job))
    assert job.poll() == job.poll(), "asked twice, it does not wait for somebody else"
