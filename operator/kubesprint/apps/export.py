"""`kubesprint export`: finished runs as a dataset."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from kubesprint.adapters.files.dataset import EXCLUDED, ExportedRun, write_dataset
from kubesprint.core.errors import Refused, SprintError


def export(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR... DATASET",
            help="Folders that kubesprint run wrote, and last the folder to write: new, or empty.",
        ),
    ],
    split: Annotated[
        str, typer.Option(help="What the runs are for: train (to be fitted to) or test (to be scored).")
    ] = "train",
    changing_timeouts: Annotated[
        bool,
        typer.Option(
            "--changing-timeouts",
            help="Take in runs whose time-out changed (model-driven) too; their split is excluded.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")] = False,
) -> None:
    """Write finished runs as a dataset: jobs.csv (a row a job) and settings.jsonl (an object a run).

    Runs of the same rules and arrivals count as repeats of one setting. A setting has one time-out; a
    model-driven run is one if some time-out would have decided as it did, which is rare. The budget of
    a setting counts in seconds of one job's sprint. Examples:

    \b
      kubesprint export out/demo/never out/demo/always my-dataset
      kubesprint export --split test out/other/never my-test-runs

    Exit codes: 0 written, 2 refused: nothing was written, and the message names the folder.
    """
    *folders, dataset = folders
    try:
        if not folders:
            raise Refused(f"{dataset}: name the folders of runs first, and last the DATASET folder to write")
        runs = write_dataset(folders, dataset, split=split, changing=changing_timeouts)
    except SprintError as error:
        typer.echo(f"kubesprint: {error}", err=True)
        raise typer.Exit(2) from error
    for run in runs:
        if run.failed:
            text = (
                f"{run.folder}: {run.failed} of {len(run.records)} jobs failed; their rows say so in `exit`"
            )
            typer.echo(f"kubesprint: warning: {text}", err=True)
    if as_json:
        rows = [{"folder": str(run.folder), "jobs": len(run.records), **run.setting} for run in runs]
        document = {"schema": 1, "dataset": str(dataset), "runs": rows}
        typer.echo(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        typer.echo("\n".join(_lines(runs, dataset)))


def _lines(runs: Sequence[ExportedRun], dataset: Path) -> list[str]:
    """What was written: a line a run, and one for all."""
    lines = []
    for run in runs:
        name, repeat = run.setting["setting"], run.setting["repeat"]
        line = f"{run.setting['run']}: {len(run.records)} jobs, setting {name}, repeat {repeat}"
        excluded = run.setting["split"] == EXCLUDED
        lines.append(f"{line}, excluded: its time-out changed during the run" if excluded else line)
    settings = len({run.setting["setting"] for run in runs})
    jobs = sum(len(run.records) for run in runs)
    return [*lines, f"{dataset}: {len(runs)} runs of {settings} settings, {jobs} jobs"]
