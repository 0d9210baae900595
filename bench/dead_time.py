"""From the end of one job to the start of the next in the same slot, in real runs, display off.

Two spans, both on the system's monotonic clock:
- *seen to exec*: the engine has reaped the job, until the next program has replaced the forked child
  (`Popen` returns when exec has closed its pipe: exec was at most that late);
  It is split at the instant at which the engine starts the job: before, it is the engine's own time and
  the slot's way back to base (`seen_to_start`); after, it is fork, joining the groups and exec;
- *act to act*: the last instant that the old job wrote down, just before `_exit`, to the first that the
  new one wrote down. It holds the kernel's exit, the wake-up, seen-to-exec and the interpreter's start,
  so it is read against the bare loop, which has all of it but the engine.

Slots at base (never) and sprinting (always, budget without end); jobs that spin, so that their quota
may be used up when they end, and jobs that sleep. The bare loop starts the next job as soon as `wait`
returns. It runs without a quota: for spinning jobs the difference includes throttling.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from bench.output import Results, Row, add_common, progress
from bench.real import policy_document, queue_document, run_queue, state_folder
from bench.stats import spread
from kubesprint.adapters.linux.jobs import JobProcess
from kubesprint.adapters.wire.quantities import parse_duration
from kubesprint.apps import session
from kubesprint.apps.documents import load_policy, load_queue
from kubesprint.apps.local_jobs import LocalJobs, Place
from kubesprint.apps.wiring import strategy_for

LENGTH = 0.15  # seconds of one job
JOB = """
import time; first = time.monotonic()
import os, sys
if sys.argv[1] == "spin":
    while time.monotonic() < first + float(sys.argv[2]): pass
else:
    time.sleep(float(sys.argv[2]))
