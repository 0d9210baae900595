"""`kubesprint restore`: put back what a run that was killed has left."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from kubesprint.adapters.files.state import choose_folder
from kubesprint.apps.recovery import Recovery, restore_from_journal
from kubesprint.core.errors import Refused, SprintError


def restore(
    state_dir: Annotated[
        Path | None, typer.Option(help="Where the run kept its journal, if it was given --state-dir.")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of lines.")] = False,
) -> None:
    """Put everything back that a killed run has changed: groups, quotas, CPU sets, clocks.

    Jobs that survived are moved back to the group they came from, never ended. Doing it twice is
    harmless. A run that is live is refused: it restores by itself.

    Exit codes: 0 nothing is left to do; 1 something could not be put back, and stays in the journal;
    2 refused.

    Example: kubesprint restore
    """
    folder = choose_folder(state_dir, user=os.geteuid(), environment=os.environ, home=Path.home())
    try:
        recovery = restore_from_journal(folder, say=_say)
    except SprintError as error:
        typer.echo(f"kubesprint restore: {error}", err=True)
        raise typer.Exit(2 if isinstance(error, Refused) else 1) from error
    typer.echo(_document(recovery) if as_json else "\n".join(_lines(recovery, folder)))
    for line in recovery.failed:
        typer.echo(f"not put back: {line}", err=True)
    if recovery.failed:
        raise typer.Exit(1)


def _say(text: str) -> None:
    typer.echo(f"kubesprint restore: {text}", err=True)


def _lines(recovery: Recovery, folder: Path) -> list[str]:
    lines = [recovery.note] if recovery.note else []
    lines += [f"put back: {line}" for line in recovery.put_back]
    lines += [f"left alone: {line}" for line in recovery.left]
    if recovery.run is None:
        lines.append(f"nothing to restore in {folder}")
    elif not recovery.failed:
        lines.append(f"run {recovery.run}: everything is as it was found")
    else:
        lines.append(f"run {recovery.run}: {len(recovery.failed)} settings stay in the journal")
    return lines


def _document(recovery: Recovery) -> str:
    return json.dumps(
        {
            "run": recovery.run,
            "put_back": list(recovery.put_back),
            "left": list(recovery.left),
            "failed": list(recovery.failed),
            "note": recovery.note,
        }
    )
