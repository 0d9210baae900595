"""A machine that does not exist, with what the real ones were found to have: the truth that tests know.

Jobs have phases that a sprint speeds up differently, sizes vary a little, a sprint changes the CPU time
of a piece of work, every run has a drift of its own, and starting a job takes the machine a moment. One
server; the bucket is refilled only while nothing sprints.
"""

import math
import random
from dataclasses import dataclass, replace

from kubesprint.core.dataset import (
    AloneAt,
    Dataset,
    JobRow,
    Knob,
    Mechanism,
    ProfileRun,
    Run,
    Setting,
    Split,
)
from kubesprint.core.simulation import TriggerClock

T40 = Mechanism(name="t40", knob=Knob.QUOTA, threads=1, base_cores=0.4, sprint_cores=1.0)
Q2 = Mechanism(name="q2", knob=Knob.QUOTA, threads=2, base_cores=0.6, sprint_cores=2.0)


@dataclass(frozen=True)
class Nature:
    """What the machine does; every part can be switched off."""

    drift: float = 0.05  # standard deviation of a run's drift
    noise: float = 0.06  # of a job's size
    dead: float = 0.004  # seconds to start a job
    inflation: float = 1.05  # CPU time of a piece of work in a sprint
    serial_tail: float = 0.25  # share of a job at its end that two threads do not speed up
    efficiency: float = 0.97  # of a quota


@dataclass(frozen=True)
class Phase:
    work: float  # CPU seconds at base
    fast: float  # CPU seconds per second in a sprint


KINDS = {f"kind{n}": 0.4 + 0.12 * n for n in range(9)}


def phases(kind: str, mechanism: Mechanism, nature: Nature) -> list[Phase]:
    """A parallel part, then a serial tail; one thread knows no difference."""
    work = KINDS[kind]
    parallel = min(float(mechanism.threads), mechanism.sprint_cores) * (0.8 + 0.02 * KINDS[kind])
    if mechanism.threads == 1:
        return [Phase(work, 0.98)]
    tail = nature.serial_tail
    return [Phase(work * (1 - tail), parallel), Phase(work * tail, 1.0)] if tail else [Phase(work, parallel)]


@dataclass
class Machine:
    """Serves jobs one after another, in small exact steps from one event to the next."""

    setting: Setting
    nature: Nature
    level: float = 0.0
    now: float = 0.0

    def serve(self, kind: str, arrival: float, factor: float) -> JobRow:
        setting = self.setting
        begin = max(self.now, arrival)
        self._idle(begin)
        self._idle(begin + self.nature.dead)
        start = begin + self.nature.dead / 2
        base = min(setting.mechanism.base_cores, setting.mechanism.threads) * self.nature.efficiency
        origin = arrival if setting.clock is TriggerClock.ARRIVAL else start
        trigger, threshold = origin + setting.timeout, min(setting.hysteresis, setting.capacity)
        cpu = sprint = sprint_cpu = 0.0
        first, sprinting = None, False
        for phase in phases(kind, setting.mechanism, self.nature):
            left = phase.work * factor
            while left > 1e-12:
                sprinting = sprinting or (self.now >= trigger - 1e-12 and self.level >= threshold - 1e-9)
                if sprinting and setting.capacity > 0:
                    first = self.now if first is None else first
                    rate = phase.fast / self.nature.inflation
                    span = min(left / rate, self.level)
                    cpu, sprint_cpu = cpu + span * phase.fast, sprint_cpu + span * phase.fast
                    self.level, self.now, sprint = self.level - span, self.now + span, sprint + span
                    left -= span * rate
                    if self.level <= 1e-12:
                        self.level, sprinting = 0.0, False
                else:
                    span = min(left / base, self._until_sprint(trigger, threshold))
                    cpu += span * base
                    left -= span * base
                    self._idle(self.now + span)
        return JobRow(
            kind=kind, arrival=arrival, start=start, end=self.now, cpu=cpu,
            sprint=sprint, sprint_start=first, sprint_cpu=sprint_cpu,
        )  # fmt: skip

    def _until_sprint(self, trigger: float, threshold: float) -> float:
        wait = trigger - self.now if trigger > self.now else 0.0
        refill, missing = self.setting.refill, threshold - self.level
        if missing > 0:
            wait = max(wait, missing / refill if refill > 0 else math.inf)
        return max(wait, 1e-9) if self.setting.capacity > 0 else math.inf

    def _idle(self, until: float) -> None:
        span = max(0.0, until - self.now)
        self.level = min(self.setting.capacity, self.level + span * self.setting.refill)
        self.now = max(self.now, until)


