"""What kubesprint itself uses while 4 jobs run, model-driven, progress display off and on.

The program runs as users run it, as a process of its own; with the display on it writes to a terminal
(a pseudo-terminal that is read and thrown away). CPU time of engine, keeper and launcher is utime + stime
of `/proc/PID/stat`, which leaves out their children (a process that waits for its command has used 1 ms);
memory is `smaps_rollup`. The span begins some seconds after the first job has started, so that no import
is in it. Jobs spin for a given CPU time, and one arrives as one ends, so there is a search at every
change. All share the machine.
"""

import argparse
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import yaml

from bench.output import Results, Row, add_common, progress
from bench.real import policy_document, queue_document, refuse, state_folder
from bench.stats import spread
from kubesprint.apps.documents import write_profiles
from kubesprint.core.spec import ProfileFit, ProfilePoint, ProfileSpec
from kubesprint.core.units import Cores, Seconds

SLOTS = 4
BASE, SPRINT = 0.2, 0.5  # cores
SETTLE = 3.0  # seconds after the first start that are left out
START_PATIENCE = 60.0
LOOK = 0.5  # seconds between two samples
JOB = "import sys, time\nwhile time.process_time() < float(sys.argv[1]): pass"
PARTS = {"keeper": b"kubesprint.apps.keeper", "launcher": b"launcher.py"}
TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """utime + stime of a process, without its children. Raises `OSError` once it is gone."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def memory_bytes(pid: int) -> dict[str, int]:
    """Resident and proportional size, in bytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    words = {line.split(":")[0]: line.split()[1] for line in lines[1:]}
    return {name.lower(): int(words[name]) * 1024 for name in ("Rss", "Pss")}


