"""What every benchmark leaves behind: raw rows, a summary with the facts of the machine, a table."""

import argparse
import json
import platform
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kubesprint import __version__
from kubesprint.adapters.files.facts import load_average, machine_facts

Row = Mapping[str, Any]
RESULTS = Path(__file__).parent / "results"


def add_common(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The options of every benchmark."""
    parser.add_argument("--quick", action="store_true", help="a short trial, not a measurement")
    parser.add_argument("--out", type=Path, help="folder of raw data; default: bench/results/NAME-DATE")
    parser.add_argument("--json", type=Path, help="also write the summary here")
    return parser


class Results:
    """The folder of one benchmark run."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        self.folder: Path = options.out or RESULTS / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._name, self._options = name, options
        self._load = load_average()

    def raw(self, rows: Iterable[Row], name: str = "raw") -> None:
        """One JSON object a line, replacing what was there."""
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (self.folder / f"{name}.jsonl").write_text(text)

    def finish(self, rows: Sequence[Row], **facts: Any) -> None:
        """Write the summary and print its rows as a table."""
        summary = {
            "benchmark": self._name,
            "options": {key: str(value) for key, value in vars(self._options).items()},
            "machine": machine_facts(),
            "versions": {"kubesprint": __version__, "python": platform.python_version()},
            "load": {"start": self._load, "end": load_average()},
            **facts,
            "rows": list(rows),
        }
        text = json.dumps(summary, indent=2) + "\n"
        (self.folder / "summary.json").write_text(text)
        if self._options.json is not None:
            self._options.json.write_text(text)
        print(f"\n{self._name}   ({self.folder})\n{table(rows)}", flush=True)


def table(rows: Sequence[Row]) -> str:
    """Rows in aligned columns, in the order in which the keys first appear."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    cells = [keys, *([_cell(row.get(key)) for key in keys] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(keys))]
    return "\n".join("  ".join(c.rjust(w) for c, w in zip(line, widths, strict=True)) for line in cells)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def progress(text: str) -> None:
    """A line on stderr."""
    print(text, file=sys.stderr, flush=True)
