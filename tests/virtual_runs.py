"""Whole runs of the real engine on a machine that does not exist, and the same jobs for the simulator."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kubesprint.adapters.virtual.machine import VirtualJob, VirtualMachine
from kubesprint.core.allocation import Allocation
from kubesprint.core.budget import Budget, full
from kubesprint.core.forecast import Basis, Forecaster, KindModel
from kubesprint.core.policy import Strategy
from kubesprint.core.simulation import SimJob
from kubesprint.core.spec import Mode
from kubesprint.core.workload import JobView
from kubesprint.engine.engine import Engine, EngineSettings

BASE, SPRINT = Allocation(1.0), Allocation(2.0)  # a sprint costs one core-second a second
KINDS = {"small": (1.0, 2.5), "middle": (4.0, 1.8), "large": (9.0, 1.2)}  # work, speed-up


@dataclass(frozen=True)
class Load:
    """Jobs of known kinds, in the order of arrival."""

    jobs: tuple[VirtualJob, ...]
    servers: int

    def simulated(self) -> list[SimJob]:
        """As the simulator takes them."""
        return [SimJob(arrival=j.arrival, work=j.work, rate=j.rate) for j in self.jobs]


def poisson(seed: int, *, servers: int, jobs: int = 12, load: float = 0.8, exact: bool = False) -> Load:
    """Poisson arrivals. `exact`: every job is what its kind expects; else sizes and speed-ups vary."""
    dice = random.Random(seed)
    mean = sum(work for work, _ in KINDS.values()) / len(KINDS)
    at, result = 0.0, []
    for number in range(jobs):
        at += dice.expovariate(load * servers / mean)
        kind = dice.choice(list(KINDS))
        work, rate = KINDS[kind]
        if not exact:
            work, rate = 0.05 + dice.expovariate(1.0 / work), 1.0 + 2.0 * dice.random()
        result.append(VirtualJob(name=f"j{number:02}", kind=kind, arrival=at, work=work, rate=rate))
    return Load(tuple(result), servers)


def forecaster() -> Forecaster:
    """Profiles that are right in the mean."""
    models = {
        kind: KindModel(
            kind=kind, work=work, deviation=0.0, cpu=work, rate=rate, basis=Basis.PROFILE, samples=0
        )
        for kind, (work, rate) in KINDS.items()
    }
    return Forecaster(models, BASE, SPRINT)


def run(
    load: Load, budget: Budget, strategy: Strategy | Callable[[Forecaster], Strategy], lease: float = 5.0
) -> tuple[Sequence[JobView], VirtualMachine]:
    """The finished jobs by name, and the machine with all its turns."""
    models = forecaster()
    machine = VirtualMachine(load.jobs, load.servers, BASE)
    engine = Engine(
        EngineSettings(
            run="r", epoch=1, mode=Mode.ENFORCE, base=BASE, sprint=SPRINT, servers=load.servers, lease=lease
        ),
        clock=machine,
        workloads=machine,
        nodes=machine,
        purse=machine,
        recorder=machine,
        forecaster=models,
        strategy=strategy(models) if callable(strategy) else strategy,
        bucket=full(budget, 0.0),
    )
    return sorted(machine.run(engine), key=lambda job: job.name), machine


def mean_response(jobs: Sequence[JobView]) -> float:
    """Of finished jobs."""
    responses = [job.response for job in jobs if job.response is not None]
    assert len(responses) == len(jobs)
    return sum(responses) / len(responses)