def child_of(engine: int, word: bytes) -> int | None:
    """The child of an engine with this in its command line."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if parent == engine and any(word in part for part in words):
            return int(folder.name)
    return None


def _documents(folder: Path, seconds: float, length: float) -> list[str]:
    """Queue, policy and profile: 4 jobs run at any time, each about `length` seconds at base."""
    work = length * BASE
    count = int((seconds + SETTLE) / length * SLOTS) + 3 * SLOTS
    arrivals = [0.0] * SLOTS + [n * length / SLOTS for n in range(1, count - SLOTS + 1)]
    jobs = [
        (f"j{n:03}", "spin", at, [sys.executable, "-I", "-S", "-c", JOB, f"{work:g}"])
        for n, at in enumerate(arrivals)
    ]
    policy = policy_document("Auto", slots=SLOTS, base="200m", sprint="500m", capacity=3.0, refill="30m")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "queue.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(queue_document(jobs, SLOTS)))))
    (folder / "policy.yaml").write_text(yaml.safe_dump(policy))
    points = tuple(
        ProfilePoint(cores=Cores(c), runs=3, wall=Seconds(work / c), cpu_time=Seconds(work))
        for c in (BASE, SPRINT)
    )
    write_profiles(
        folder / "profiles.yaml",
        [ProfileSpec(workload="spin", points=points, fit=ProfileFit(dispersion=0.05))],
    )
    return [
        str(folder / "queue.yaml"),
        *("--policy", str(folder / "policy.yaml"), "--profile", str(folder / "profiles.yaml")),
    ]


@contextmanager
def _program(words: list[str], *, display: bool, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`kubesprint run`, with a terminal or without; interrupted at the end, and waited for."""
    command = [sys.executable, "-m", "kubesprint", "run", *words, *([] if display else ["--quiet"])]
    ours = theirs = -1
    with log.open("wb") as out:
        if display:
            ours, theirs = pty.openpty()
        target = theirs if display else out
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=target,
            stderr=target,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"},
        )
    reader = (
        subprocess.Popen(["cat"], stdin=ours, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if display
        else None
    )
    if display:
        os.close(theirs)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
        if reader is not None:
            reader.terminate()
            reader.wait()
            os.close(ours)


def _started(events: Path) -> float:
    """Waits for the first job of a run; the instant, on our clock, at which the clock of the run was 0."""
    begun = time.monotonic()
    while time.monotonic() < begun + START_PATIENCE:
        lines = events.read_text().splitlines() if events.exists() else []
        for line in lines:
            if '"type":"started"' in line:
                return time.monotonic() - float(json.loads(line)["at"])
        time.sleep(0.02)
    return refuse("overhead", f"no job started within {START_PATIENCE:g} s; see {events.parent}")


def _measure(options: argparse.Namespace, folder: Path, state: Path, *, display: bool) -> list[Row]:
    """Samples of both processes: CPU seconds per second, and memory."""
    name, rows = "on" if display else "off", list[Row]()
    out, words = folder / f"run-{name}", _documents(folder / "documents", options.seconds, options.length)
    shutil.rmtree(out, ignore_errors=True)
    words += ["--out", str(out), "--bucket", "full", "--state-dir", str(state)]
    with _program(words, display=display, log=folder / f"display-{name}.log") as process:
        zero = _started(out / "events.jsonl")
        time.sleep(SETTLE)
        parts = {"engine": process.pid}
        for part, word in PARTS.items():
            child = child_of(process.pid, word)
            if child is None or process.poll() is not None:
                refuse("overhead", f"kubesprint run has no {part}; see {folder / f'display-{name}.log'}")
            parts[part] = child
        before = {part: cpu_seconds(pid) for part, pid in parts.items()}
        begun = last = time.monotonic()
        (folder / f"span-{name}.json").write_text(json.dumps([begun - zero, begun - zero + options.seconds]))
        while last < begun + options.seconds:
            time.sleep(LOOK)
            now = time.monotonic()
            for part, pid in parts.items():
                used = cpu_seconds(pid)
                rows.append(
                    {
                        "display": name,
                        "part": part,
                        "at": now - begun,
                        "span": now - last,
                        "cpu": used - before[part],
                        **memory_bytes(pid),
                    }
                )
                before[part] = used
            last = now
    return rows


def running(events: Path, begin: float, end: float) -> tuple[float, float]:
    """Mean number of running jobs, and starts and ends a second, between two instants of a run's clock.

    Counted from its events: jobs that were still running when the run was interrupted have no row.
    """
    starts: dict[str, float] = {}
    ends: dict[str, float] = {}
    for line in events.read_text().splitlines():
        event = json.loads(line)
        if event["type"] in ("started", "finished"):
            (starts if event["type"] == "started" else ends)[event["job"]] = float(event["at"])
    together = sum(max(0.0, min(end, ends.get(job, end)) - max(begin, at)) for job, at in starts.items())
    changes = sum(begin <= at < end for at in (*starts.values(), *ends.values()))
    return together / (end - begin), changes / (end - begin)


def main(words: list[str] | None = None) -> None:
    """Measure and print."""
    parser = add_common(argparse.ArgumentParser(prog="python -m bench overhead", description=__doc__))
    parser.add_argument("--seconds", type=float, help="of each measurement (60; quick: 15)")
    parser.add_argument("--length", type=float, default=10.0, help="of a job at base, in seconds")
    parser.add_argument("--state-dir", type=Path)
    options = parser.parse_args(words)
    options.seconds = options.seconds or (15.0 if options.quick else 60.0)
    results, state = Results("overhead", options), state_folder(options.state_dir)
    rows: list[Row] = []
    for display in (False, True):
        progress(f"overhead: display {'on' if display else 'off'}, {options.seconds:g} s")
        rows += _measure(options, results.folder, state, display=display)
    results.raw(rows)
    seen = {}
    for name in ("off", "on"):
        span = json.loads((results.folder / f"span-{name}.json").read_text())
        jobs, changes = running(results.folder / f"run-{name}" / "events.jsonl", *span)
        seen[name] = {"jobs running": jobs, "changes/s": changes}
    results.finish(_table(rows, seen), target_percent_of_a_core=1.0)


def _table(rows: list[Row], seen: Mapping[str, Row]) -> list[Row]:
    """Percent of one core: over the whole span, and its spread over samples (ticks of 10 ms: coarse)."""
    table: list[Row] = []
    base = None
    for display in ("off", "on"):
        total = 0.0
        for part in ("engine", *PARTS):
            own = [r for r in rows if r["display"] == display and r["part"] == part]
            share = 100 * sum(r["cpu"] for r in own) / sum(r["span"] for r in own)
            s = spread([100 * r["cpu"] / r["span"] for r in own])
            total += share
            table.append(
                {
                    "display": display,
                    "part": part,
                    "% of a core": share,
                    "median %": s.median,
                    "p95 %": s.p95,
                    "p99 %": s.p99,
                    "mad %": s.mad,
                    "rss MiB": own[-1]["rss"] / 2**20,
                    "pss MiB": own[-1]["pss"] / 2**20,
                }
            )
        base = total if base is None else base
        table.append(
            {
                "display": display,
                "part": "both",
                "% of a core": total,
                "x off": total / base if base else None,
                **seen[display],
            }
        )
    return table


if __name__ == "__main__":
    main()
