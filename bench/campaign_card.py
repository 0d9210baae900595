"""The card of a measured dataset: what it is, how it was measured, and what its numbers cannot say."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.campaign_dataset import Measured
from bench.campaign_jobs import KINDS
from bench.campaign_plan import Shape
from kubesprint.adapters.files.dataset_reader import read_dataset
from kubesprint.core.dataset import AloneAt, Dataset, Run, Setting
from kubesprint.learn.evaluation import MEASURES, Spread, noise_floors

TEXT = Path(__file__).with_suffix(".md")


def card(
    folder: Path, measured: Sequence[Measured], seed: int, shape: Shape, facts: Mapping[str, Any]
) -> str:
    """The card of the dataset in a folder, in Markdown."""
    dataset = read_dataset(folder).dataset
    jobs = [job for run in dataset.runs for job in run.jobs]
    floors = noise_floors(dataset)
    return TEXT.read_text(encoding="utf-8").format(
        runs=len(dataset.runs),
        settings=len({run.setting.setting for run in dataset.runs}),
        jobs=len(jobs),
        cpu=sum(job.cpu for job in jobs),
        alone=len(dataset.profile),
        seed=seed,
        machine=_machine(facts),
        when=_when(dataset),
        blocks=shape.blocks,
        mechanisms=_mechanisms(dataset),
        train=shape.train,
        test=shape.test,
        test_runs=shape.test_runs,
        ranges=_ranges(dataset),
        kinds=_kinds(dataset),
        about="\n".join(
            f"- **{kind}**: {(job.__doc__ or '').strip()}"
            for kind, job in KINDS.items()
            if kind in shape.kinds
        ),
        repeated=len(floors),
        noise=_noise(floors),
        drift=_drift(dataset),
        foreign=_foreign(measured),
        per_run=f"{statistics.median(len(run.jobs) for run in dataset.runs):.0f}",
    )


def _machine(facts: Mapping[str, Any]) -> str:
    kernel = ".".join(str(facts["kernel"]).split(".")[:2])
    packages = ", ".join(f"{name} {facts[name]}" for name in ("numpy", "scipy", "scikit-learn"))
    return (
        f"A machine with {facts['cores']} logical CPUs ({facts['cpu']}, {facts['architecture']}), "
        f"{round(facts['memory_bytes'] / 2**30)} GiB, Linux {kernel}, control groups {facts['cgroup']}, "
        f"Python {facts['python']}, {packages}"
    )


def _when(dataset: Dataset) -> str:
    times = sorted(run.setting.started_at or "" for run in dataset.runs)
    return f"Runs started from {times[0]} to {times[-1]}."


def _mechanisms(dataset: Dataset) -> str:
    rows = [
        (one.name, one.base_cores, one.sprint_cores, one.threads, one.sprint_cores / one.base_cores)
        for one in dataset.mechanisms.values()
    ]
    return _table(
        ("mechanism", "base quota, cores", "sprint quota, cores", "threads", "nominal speed-up"), rows
    )


def _ranges(dataset: Dataset) -> str:
    by_group: defaultdict[tuple[str, str], list[Setting]] = defaultdict(list)
    for run in dataset.runs:
        by_group[run.setting.mechanism.name, run.setting.split.value].append(run.setting)
    rows = []
    for (mechanism, split), settings in sorted(by_group.items(), reverse=True):
        timeouts = [one.timeout for one in settings if one.timeout < float("inf")]
        words = _range(timeouts, 2) + (", never" if len(timeouts) < len(settings) else "")
        capacities = _range((one.capacity for one in settings), 1)
        rows.append((mechanism, split, words, capacities, _range((one.refill for one in settings), 2)))
    return _table(("mechanism", "split", "time-out, s", "capacity, sprint s", "refill, sprint s / s"), rows)


def _range(values: Iterable[float], digits: int) -> str:
    several = list(values)
    return f"{min(several):.{digits}f} to {max(several):.{digits}f}" if several else "none"


def _alone(dataset: Dataset) -> dict[tuple[str, str, AloneAt], list[tuple[float, float]]]:
    """Wall and CPU seconds of jobs alone, by mechanism, kind and allocation."""
    found: defaultdict[tuple[str, str, AloneAt], list[tuple[float, float]]] = defaultdict(list)
    for row in dataset.profile:
        found[row.mechanism, row.kind, row.allocation].append((row.wall, row.cpu))
    return dict(found)


def _means(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return statistics.fmean(pair[0] for pair in pairs), statistics.fmean(pair[1] for pair in pairs)


def _kinds(dataset: Dataset) -> str:
    alone = _alone(dataset)
    rows = []
    for mechanism, kind in sorted({key[:2] for key in alone}):
        base = alone[mechanism, kind, AloneAt.BASE]
        (slow, cpu), (fast, sprint_cpu) = _means(base), _means(alone[mechanism, kind, AloneAt.SPRINT])
        spread = statistics.stdev(pair[1] for pair in base) / cpu if len(base) > 1 else float("nan")
        rows.append((mechanism, kind, slow, fast, slow / fast, cpu, sprint_cpu / cpu, spread))
    names = ("mechanism", "kind", "base s", "sprint s", "speed-up", "CPU s", "CPU sprint / base", "CV")
    return _table(names, rows)


def _noise(floors: Mapping[str, Mapping[str, float]]) -> str:
    rows = []
    for measure in MEASURES:
        spread = Spread.of([floor[measure] for floor in floors.values()])
        if spread is not None:
            values = (f"{100 * value:.1f} %" for value in (spread.median, spread.p90, spread.worst))
            rows.append((measure, *values))
    return _table(("", "median", "p90", "worst"), rows)


def _drift(dataset: Dataset) -> str:
    alone = _alone(dataset)
    factors = [_factor(run, alone) for run in dataset.runs]
    third = max(1, len(factors) // 3)
    parts = [factors[:third], factors[third:-third] or factors, factors[-third:]]
    spread = statistics.stdev(factors) if len(factors) > 1 else 0.0
    by_third = ", ".join(f"{statistics.fmean(part):.3f}" for part in parts)
    mean = statistics.fmean(factors)
    return (
        f"mean {mean:.3f}, standard deviation {spread:.3f}, {min(factors):.3f} to {max(factors):.3f}; "
        f"means of the first, middle and last third of the runs {by_third}."
    )


def _factor(run: Run, alone: Mapping[tuple[str, str, AloneAt], Sequence[tuple[float, float]]]) -> float:
    """CPU seconds of a run over the profile's; the share sprinted is taken from the CPU seconds."""
    expected = 0.0
    for job in run.jobs:
        name = run.setting.mechanism.name
        slow = _means(alone[name, job.kind, AloneAt.BASE])[1]
        fast = _means(alone[name, job.kind, AloneAt.SPRINT])[1]
        share = (job.sprint_cpu or 0.0) / job.cpu
        expected += slow + share * (fast - slow)
    return sum(job.cpu for job in run.jobs) / expected


def _foreign(measured: Sequence[Measured]) -> str:
    cores = [float(one.notes["foreign_cores"]) for one in measured]
    return f"median {statistics.median(cores):.2f}, at most {max(cores):.2f} in a run"


def _table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    cells = [[f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    lines = ["| " + " | ".join(row) + " |" for row in [list(names), *cells]]
    return "\n".join([lines[0], "|" + "---|" * len(names), *lines[1:]])
