"""What the kill proof looks at: the machine's control groups and clocks, processes, and runs of kubesprint.

Standard library and `forkserver` only, so that it works in the guest too. It reads the kernel's files itself
and shares no code with what it judges.
"""

import csv
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from kernel import forkserver

PATIENCE = 60.0  # seconds; the machine may be busy, the guest is slow
JOB = Path(__file__).with_name("kill_job.py")
MARK = "KILL_TRIAL"  # in the environment of jobs
OWN = "KILL_SCENE"  # in the environment of everything that kubesprint starts here
CPUFREQ = Path("/sys/devices/system/cpu/cpufreq")
KEPT = (
    "cpu.cfs_quota_us",
    "cpu.cfs_period_us",
    "cpu.cfs_burst_us",
    "cpuset.cpus",
    "cpuset.mems",
    "cpu.max",
    "cpu.max.burst",
    "cgroup.subtree_control",
)
CLOCKS = ("scaling_governor", "scaling_min_freq", "scaling_max_freq")
CONTROLLERS = {"cpu", "cpuacct", "cpuset"}


def roots() -> Sequence[Path]:
    """Where the hierarchies with our controllers, and the unified one, are mounted."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        kind, options = right.split()[0], set(right.split()[2].split(","))
        if kind == "cgroup2" or (kind == "cgroup" and options & CONTROLLERS):
            found.append(Path(left.split()[4]))
    return found


def text_of(path: Path) -> str | None:
    """What a kernel file says; None: it is not there, or its group has just gone."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def groups() -> Iterator[Path]:
    """Every control group of the machine."""
    for root in roots():
        for folder, _, _ in os.walk(root):
            yield Path(folder)


def machine() -> Mapping[str, str]:
    """Every control group with its settings, every clock policy with its own, and where this process is."""
    found = {"cgroup of the proof": text_of(Path("/proc/self/cgroup")) or "?"}
    found["CPUs of the proof"] = str(sorted(os.sched_getaffinity(0)))
    for group in groups():
        found[f"{group}/"] = "there"
        found |= {str(group / name): text for name in KEPT if (text := text_of(group / name)) is not None}
    for policy in CPUFREQ.glob("policy*"):
        found |= {str(policy / n): text for n in CLOCKS if (text := text_of(policy / n)) is not None}
    return found


def differences(before: Mapping[str, str], now: Mapping[str, str], runs: set[str]) -> Sequence[str]:
    """What is not as it was. Groups of other runs, which others may start on this machine, do not count."""

    def foreign(name: str) -> bool:
        mine = any(f"/kubesprint-{run}-" in name for run in runs)
        return "/kubesprint-" in name and not mine

    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    return [f"{n}: {before.get(n)} -> {now.get(n)}" for n in names if not foreign(n)]


@dataclass(frozen=True, slots=True)
class Process:
    """A process; a later one with the same pid has another start."""

    pid: int
    start: str

    def alive(self) -> bool:
        """Runs, and is no zombie."""
        return started(self.pid) == self.start

    def kill(self) -> None:
        """End it, and wait until it is gone."""
        with suppress(ProcessLookupError):
            if self.alive():
                os.kill(self.pid, signal.SIGKILL)
        wait_for(lambda: not self.alive(), f"process {self.pid} ends")


def started(pid: int) -> str:
    """When a process started, in ticks since boot; empty if it does not run."""
    text = text_of(Path(f"/proc/{pid}/stat")) or ""
    fields = text.rpartition(")")[2].split()
    return fields[19] if fields and fields[0] not in "ZX" else ""


def processes(file: str, wanted: str, unwanted: str | None = None) -> set[Process]:
    """Living processes whose `/proc/PID/file` has `wanted`, not `unwanted`, among its zero-ended strings."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        text = text_of(folder / file)
        strings = text.split("\0") if text else []
        if wanted in strings and unwanted not in strings and (start := started(int(folder.name))):
            found.add(Process(int(folder.name), start))
    return found


def dying(pid: int) -> bool:
    """Whether SIGKILL is on its way to a process: in a slot without quota it may take a while."""
    lines = (text_of(Path(f"/proc/{pid}/status")) or "").splitlines()
    pending = [int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd:", "ShdPnd:"))]
    return any(signals >> (signal.SIGKILL - 1) & 1 for signals in pending)


def wait_for(condition: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    """Look again and again. Raises `AssertionError` with `what` when it takes too long."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"waited {patience:g} s: {what}"
        time.sleep(0.03)


