"""Modules and functions stay short enough to be read at one sitting."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "operator" / "kubesprint"
MODULE_LINES = 400
FUNCTION_LINES = 40

LONGER = {
    "apps/run.py:run": 76,  # its signature is the table of the command's options
    "apps/simulate.py:simulate": 70,  # likewise
}
"""Functions that may be longer, and how long."""


def functions(source: str) -> Iterator[tuple[str, int]]:
    """Every function with its length, from `def` to its last line, decorators and docstring left out."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            first = node.body[0]
            if ast.get_docstring(node) is not None:
                length -= (first.end_lineno or first.lineno) - first.lineno + 1
            yield node.name, length


def _files() -> list[Path]:
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 80
    return files


def test_modules_have_at_most_400_lines() -> None:
    long = {
        str(path.relative_to(PACKAGE)): lines
        for path in _files()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MODULE_LINES
    }
    assert long == {}


def test_functions_have_at_most_40_lines() -> None:
    long = {}
    for path in _files():
        for name, lines in functions(path.read_text(encoding="utf-8")):
            where = f"{path.relative_to(PACKAGE)}:{name}"
            if lines > LONGER.get(where, FUNCTION_LINES):
                long[where] = lines
    assert long == {}


def test_exceptions_that_are_no_longer_needed_are_dropped() -> None:
    lengths = {
        f"{path.relative_to(PACKAGE)}:{name}": lines
        for path in _files()
        for name, lines in functions(path.read_text(encoding="utf-8"))
    }
    assert {where for where in LONGER if lengths.get(where, 0) <= FUNCTION_LINES} == set()


@pytest.mark.parametrize("lines", [1, 41])
def test_lengths_are_counted(lines: int) -> None:
    body = "\n".join(["    pass"] * lines)
    assert list(functions(f"def f():\n{body}\n")) == [("f", lines + 1)]
    assert list(functions(f'@property\ndef f():\n    """Two\n    lines."""\n{body}\n')) == [("f", lines + 1)]
