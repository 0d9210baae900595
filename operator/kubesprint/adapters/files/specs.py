"""YAML documents on disk: read with the line of every key, written whole or not at all.

What a document means is a parser's business; this module says where a problem stands, in one line:
`FILE:LINE: spec.budget.refillCores: "fast" is not a CPU quantity; write for example 50m or 0.05`.
"""

import math
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import yaml

from kubesprint.core.errors import Refused
from kubesprint.core.spec import Invalid, JobSpec, Problem

MOST_BYTES = 1 << 20
MOST_NODES = 200_000  # aliases expanded: a small file can stand for a huge document
MOST_PROBLEMS = 10  # said of one file

T = TypeVar("T")
Keys = tuple[str | int, ...]
Parser = Callable[[Mapping[str, object]], tuple[T, Sequence[Problem]]]
"""From a document to what it means, and warnings; raises `Invalid`."""

_MERGE = "tag:yaml.org,2002:merge"
_MAPPING = "tag:yaml.org,2002:map"
_SEQUENCE = "tag:yaml.org,2002:seq"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document of a file: its data, where each key stands, and what YAML alone shows to be wrong."""

    file: Path
    data: Mapping[str, object]
    lines: Mapping[Keys, int]  # from 1
    problems: tuple[Problem, ...] = ()

    def line(self, path: Keys) -> int:
        """The line of a key, or of the nearest thing around it that is there."""
        return next(self.lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self.lines)

    def say(self, problem: Problem) -> str:
        """A problem as one line that an editor can follow."""
        key = f"{problem.key()}: " if problem.path else ""
        return f"{self.file}:{self.line(problem.path)}: {key}{problem.message}"


def read_documents(file: Path) -> list[Document]:
    """The documents of a YAML file, at least one; empty ones are skipped.

    Raises:
        Refused: no such file, unreadable, too large, not UTF-8, not YAML, no document in it, or one
            that is not a mapping.
    """
    text = _read_text(file)
    try:
        documents = _compose(file, text)
    except yaml.MarkedYAMLError as error:
        raise Refused(_syntax(file, error)) from None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise Refused(f"{file}:{line}: not YAML: the character #x{ord(text[error.position]):02x}") from None
    except RecursionError:
        raise Refused(f"{file}: nested too deeply") from None
    if not documents:
        raise Refused(f"{file}: empty; a document starts with apiVersion and kind")
    return documents


def parse_documents(documents: Sequence[Document], parser: Parser[T]) -> tuple[list[T], list[str]]:
    """What the documents of one file mean, and the warnings, located.

    Raises:
        Refused: one line a problem, in the order of the file, at most ten.
    """
    values: list[T] = []
    warnings: list[str] = []
    troubles: list[str] = []
    for document in documents:
        try:
            value, notes = parser(document.data)
        except Invalid as error:
            troubles += _listing(document, error.problems)
            continue
        troubles += _listing(document, ())
        warnings += [document.say(note) for note in notes]
        values.append(value)
    if (rest := len(troubles) - MOST_PROBLEMS) > 0:
        troubles[MOST_PROBLEMS:] = [f"{documents[0].file}: and {rest} more"]
    if troubles:
        raise Refused("\n".join(troubles))
    return values, warnings


def write_documents(file: Path, documents: Sequence[Mapping[str, object]], header: str = "") -> None:
    """Replace the file by these documents; on an error the old one stays as it was.

    Raises:
        Refused: the folder is missing or may not be written.
    """
    comment = "".join(f"# {line}\n" for line in header.splitlines())
    body = yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True, width=100)
    try:
        _replace(file, f"{comment}{body}")
    except OSError as error:
        raise Refused(f"{file}: cannot be written: {error.strerror or error}") from None


def place_job(job: JobSpec, folder: Path, environ: Mapping[str, str]) -> JobSpec:
    """The job with an absolute working folder, its command found. Relative paths count from `folder`.

    Raises:
        Invalid: the folder or the command is not there, or the command is not executable.
    """
    workdir = os.path.normpath(folder.absolute() / job.workdir)
    if not Path(workdir).is_dir():
        raise Invalid([Problem(("workdir",), f'job "{job.name}": {workdir} is not a folder')])
    path = job.env.get("PATH", environ.get("PATH", os.defpath))
    if trouble := _command_trouble(job.command[0], workdir, path):
        raise Invalid([Problem(("command", 0), f'job "{job.name}": {trouble}')])
    return replace(job, workdir=workdir)


def _command_trouble(command: str, workdir: str, path: str) -> str | None:
    """Why the kernel would not start it, as the job's own process would look it up."""
    if not command:
        return "the command is empty"
    if "/" in command:
        target = Path(workdir) / command
        if not target.is_file():
            return f'command "{command}" not found: there is no file {target}'
        if not os.access(target, os.X_OK):
            return f'"{command}" is not executable; chmod +x it, or write its interpreter first'
        return None
    entries = (os.path.join(workdir, entry) for entry in path.split(os.pathsep))  # noqa: PTH118  "" stays a folder
    if shutil.which(command, path=os.pathsep.join(entries)) is None:
        return f'command "{command}" not found on PATH; write the full path'
    return None