def measure(setting: Setting, jobs: list[tuple[float, str]], nature: Nature, dice: random.Random) -> Run:
    """One run of a setting."""
    machine = Machine(setting, nature, level=setting.capacity)
    drift = dice.gauss(0.0, nature.drift)
    rows = [machine.serve(kind, at, math.exp(drift + dice.gauss(0.0, nature.noise))) for at, kind in jobs]
    return Run(setting=replace(setting, duration=machine.now), jobs=tuple(rows))


def arrivals(dice: random.Random, gap: float, duration: float, kinds: list[str]) -> list[tuple[float, str]]:
    """Poisson arrivals."""
    at, jobs = dice.expovariate(1 / gap), []
    while at < duration:
        jobs.append((at, dice.choice(kinds)))
        at += dice.expovariate(1 / gap)
    return jobs or [(0.5, kinds[0])]


def bed(
    nature: Nature | None = None,
    *,
    train: int = 14,
    test: int = 9,
    repeats: int = 0,
    seed: int = 1,
    mechanisms: tuple[Mechanism, ...] = (T40, Q2),
    duration: float = 55.0,
    kinds: list[str] | None = None,
) -> Dataset:
    """Runs of both mechanisms under settings drawn at random, and a profile of 3 runs an allocation."""
    nature, dice, chosen = nature or Nature(), random.Random(seed), kinds or list(KINDS)
    runs, profile = [], []
    for mechanism in mechanisms:
        for number in range(train + test):
            split = Split.TRAIN if number < train else Split.TEST
            setting = _setting(dice, mechanism, number, split)
            mean = sum(KINDS[kind] for kind in chosen) / len(chosen) / mechanism.base_cores
            jobs = arrivals(dice, mean / dice.uniform(0.5, 1.05), duration, chosen)
            runs.append(measure(setting, jobs, nature, dice))
            for repeat in range(1, 1 + repeats * (split is Split.TEST)):
                again = replace(setting, run=f"{setting.run}-{repeat}", repeat=repeat)
                runs.append(measure(again, jobs, nature, dice))
        profile += profile_of(mechanism, chosen, nature, dice)
    return Dataset(runs=tuple(runs), profile=tuple(profile))


def profile_of(
    mechanism: Mechanism, kinds: list[str], nature: Nature, dice: random.Random
) -> list[ProfileRun]:
    """Three runs alone of each kind at each allocation."""
    rows = []
    drift = dice.gauss(0.0, nature.drift)
    alone = Setting(run="alone", setting="alone", split=Split.TRAIN, mechanism=mechanism, timeout=0.0)
    for kind in kinds:
        for allocation, capacity in ((AloneAt.BASE, 0.0), (AloneAt.SPRINT, 1e6)) * 3:
            machine = Machine(replace(alone, capacity=capacity), nature, level=capacity)
            row = machine.serve(kind, 0.0, math.exp(drift + dice.gauss(0.0, nature.noise)))
            rows.append(
                ProfileRun(
                    mechanism=mechanism.name, kind=kind, allocation=allocation, wall=row.wall, cpu=row.cpu
                )
            )
    return rows


def _setting(dice: random.Random, mechanism: Mechanism, number: int, split: Split) -> Setting:
    name = f"{mechanism.name}-{split.value}-{number}"
    return Setting(
        run=name,
        setting=name,
        split=split,
        mechanism=mechanism,
        timeout=dice.choice([0.0, 0.5, 1.0, 2.0, 4.0]),
        clock=TriggerClock.ARRIVAL,
        capacity=dice.choice([2.0, 4.0, 8.0, 16.0]),
        refill=dice.choice([0.05, 0.1, 0.3]),
        hysteresis=0.2,
        arrivals="poisson",
    )