@dataclass(frozen=True, slots=True)
class Job:
    """One job of a queue, as `kill_job.py` takes it."""

    name: str
    kind: str
    seconds: float


QUEUE = (
    Job("plain", "plain", 0.15),
    Job("parent", "child", 0.3),
    Job("daemon", "daemon", 0.15),
    Job("long", "plain", 0.5),
    Job("last", "plain", 0.1),
)
POLICY = """\
apiVersion: kubesprint.dev/v1alpha1
kind: SprintPolicy
metadata: {{name: kill-proof}}
spec:
  mode: Enforce
  selector: {{matchLabels: {{proof: kills}}}}
  objective: {{responseTime: {{statistic: Mean}}}}
  base: {{cpu: 400m{base_clock}}}
  sprint: {{cpu: "1"{sprint_clock}}}
  trigger: {{after: Auto}}
  budget: {{capacityCoreSeconds: 1000, refillCores: "0.1"}}
  lease: {lease}
"""
CORES_ONLY = {"base_clock": "", "sprint_clock": ""}
CLOCKED = {"base_clock": ', clock: "60%"', "sprint_clock": ", clock: {maximum: Turbo}"}


@dataclass
class Scene:
    """One folder with a queue, a policy, a state folder, and the runs that are started there."""

    folder: Path
    program: forkserver.Program
    runs: set[str] = field(default_factory=set)  # their ids, as far as they came to write one
    ended: set[int] = field(default_factory=set)  # pids of jobs that we ourselves ended
    witnessed: set[int] = field(default_factory=set)  # pids of jobs that lived when the victims were dead
    entitled: bool = (
        False  # since then a run has been at work that ends what finished jobs of its own have left
    )
    before: Mapping[str, str] = field(default_factory=machine)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.state.mkdir()
        self.log.touch()

    @property
    def clocked(self) -> bool:
        """Whether sprints raise clocks too: wherever there are some."""
        return any(CPUFREQ.glob("policy*"))

    def clocks(self) -> Mapping[str, str]:
        """The upper limit of every clock now, in kHz."""
        return {p.name: text_of(p / "scaling_max_freq") or "?" for p in CPUFREQ.glob("policy*")}

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def mark(self) -> str:
        return f"{MARK}={self.folder}"

    def out(self, name: str) -> Path:
        return self.folder / name

    def diary(self) -> Sequence[tuple[str, str, int]]:
        """(event, job, pid) of everything that the jobs have said."""
        lines = (text_of(self.folder / "diary") or "").splitlines()
        return [(event, job, int(pid)) for event, job, pid in map(str.split, lines)]

    def start(self, name: str, jobs: Sequence[Job], lease: str = "1s", strategy: str = "always") -> int:
        """Start a run of these jobs in two slots; the pid of its engine."""
        queue, policy = self.folder / f"{name}-queue.json", self.folder / f"{name}-policy.yaml"
        document = {"apiVersion": "kubesprint.dev/v1alpha1", "kind": "JobQueue", "slots": 2}
        queue.write_text(json.dumps(document | {"jobs": [self._job(job) for job in jobs]}))
        policy.write_text(POLICY.format(lease=lease, **(CLOCKED if self.clocked else CORES_ONLY)))
        options = ["--policy", str(policy), "--out", str(self.out(name)), "--strategy", strategy]
        return self.launch("run", str(queue), *options, "--bucket", "full", "--quiet")

    def _job(self, job: Job) -> Mapping[str, object]:
        diary = str(self.folder / "diary")
        python = [sys.executable, "-I", "-S", str(JOB)]
        return {
            "name": job.name,
            "kind": job.kind,
            "command": [*python, job.name, diary, job.kind, str(job.seconds)],
            "labels": {"proof": "kills"},
            "env": {MARK: str(self.folder)},
        }

    def launch(self, *arguments: str) -> int:
        """Start a command on our state folder; its pid."""
        with self.log.open("a") as log:
            print(f"$ kubesprint {' '.join(arguments)}", file=log)
        words, own = [*arguments, "--state-dir", str(self.state)], {OWN: str(self.folder)}
        return forkserver.launch(self.program, words, output=self.log, environment=own)

    def end(self, pid: int) -> int:
        """Wait for a command; its exit status, or minus the signal that ended it."""
        status = forkserver.ended(pid, timeout=PATIENCE)
        self.note_run()
        return status

    def call(self, *arguments: str) -> tuple[int, str]:
        """Run a command; its exit status and what it said."""
        said = self.log.stat().st_size
        status = self.end(self.launch(*arguments))
        return status, self.log.read_text()[said:].partition("\n")[2]

    def note_run(self) -> None:
        """Remember whose lock it is, or was: a run takes it before it changes anything."""
        with suppress(ValueError, KeyError):
            self.runs.add(json.loads(text_of(self.state / "lock") or "")["run"])
        self.runs.discard("restore")

    def jobs(self) -> set[Process]:
        """Every living process of our jobs."""
        return processes("environ", self.mark)

    def witness(self) -> None:
        """Remember who lives: from now on nobody may end them but the runs that are entitled to."""
        self.witnessed = {process.pid for process in self.jobs() if not dying(process.pid)}

    def helpers(self) -> set[Process]:
        """Every living process but our jobs: keepers, launchers, and who waits to become a job."""
        return processes("environ", f"{OWN}={self.folder}", self.mark)

    def keepers(self) -> set[Process]:
        """The living keeper of a run here."""
        mine = processes("cmdline", str(self.state))
        return mine & processes("cmdline", "kubesprint.apps.keeper")

    def rows(self, name: str) -> Sequence[Mapping[str, str]]:
        """The job table of a run, as far as it is written."""
        text = text_of(self.out(name) / "jobs.csv") or ""
        return list(csv.DictReader(text.splitlines()))

    def finished(self, name: str) -> Sequence[str]:
        """Names in the table that ended well, once for each row."""
        return [row["name"] for row in self.rows(name) if row["exit"] == "0"]

    def quotas(self) -> Sequence[str]:
        """The quotas of our slots now, in microseconds of 100 ms."""
        self.note_run()
        found = []
        for group in groups():
            if any(group.name.startswith(f"kubesprint-{run}-") for run in self.runs):
                text = text_of(group / "cpu.cfs_quota_us") or text_of(group / "cpu.max")
                found += [text.split()[0]] if text else []
        return found

    def problems(self) -> Sequence[str]:
        """What a run has left of its own, besides processes."""
        left = list(differences(self.before, machine(), self.runs))
        if (self.state / "journal.json").exists():
            left.append("the journal is not empty")
        return left

    def strays(self) -> Sequence[str]:
        """Processes of jobs that are not back in the groups and on the CPUs that they came from."""
        home, cpus = text_of(Path("/proc/self/cgroup")), os.sched_getaffinity(0)
        left = []
        for process in self.jobs():
            place = text_of(Path(f"/proc/{process.pid}/cgroup"))
            with suppress(ProcessLookupError):
                if place and place != home:
                    left.append(f"process {process.pid} is in {place}")
                if os.sched_getaffinity(process.pid) != cpus:
                    left.append(f"process {process.pid} is kept on other CPUs")
        return left

    def idle(self, patience: float = 10.0) -> Sequence[str]:
        """Processes of kubesprint itself that do not end, though no run is there any more."""
        with suppress(AssertionError):
            wait_for(lambda: not self.helpers(), "kubesprint ends", patience)
        said = {process: text_of(Path(f"/proc/{process.pid}/cmdline")) or "" for process in self.helpers()}
        return [f"process {p.pid} goes on: {words.replace(chr(0), ' ')}" for p, words in said.items()]

    def killed(self) -> Sequence[str]:
        """Processes of jobs that are gone, not ended by us, and without a word of their end.

        The engine ends what a job that is over has left in its slot. A process of such a job may be missing
        if it went before the victims were dead, or if a run has been at work since that is entitled to it.
        """
        diary = self.diary()
        missing = {pid for event, _, pid in diary if event != "end"} - self.ended
        missing -= {process.pid for process in self.jobs()}
        diary = self.diary()  # read last: one may just have ended
        ends = {pid for event, _, pid in diary if event == "end"}
        leaders = {job: pid for event, job, pid in diary if event == "start"}
        over = {job for job, pid in leaders.items() if pid in ends | self.ended}
        swept = {
            pid for _, job, pid in diary if job in over and (self.entitled or pid not in self.witnessed)
        } - set(leaders.values())
        missing -= ends | swept
        lost = [(job, pid) for event, job, pid in diary if event != "end" and pid in missing]
        return [f"process {pid} of job {job} was killed" for job, pid in lost]

    def kill(self, process: Process) -> None:
        """End a process of a job."""
        self.ended.add(process.pid)
        process.kill()

    def clean(self) -> None:
        """End what still runs, by pid."""
        for process in (*self.helpers(), *self.jobs()):
            process.kill()