os.write(1, f"{first!r} {time.monotonic()!r}\\n".encode()); os._exit(0)
"""
Stamps = list[tuple[str, float]]  # ("start" | "exec" | "seen", instant), in order


def command(kind: str) -> list[str]:
    """A job that writes its first and its last instant."""
    return [sys.executable, "-I", "-S", "-c", JOB, kind, str(LENGTH)]


class Stamped(LocalJobs):
    """The engine's own jobs; also notes when one is seen to end, starts, and has exec'd."""

    stamps: Stamps = []  # noqa: RUF012  of the run that is being measured

    def reap(self) -> list[str]:
        ended = super().reap()
        self.stamps.extend(("seen", float(self.roster.endings[name].at)) for name in ended)
        return ended

    def _launch(self, name: str, place: Place) -> JobProcess:
        self.stamps.append(("start", time.monotonic()))
        process = super()._launch(name, place)
        self.stamps.append(("exec", time.monotonic()))
        return process


def _rows(where: str, kind: str, stamps: Stamps, acts: Sequence[tuple[float, float]]) -> list[Row]:
    """One row for each change of jobs in the one slot."""
    seen = [at for what, at in stamps if what == "seen"]
    execs = [at for what, at in stamps if what == "exec"]
    starts = [at for what, at in stamps if what == "start"]
    return [
        {
            "where": where,
            "job": kind,
            "change": n,
            "seen_to_exec": execs[n + 1] - seen[n],
            "seen_to_start": starts[n + 1] - seen[n],
            "start_to_exec": execs[n + 1] - starts[n + 1],
            "act_to_act": acts[n + 1][0] - acts[n][1],
            "act_to_seen": seen[n] - acts[n][1],
        }
        for n in range(len(acts) - 1)
    ]


def _acts(text: str) -> tuple[float, float]:
    first, last = text.split()
    return float(first), float(last)


def _bare(kind: str, jobs: int, logs: Path) -> list[Row]:
    """Start, wait, start: what the system itself takes."""
    stamps: Stamps = []
    for n in range(jobs):
        with (logs / f"bare-{kind}-{n:03}.log").open("wb") as log:
            stamps.append(("start", time.monotonic()))
            process = subprocess.Popen(
                command(kind), stdin=subprocess.DEVNULL, stdout=log, start_new_session=True
            )
            stamps.append(("exec", time.monotonic()))
            process.wait()  # with a timeout it would poll, up to 50 ms late
            stamps.append(("seen", time.monotonic()))
    acts = [_acts((logs / f"bare-{kind}-{n:03}.log").read_text()) for n in range(jobs)]
    return _rows("bare loop", kind, stamps, acts)


def _engine(where: str, after: str, kind: str, jobs: int, folder: Path, state: Path) -> list[Row]:
    """One slot, all jobs waiting."""
    documents = folder / "documents"
    documents.mkdir(exist_ok=True)
    queue = queue_document([(f"j{n:03}", kind, 0.0, command(kind)) for n in range(jobs)], 1)
    policy = policy_document(after, slots=1, base="400m", sprint="1", capacity=1e6, refill="0")
    paths = []
    for name, document in (("queue", queue), ("policy", policy)):
        paths.append(documents / f"{name}-{after}-{kind}.yaml")
        paths[-1].write_text(yaml.safe_dump(json.loads(json.dumps(document))))
    chosen, run = load_policy(paths[1]).value, folder / f"run-{after}-{kind}"
    stamps = Stamped.stamps = []
    setattr(session, "LocalJobs", Stamped)  # noqa: B010  a class of another module
    try:
        run_queue(
            load_queue(paths[0]).value,
            chosen,
            lambda models: strategy_for(chosen, None, models, 1, parse_duration)[1],
            setting=where,
            models={},
            seed=1,
            state=state,
            folder=run,
        )
    finally:
        setattr(session, "LocalJobs", LocalJobs)  # noqa: B010
    acts = [_acts((run / "jobs" / f"j{n:03}.log").read_text()) for n in range(jobs)]
    return _rows(where, kind, stamps, acts)


def main(words: list[str] | None = None) -> None:
    """Measure and print."""
    parser = add_common(argparse.ArgumentParser(prog="python -m bench dead_time", description=__doc__))
    parser.add_argument("--jobs", type=int, help="of each run (150; quick: 15)")
    parser.add_argument("--state-dir", type=Path)
    options = parser.parse_args(words)
    jobs = options.jobs or (15 if options.quick else 150)
    results = Results("dead_time", options)
    state, logs = state_folder(options.state_dir), results.folder / "bare"
    logs.mkdir(exist_ok=True)
    rows: list[Row] = []
    for kind in ("sleep", "spin"):
        parts: list[tuple[str, Callable[[str], list[Row]]]] = [
            ("bare loop", lambda kind: _bare(kind, jobs, logs)),
            ("at base", lambda kind: _engine("at base", "Never", kind, jobs, results.folder, state)),
            ("sprinting", lambda kind: _engine("sprinting", "0s", kind, jobs, results.folder, state)),
        ]
        for where, measure in parts:
            progress(f"dead_time: {kind}, {where}")
            rows += measure(kind)
    results.raw(rows)
    results.finish(_table(rows), target_ms=5.0, cpus=os.cpu_count())


def _table(rows: Sequence[Row]) -> list[Row]:
    table: list[Row] = []
    for span in ("seen_to_exec", "seen_to_start", "start_to_exec", "act_to_act", "act_to_seen"):
        for job in ("sleep", "spin"):
            base = None
            for where in ("bare loop", "at base", "sprinting"):
                s = spread([r[span] * 1e3 for r in rows if r["where"] == where and r["job"] == job])
                base = s.median if base is None else base
                table.append(
                    {
                        "span": span,
                        "job": job,
                        "where": where,
                        "n": s.count,
                        "median ms": s.median,
                        "p95 ms": s.p95,
                        "p99 ms": s.p99,
                        "mad ms": s.mad,
                        "x bare": s.median / base,
                        "over bare ms": s.median - base,
                    }
                )
    return table


if __name__ == "__main__":
    main()
