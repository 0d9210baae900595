"""Real runs from within a benchmark: the same session that `kubesprint run` uses."""

import os
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from bench.output import progress
from kubesprint.adapters.files.lock import take_lock
from kubesprint.adapters.files.state import choose_folder, prepare_folder
from kubesprint.adapters.linux.hardware import open_slots
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.adapters.system import SystemClock
from kubesprint.apps import run_folder
from kubesprint.apps.run import recover_leftovers
from kubesprint.apps.session import Outcome, Request, Session
from kubesprint.core.budget import full
from kubesprint.core.forecast import Forecaster, KindModel
from kubesprint.core.policy import Strategy
from kubesprint.core.spec import Policy, QueueSpec

LABELS = {"app": "kubesprint-bench"}


def state_folder(asked: Path | None) -> Path:
    """The folder of journal and lock, as the program chooses it."""
    return choose_folder(asked, user=os.geteuid(), environment=os.environ, home=Path.home())


def run_queue(
    queue: QueueSpec,
    policy: Policy,
    strategy: Callable[[Forecaster], Strategy],
    *,
    setting: str,
    models: Mapping[str, KindModel],
    seed: int,
    state: Path,
    folder: Path,
) -> Outcome:
    """One run by quota from a full bucket, display off; it spends nobody's budget."""
    clock = SystemClock()
    run_id = time.strftime("bench-%Y%m%d-%H%M%S-", time.gmtime()) + secrets.token_hex(2)
    hardware = open_slots(PseudoFs(), run_id, queue.slots, policy.base, policy.sprint, "quota")
    with take_lock(prepare_folder(state), run_id) as lock:
        recover_leftovers(state, lock)
        request = Request(
            run=run_id,
            queue=queue,
            policy=policy,
            models=models,
            setting=setting,
            strategy=strategy,
            bucket=full(policy.budget, clock.now()),
            hardware=hardware,
            remember_budget=False,
            seed=seed,
        )
        made = run_folder.create(folder, {}, {"run": run_id})
        outcome = Session(request, made, state=state, lock=lock, clock=clock).run(lambda _: None)
    if outcome.ending.interrupted_by is not None:
        (folder / "summary.json").unlink(missing_ok=True)  # what was cut short is repeated
    stop_if_interrupted(outcome)
    return outcome


def busy_seconds(text: str) -> float:
    """CPU seconds that all CPUs have worked, of `/proc/stat`: all but idle and waiting for disks."""
    ticks = [int(value) for value in text.split("\n", 1)[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


class Foreign:
    """How many cores others kept busy, since this was made: what CPU seconds of the jobs cannot show."""

    def __init__(self) -> None:
        self._at, self._busy, self._own = time.monotonic(), self._read(), self._ours()

    def cores(self) -> float:
        """Mean cores since the start; ours are this process and the children it has waited for."""
        others = self._read() - self._busy - (self._ours() - self._own)
        return max(0.0, others) / (time.monotonic() - self._at)

    @staticmethod
    def _read() -> float:
        return busy_seconds(Path("/proc/stat").read_text())

    @staticmethod
    def _ours() -> float:
        return sum(os.times()[:4])


def stop_if_interrupted(outcome: Outcome) -> None:
    """Ctrl-C ends the benchmark, not only its run."""
    if outcome.ending.interrupted_by is not None:
        sys.exit(128 + outcome.ending.interrupted_by)


def refuse(name: str, why: str) -> NoReturn:
    """One line, exit code 2."""
    progress(f"bench {name}: {why}")
    sys.exit(2)


def queue_document(jobs: Sequence[tuple[str, str, float, Sequence[str]]], slots: int) -> dict[str, Any]:
    """A JobQueue of (name, kind, arrival in seconds, command)."""
    return {
        "apiVersion": "kubesprint.dev/v1alpha1",
        "kind": "JobQueue",
        "metadata": {"name": "bench"},
        "slots": slots,
        "jobs": [
            {"name": n, "kind": k, "command": list(c), "arrival": f"{a:.3f}s", "labels": dict(LABELS)}
            for n, k, a, c in jobs
        ],
    }


def policy_document(
    after: str, *, slots: int, base: str, sprint: str, capacity: float, refill: str
) -> dict[str, Any]:
    """A SprintPolicy that is enforced; capacity in core-seconds."""
    return {
        "apiVersion": "kubesprint.dev/v1alpha1",
        "kind": "SprintPolicy",
        "metadata": {"name": "bench"},
        "spec": {
            "mode": "Enforce",
            "selector": {"matchLabels": dict(LABELS)},
            "objective": {"responseTime": {"statistic": "Mean"}},
            "base": {"cpu": base},
            "sprint": {"cpu": sprint},
            "trigger": {"after": after, "clock": "Arrival"},
            "budget": {
                "capacityCoreSeconds": capacity,
                "refillCores": refill,
                "whileSprinting": "Paused",
                "hysteresis": "200ms",
            },
            "concurrency": slots,
        },
    }
