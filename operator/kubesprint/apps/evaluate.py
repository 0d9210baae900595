"""`kubesprint evaluate`: how well response times are predicted, beside simpler ways and the noise floor."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from kubesprint.adapters.files.charts import SHAPES, Series
from kubesprint.adapters.files.dataset_reader import read_dataset
from kubesprint.adapters.files.durable import replace_whole
from kubesprint.adapters.files.prediction_chart import prediction_chart
from kubesprint.adapters.files.results import finite
from kubesprint.apps.simulators import PLAIN, fastest_simulators
from kubesprint.core.errors import Refused, SprintError
from kubesprint.core.simulation import QueueSimulator
from kubesprint.learn.evaluation import Evaluation
from kubesprint.learn.evaluation import evaluate as evaluate_dataset
from kubesprint.learn.evaluation_answer import COLUMNS, as_json, as_rows, as_text
from kubesprint.learn.evaluation_entrants import chosen, needs_many_simulations
from kubesprint.learn.predictor import View


def evaluate(
    dataset: Annotated[
        Path, typer.Argument(metavar="DATASET", help="A folder with jobs.csv and settings.jsonl.")
    ],
    predictor: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this predictor; may be given more than once."),
    ] = None,
    out: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Also write FILE.json (the answer), FILE.csv (every prediction) or FILE.svg (predicted "
            "against measured); may be given more than once.",
        ),
    ] = None,
    as_json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Fit predictors to the train runs of a dataset and score them on its test runs.

    \b
    kubesprint evaluate models/data
    kubesprint evaluate my-dataset --json --predictor grey-box
    kubesprint evaluate my-dataset --out errors.csv --out cloud.svg

    An error is |predicted - measured| / measured of the mean response time
    of one test run, or of its 95th percentile; the table shows the median,
    the 90th percentile and the worst of the test runs.

    What a predictor is told of a test run beside its policy:

    \b
    raw               when which kind of job arrives
    drift-normalised  and the CPU seconds of all its jobs together
    known sizes       and the CPU seconds of each job

    It never sees a start, an end or a sprint of a test run. Repeats (the
    same setting again) are neither fitted nor scored; how far they lie apart
    is the noise floor, below which no raw prediction can be expected.

    \b
    Predictors:
    grey-box     the model of kubesprint
    marginal     simulated queue, measured speed-up a kind, nothing learned
    nominal      simulated queue, speed-up = ratio of the allocations
    no-sprint    simulated queue, sprints ignored
    formula      M/G/1 type
    direct-mlp, direct-gb, direct-forest, nearest-runs
                 learned from settings alone; with -trace at the end, from
                 a summary of the arrivals, too

    Exit code: 0, or 2 if the data cannot be used; the message names the
    file, the line and the column.
    """
    try:
        names = predictor or []
        chosen(names)  # a wrong name is said before anything is read
        writers = [(file, _writer(file)) for file in out or []]
        read = read_dataset(dataset)
        for warning in read.warnings:
            _say(f"warning: {warning}")
        makers = chosen(names, _simulator(names))
        evaluation = evaluate_dataset(read.dataset, makers, _say)
        for warning in evaluation.warnings:
            _say(f"warning: {warning}")
        for file, write in writers:
            replace_whole(file, write(evaluation))
    except SprintError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    typer.echo(_json(evaluation).rstrip() if as_json_ else as_text(evaluation))


def _simulator(names: list[str]) -> QueueSimulator:
    if not needs_many_simulations(names):
        return PLAIN.simulate
    simulators = fastest_simulators()
    _say(simulators.reason)
    return simulators.simulate


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _writer(file: Path) -> Callable[[Evaluation], str]:
    """How to write a file of this name. Checked before anything is fitted."""
    writers = {".json": _json, ".csv": _csv, ".svg": _svg}
    if file.suffix.lower() not in writers:
        raise Refused(f"--out {file}: write a name that ends in .json, .csv or .svg")
    if not file.parent.is_dir():
        raise Refused(f"--out {file}: there is no folder {file.parent}; make it first")
    return writers[file.suffix.lower()]


def _json(evaluation: Evaluation) -> str:
    return json.dumps(finite(as_json(evaluation)), indent=2, allow_nan=False) + "\n"


def _csv(evaluation: Evaluation) -> str:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(as_rows(evaluation))
    return table.getvalue()


def _svg(evaluation: Evaluation) -> str:
    shown = sorted(evaluation.entries, key=lambda name: name.endswith("-trace"))[: len(SHAPES)]
    series = [_cloud(evaluation, name, style) for style, name in enumerate(shown)]
    return prediction_chart("Mean response time of held-out runs, raw", series) + "\n"


def _cloud(evaluation: Evaluation, name: str, style: int) -> Series:
    """The raw predictions of one predictor, as points and as words."""
    pairs = list(zip(evaluation.scored, evaluation.entries[name].answers[View.RAW], strict=True))
    return Series(
        name=name,
        points=[(run.measured.mean, answer.mean) for run, answer in pairs],
        style=style,
        hints=[
            f"{name}, {run.setting.run}: measured {run.measured.mean:.3g} s, predicted {answer.mean:.3g} s"
            for run, answer in pairs
        ],
    )
