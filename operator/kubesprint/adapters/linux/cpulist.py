"""Lists of CPUs as the kernel spells them: `0-3,8`."""

from collections.abc import Iterable

from kubesprint.core.errors import Refused


def parse(text: str) -> frozenset[int]:
    """The CPUs of `0-3,8`; an empty text is no CPU. Raises `Refused` on anything else."""
    found: set[int] = set()
    for part in text.strip().replace(",", " ").split():
        first, _, last = part.partition("-")
        if not first.isdigit() or (last and not last.isdigit()):
            raise Refused(f"'{text}' is not a list of CPUs such as 0-3,8")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def spell(cpus: Iterable[int]) -> str:
    """The shortest list, ascending, as the kernel prints it."""
    parts: list[str] = []
    run: list[int] = []
    for cpu in [*sorted(set(cpus)), None]:
        if run and cpu != run[-1] + 1:
            parts.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
            run = []
        if cpu is not None:
            run.append(cpu)
    return ",".join(parts)
