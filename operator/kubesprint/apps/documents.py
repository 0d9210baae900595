"""Loads the documents of a run: files read and located by one adapter, understood by another."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from kubesprint.adapters.files.specs import (
    Parser,
    parse_documents,
    place_job,
    read_documents,
    write_documents,
)
from kubesprint.adapters.wire.policies import parse_policy
from kubesprint.adapters.wire.profiles import parse_profile, profile_document
from kubesprint.adapters.wire.queues import parse_queue
from kubesprint.core.errors import Refused
from kubesprint.core.spec import Policy, Problem, ProfileSpec, QueueSpec

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[T_co]):
    """A value from a file, and what its writer should know, a line each."""

    value: T_co
    warnings: tuple[str, ...] = ()


def load_policy(file: Path) -> Loaded[Policy]:
    """The one SprintPolicy of a file; its name is the file's if it gives none.

    Raises:
        Refused: one line a problem, `FILE:LINE: KEY: what is wrong; what is allowed`.
    """
    return _one(file, partial(parse_policy, default_name=file.stem), "SprintPolicy")


def load_queue(
    file: Path, environ: Mapping[str, str] | None = None, folder: Path | None = None
) -> Loaded[QueueSpec]:
    """The one JobQueue of a file: working folders absolute, every command found.

    Args:
        file: the document.
        folder: relative working folders count from it; None: from the file's.
        environ: the environment that jobs inherit; None: that of this process.

    Raises:
        Refused: as for `load_policy`.
    """
    place = partial(
        place_job, folder=folder or file.parent, environ=os.environ if environ is None else environ
    )
    return _one(file, partial(parse_queue, place=place), "JobQueue")


def load_profiles(file: Path) -> Loaded[tuple[ProfileSpec, ...]]:
    """The WorkloadProfiles of a file, one a workload.

    Raises:
        Refused: as for `load_policy`, or a workload that has two profiles.
    """
    documents = read_documents(file)
    profiles, warnings = parse_documents(documents, parse_profile)
    seen: set[str] = set()
    for document, profile in zip(documents, profiles, strict=True):
        if profile.workload in seen:
            second = Problem(("spec", "workload"), f'"{profile.workload}" has a profile above; keep one')
            raise Refused(document.say(second))
        seen.add(profile.workload)
    return Loaded(tuple(profiles), tuple(warnings))


def write_profiles(file: Path, profiles: Sequence[ProfileSpec]) -> None:
    """Replace the file by these profiles, whole or not at all.

    Raises:
        Refused: the folder is missing or may not be written.
    """
    header = "WorkloadProfiles, measured by kubesprint; a new measurement replaces this file."
    write_documents(file, [profile_document(profile) for profile in profiles], header)


def selector_warnings(policy: Policy, queue: QueueSpec) -> list[str]:
    """A line if the policy selects none of the jobs: nothing will sprint, and that is rarely meant."""
    if any(policy.selects(job.labels) for job in queue.jobs):
        return []
    wanted = ", ".join(f"{key}: {value}" for key, value in policy.selector.items())
    return [f'policy "{policy.name}": spec.selector.matchLabels {{{wanted}}} matches no job of the queue']


def _one(file: Path, parser: Parser[T_co], kind: str) -> Loaded[T_co]:
    documents = read_documents(file)
    if len(documents) > 1:
        line = documents[1].line(())
        raise Refused(f"{file}:{line}: a second document; write one {kind} a file")
    values, warnings = parse_documents(documents, parser)
    return Loaded(values[0], tuple(warnings))
