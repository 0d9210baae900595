"""`kubesprint learn`: fit the grey box to a dataset and keep it in a file."""

from pathlib import Path
from typing import Annotated

import typer

from kubesprint.adapters.files.dataset_reader import read_dataset
from kubesprint.adapters.files.durable import replace_whole
from kubesprint.apps.simulators import fastest_simulators
from kubesprint.core.errors import Refused, SprintError, Unavailable


def learn(
    dataset: Annotated[
        Path, typer.Argument(metavar="DATASET", help="A folder with jobs.csv and settings.jsonl.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The model, for `kubesprint run --model`.")],
    card: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write its card, as Markdown.")
    ] = None,
) -> None:
    """Fit the grey box to the train runs of a dataset, and keep what was learned.

    \b
    kubesprint learn models/data --out grey-box.json --card card.md
    kubesprint run queue.yaml --policy policy.yaml --profile profiles.yaml --model grey-box.json

    The model file holds numbers and a hash, no code. How good a model of
    this kind is on runs that it has not seen, `kubesprint evaluate` tells.

    Exit code: 0, or 2 if the data cannot be used.
    """
    try:
        _learn(dataset, out, card)
    except SprintError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error


def _learn(dataset: Path, out: Path, card: Path | None) -> None:
    for option, file in (("--out", out), ("--card", card)):
        if file is not None and not file.parent.is_dir():
            raise Refused(f"{option} {file}: there is no folder {file.parent}; make it first")
    read = read_dataset(dataset)
    for warning in read.warnings:
        typer.echo(f"warning: {warning}", err=True)
    training = read.dataset.training
    if not training.runs:
        raise Refused(f'{dataset / "settings.jsonl"}: split: no run to fit to; write "split": "train"')
    try:
        from kubesprint.learn.card import card_text
        from kubesprint.learn.learning import learn as fit
        from kubesprint.learn.model_file import write_model
    except ImportError as error:
        raise Unavailable("learning needs numpy and scikit-learn: pip install 'kubesprint[learn]'") from error
    learned = fit(training, simulator=fastest_simulators().simulate)
    replace_whole(out, write_model(learned.model))
    if card is not None:
        replace_whole(card, card_text(learned))
    typer.echo(
        f"{out}: fitted to {len(training.runs)} runs; learned part: {learned.part.value} ({learned.reason})"
    )
