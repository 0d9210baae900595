"""Which simulator a program uses: the compiled one, or the plain one where there is no compiler."""

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from kubesprint.core.batch import Evaluator, one_by_one
from kubesprint.core.errors import Unavailable
from kubesprint.core.events import simulate_servers
from kubesprint.core.simulation import QueueSimulator


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulators:
    """What searches and simulates, and how it came to be chosen."""

    evaluator: Evaluator  # for searches while jobs run
    planner: Evaluator  # for planning, where nothing runs yet
    simulate: QueueSimulator
    compiled: bool
    reason: str  # one line


_ONE_BY_ONE = one_by_one(simulate_servers)

PLAIN = Simulators(
    evaluator=_ONE_BY_ONE,
    planner=_ONE_BY_ONE,
    simulate=simulate_servers,
    compiled=False,
    reason="the plain simulator",
)


def fastest_simulators() -> Simulators:
    """The compiled simulator, or the plain one where there is no compiler.

    Takes some seconds the first time on a machine, and half a second later: call it before jobs run.
    """
    from kubesprint.learn.simulator.loading import cache_folder, compiled, holds_something

    folder = cache_folder(os.environ, Path.home())
    if sys.stderr.isatty() and not holds_something(folder):
        typer.echo("compiling the simulator, once for this version and user: some seconds", err=True)
    try:
        loaded = compiled(folder)
    except Unavailable as error:
        return replace(PLAIN, reason=f"the plain simulator, a hundred times slower: {error}")
    how = "loaded from" if loaded.was_cached else "compiled into"
    where = f"{how} {loaded.cache}" if loaded.cache else f"compiled, and not kept: {loaded.note}"
    return Simulators(
        evaluator=loaded.evaluator,
        planner=loaded.planner,
        simulate=loaded.simulate,
        compiled=True,
        reason=f"the compiled simulator, {where}, in {loaded.took:.1f} s",
    )
