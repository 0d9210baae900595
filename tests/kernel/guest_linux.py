"""Our kernel addresses on the guest's cpufreq, run in the guest, without a test framework.

Prints `ok NAME` or `failed NAME` and the traceback, a check each; ends with status 1 if one failed.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from kernel.guest_checks import run_checks
from kubesprint.adapters.linux.addresses import AddressBook, Target
from kubesprint.adapters.linux.hardware import hardware_for_restore
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.core.errors import Refused, SprintError, Unavailable
from kubesprint.engine.ports import Address, Write

CPUS = Path("/sys/devices/system/cpu")
POLICIES = sorted((CPUS / "cpufreq").glob("policy*"))
FILES = ("scaling_governor", "scaling_min_freq", "scaling_max_freq")
SETTLE = 10.0  # seconds: a worker of the kernel applies limits, a busy machine delays it


def address(policy: Path, name: str) -> Address:
    """The address of one cpufreq file."""
    kind = "limit" if name in ("scaling_min_freq", "scaling_max_freq") else "file"
    return Target(kind, str(policy / name)).address(policy.name)


def value(policy: Path, name: str) -> str:
    """A file's text, read without our code."""
    return (policy / name).read_text().strip()


def state() -> Mapping[str, str]:
    """Everything that a restore must bring back."""
    return {f"{policy.name} {name}": value(policy, name) for policy in POLICIES for name in FILES}


def settles(policy: Path, name: str, wanted: str) -> None:
    """Wait until a file reads as wanted."""
    deadline = time.monotonic() + SETTLE
    while (seen := value(policy, name)) != wanted:
        assert time.monotonic() < deadline, f"{policy.name} {name} reads {seen}, not {wanted}"
        time.sleep(0.02)


@contextmanager
def journalled() -> Iterator[Callable[[Path, str, str], None]]:
    """A function that writes like the keeper; at the end, what it found is put back by the journal alone."""
    fs, before = PseudoFs(), state()
    book, found = AddressBook(fs), dict[Address, str]()

    def put(policy: Path, name: str, text: str) -> None:
        at = address(policy, name)
        found.setdefault(at, book.read(at))
        book.write(at, text)

    try:
        yield put
    finally:
        hardware = hardware_for_restore(fs, found)
        for at, text in reversed(found.items()):
            hardware.write(Write(at, text))
    for at, text in found.items():
        settles(Path(Target.of(at).path).parent, Path(Target.of(at).path).name, text)
    assert state() == before


def error_of(kind: type[SprintError], access: Callable[[], object]) -> str:
    """What the error says that `access` must raise."""
    try:
        access()
    except kind as error:
        return str(error)
    raise AssertionError(f"no {kind.__name__}")


def middle(policy: Path) -> str:
    """A frequency of the table that is neither its highest nor its lowest."""
    return value(policy, "scaling_available_frequencies").split()[1]


def a_limit_holds_for_its_policy_alone() -> None:
    """Each policy has its own table; a limit that one takes must not reach the other."""
    for policy in POLICIES:
        others = [other for other in POLICIES if other != policy]
        kept = [value(other, "scaling_max_freq") for other in others]
        with journalled() as put:
            put(policy, "scaling_governor", "performance")
            put(policy, "scaling_max_freq", middle(policy))
            settles(policy, "scaling_max_freq", middle(policy))
            settles(policy, "scaling_cur_freq", middle(policy))
            assert [value(other, "scaling_max_freq") for other in others] == kept


def crossed_limits_are_undone() -> None:
    """With min above max the kernel shows max twice and remembers both wishes: the restore must end both."""
    policy = POLICIES[0]
    lowest, middling = value(policy, "cpuinfo_min_freq"), middle(policy)
    with journalled() as put:
        put(policy, "scaling_max_freq", lowest)
        put(policy, "scaling_min_freq", middling)
        settles(policy, "scaling_max_freq", lowest)


def a_limit_at_the_bound_is_released() -> None:
    """Putting back the hardware's own bound leaves no cap behind."""
    policy = POLICIES[1]
    with journalled() as put:
        put(policy, "scaling_max_freq", middle(policy))
        settles(policy, "scaling_max_freq", middle(policy))
        put(policy, "scaling_max_freq", value(policy, "cpuinfo_max_freq"))
        settles(policy, "scaling_max_freq", value(policy, "cpuinfo_max_freq"))


def every_governor_is_taken_and_undone() -> None:
    """What the kernel lists, it takes at once."""
    policy = POLICIES[0]
    for governor in value(policy, "scaling_available_governors").split():
        with journalled() as put:
            put(policy, "scaling_governor", governor)
            assert value(policy, "scaling_governor") == governor


def a_refused_value_names_the_file_and_changes_nothing() -> None:
    """An unknown governor, and what is no frequency: the kernel would take the first digits of it."""
    book, before = AddressBook(PseudoFs()), state()
    for name, text in (("scaling_governor", "banana"), ("scaling_max_freq", "2400000.7")):
        said = error_of(Refused, partial(book.write, address(POLICIES[0], name), text))
        assert name in said
        assert text in said
    assert state() == before


def a_policy_without_cpus_is_unavailable_and_comes_back() -> None:
    """With all its CPUs offline every access to a policy is EBUSY: not now, but later again."""
    policy, before = POLICIES[1], state()
    cpus = [CPUS / f"cpu{number}" / "online" for number in value(policy, "related_cpus").split()]
    book = AddressBook(PseudoFs())
    at = address(policy, "scaling_max_freq")
    for online in cpus:
        online.write_text("0")
    try:
        assert "scaling_max_freq" in error_of(Unavailable, lambda: book.read(at))
        assert "scaling_max_freq" in error_of(Unavailable, lambda: book.write(at, "1400000"))
    finally:
        for online in cpus:
            online.write_text("1")
    assert state() == before


CHECKS: tuple[Callable[[], None], ...] = (
    a_limit_holds_for_its_policy_alone,
    crossed_limits_are_undone,
    a_limit_at_the_bound_is_released,
    every_governor_is_taken_and_undone,
    a_refused_value_names_the_file_and_changes_nothing,
    a_policy_without_cpus_is_unavailable_and_comes_back,
)


if __name__ == "__main__":
    sys.exit(run_checks(CHECKS))