def _read_text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            raw = stream.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise Refused(f"{file}: no such file") from None
    except OSError as error:
        raise Refused(f"{file}: cannot be read: {error.strerror or error}") from None
    if len(raw) > MOST_BYTES:
        raise Refused(f"{file}: larger than {MOST_BYTES >> 20} MiB")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise Refused(f"{file}:{line}: not UTF-8 text") from None


def _compose(file: Path, text: str) -> list[Document]:
    loader = yaml.SafeLoader(text)
    documents = []
    while loader.check_node():
        node = loader.get_node()
        if node is not None and not _is_null(node):
            documents.append(_document(file, loader, node))
    return documents


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _syntax(file: Path, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    where = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else str(file)
    what = ", ".join(part for part in (error.problem, error.context) if part)
    return f"{where}: not YAML: {what}"


def _listing(document: Document, problems: Sequence[Problem]) -> list[str]:
    """All that is wrong, in the order of the lines; one problem a key."""
    known = {problem.path for problem in document.problems}
    found = [*document.problems, *(p for p in problems if p.path not in known)]
    found.sort(key=lambda problem: document.line(problem.path))
    return [document.say(problem) for problem in found]


def _document(file: Path, loader: yaml.SafeLoader, node: yaml.Node) -> Document:
    builder = _Builder(loader)
    data = builder.value(node, ())
    if not isinstance(data, dict):
        line = node.start_mark.line + 1
        raise Refused(f"{file}:{line}: not a mapping; a document starts with apiVersion and kind")
    return Document(file=file, data=data, lines=builder.lines, problems=tuple(builder.problems))


class _Builder:
    """Turns YAML nodes into plain data and keeps the line of every key."""

    def __init__(self, loader: yaml.SafeLoader) -> None:
        self.loader = loader
        self.lines: dict[Keys, int] = {}
        self.problems: list[Problem] = []
        self._nodes = 0

    def value(self, node: yaml.Node, path: Keys) -> object:
        """The data of a node; what cannot be data is a problem and stands as None."""
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise yaml.MarkedYAMLError(problem="aliases make it too large", problem_mark=node.start_mark)
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode) and node.tag == _MAPPING:
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == _SEQUENCE:
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        self._refuse(path, f"the tag {node.tag} is not used here")
        return None

    def _mapping(self, node: yaml.MappingNode, path: Keys) -> dict[str, object]:
        self._refuse_repeated(node, path)
        self.loader.flatten_mapping(node)
        data: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key is not None:
                data[key] = self.value(value_node, (*path, key))
        return data

    def _refuse_repeated(self, node: yaml.MappingNode, path: Keys) -> None:
        """Before merge keys are expanded: overriding a merged key is what they are for."""
        first: dict[str, int] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == _MERGE:
                continue
            line = key_node.start_mark.line + 1
            if key_node.value in first:
                self._refuse(
                    (*path, key_node.value), f"written twice, on lines {first[key_node.value]} and {line}"
                )
            first.setdefault(key_node.value, line)

    def _key(self, node: yaml.Node, path: Keys) -> str | None:
        if not isinstance(node, yaml.ScalarNode):
            self._refuse(path, f"line {node.start_mark.line + 1}: a key must be text")
            return None
        key = str(node.value)
        self.lines[(*path, key)] = node.start_mark.line + 1
        if node.tag == "tag:yaml.org,2002:str":
            return key
        self._refuse((*path, key), f'the key {key[:60]} is not text; quote it: "{key[:60]}"')
        return None

    def _scalar(self, node: yaml.ScalarNode, path: Keys) -> object:
        try:
            value: object = self.loader.construct_object(node)
        except yaml.constructor.ConstructorError:
            self._refuse(path, f"the tag {node.tag} is not used here")
            return None
        except ValueError:
            self._refuse(path, f"{node.value[:60]} is not a value; if it is text, quote it")
            return None
        if isinstance(value, float) and not math.isfinite(value):
            self._refuse(path, f"{node.value} is not a finite number")
            return None
        return value

    def _refuse(self, path: Keys, message: str) -> None:
        self.problems.append(Problem(path, message))


def _replace(file: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(dir=file.absolute().parent, prefix=f".{file.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
