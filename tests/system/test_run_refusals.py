"""What `kubesprint run` refuses: one line on stderr, exit 2, and nothing exists that did not before."""

import itertools
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from document_texts import job, policy_text, profile_text, queue_text
from kubesprint.adapters.files.lock import take_lock
from kubesprint.adapters.linux import cgroup
from kubesprint.adapters.linux.plan import capability
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.apps.cli import build
from kubesprint.apps.documents import load_policy, load_queue
from kubesprint.apps.session import Session

FS = PseudoFs("/")
QUOTA = capability(FS, cgroup.discover(FS), "quota")
needs_quota = [
    pytest.mark.cgroups,
    pytest.mark.skipif(not QUOTA.possible, reason=f"needs the right to set CPU quotas: {QUOTA.reason}"),
]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
NOBODY = 65534


def run(*arguments: object) -> Result:
    return CliRunner().invoke(build(), ["run", *map(str, arguments)])


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "queue.yaml").write_text(queue_text(job()))
    (tmp_path / "policy.yaml").write_text(policy_text())
    return tmp_path


def asked(place: Path, *more: object) -> list[object]:
    """The arguments of a run that would be fine."""
    folders = ["--state-dir", place / "state", "--out", place / "out"]
    return [place / "queue.yaml", "--policy", place / "policy.yaml", *folders, *more]


def everything(folder: Path) -> Sequence[str]:
    return sorted(str(path) for path in folder.rglob("*"))


def never(*_: object) -> None:
    raise AssertionError("a session was started")


def refused(place: Path, arguments: Sequence[object], *parts: str) -> None:
    """Refused in one line that holds all `parts`, and nothing has changed."""
    before = everything(place)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "run", never)  # whatever starts a process or a group is behind it
        result = run(*arguments)
    assert result.exit_code == 2, result.output
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("kubesprint run: ")
    for part in parts:
        assert part in lines[0]
    assert result.stdout == ""
    assert everything(place) == before


QUEUES = {
    "unknown key": (queue_text(job(rest="nmae: b")), "nmae"),
    "wrong kind": (queue_text(job()).replace("JobQueue", "JobQeue"), "JobQeue"),
    "wrong unit": (queue_text(job(rest="arrival: 5 parsecs")), "arrival"),
    "no unit": (queue_text(job(rest="arrival: 5")), "arrival"),
    "negative": (queue_text(job(rest="arrival: -5s")), "arrival"),
    "not a number": (queue_text(job(rest="deadline: .nan")), "deadline"),
    "empty": (queue_text(), "jobs"),
    "no slots": (queue_text(job(), slots="slots: 0"), "slots"),
    "command not found": (queue_text(job(command="[no-such-program-here]")), "no-such-program-here"),
    "no command": (queue_text(job(command="[]")), "command"),
    "folder not found": (queue_text(job(rest="workdir: nowhere")), "nowhere"),
    "duplicate name": (queue_text(job("b"), job("b")), '"b"'),
    "not YAML": ("{", "queue.yaml:"),
}


@pytest.mark.parametrize("case", QUEUES)
def test_a_bad_queue_is_refused(place: Path, case: str) -> None:
    text, part = QUEUES[case]
    (place / "queue.yaml").write_text(text)
    refused(place, asked(place), "queue.yaml:", part)


POLICIES = {
    "unknown key": (policy_text(budget="budgt: {}"), "budgt"),
    "sprint slower than base": (policy_text(sprint="sprint: {cpu: 200m}"), "sprint"),
    "negative": (
        policy_text(budget="budget: {capacityCoreSeconds: -1, refillCores: 0}"),
        "capacityCoreSeconds",
    ),
    "not a number": (
        policy_text(budget="budget: {capacityCoreSeconds: .nan, refillCores: 0}"),
        "capacityCoreSeconds",
    ),
    "zero budget": (policy_text(budget="budget: {capacityCoreSeconds: 0, refillCores: 0}"), "budget"),
    "wrong unit": (policy_text(base="base: {cpu: 400k}"), "cpu"),
    "unknown mode": (policy_text(mode="mode: Force"), "Force"),
}


@pytest.mark.parametrize("case", POLICIES)
def test_a_bad_policy_is_refused(place: Path, case: str) -> None:
    text, part = POLICIES[case]
    (place / "policy.yaml").write_text(text)
    refused(place, asked(place), "policy.yaml:", part)


def test_a_bad_profile_is_refused(place: Path) -> None:
    (place / "profiles.yaml").write_text(profile_text("{cpu: 400m, wall: -3s, cpuTime: 1s}"))
    refused(place, asked(place, "--profile", place / "profiles.yaml"), "profiles.yaml:", "wall")


OPTIONS: dict[str, tuple[Callable[[Path], list[object]], tuple[str, ...]]] = {
    "no words": (lambda p: [], ("QUEUE.yaml",)),
    "an empty command": (lambda p: ["--"], ("QUEUE.yaml",)),
    "two queues": (lambda p: [p / "queue.yaml", p / "other.yaml"], ("other.yaml",)),
    "queue and command": (lambda p: [*asked(p), "--", "true"], ("queue.yaml", "--")),
    "no such command": (
        lambda p: ["--out", p / "out", "--", "no-such-program"],
        ("no-such-program", "not found"),
    ),
    "missing queue": (lambda p: [p / "none.yaml"], ("none.yaml", "no such file")),
    "missing policy": (
        lambda p: [p / "queue.yaml", "--policy", p / "none.yaml"],
        ("none.yaml", "no such file"),
    ),
    "missing profile": (lambda p: asked(p, "--profile", p / "none.yaml"), ("none.yaml", "no such file")),
    "strategy": (lambda p: asked(p, "--strategy", "sometimes"), ("--strategy", "sometimes", "model-driven")),
    "strategy's time": (lambda p: asked(p, "--strategy", "timeout:5"), ("--strategy", "5")),
    "mechanism": (lambda p: asked(p, "--mechanism", "magic"), ("magic", "quota")),
    "bucket": (lambda p: asked(p, "--bucket", "half"), ("--bucket", "half", "resume")),
    "shares of cores by affinity": (lambda p: asked(p, "--mechanism", "affinity"), ("whole cores", "0.4")),
    "resume nothing": (lambda p: ["--resume"], ("--resume",)),
    "resume no run": (lambda p: ["--resume", p], ("--resume", "origin.json")),
    "out is a file": (lambda p: [p / "queue.yaml", "--out", p / "policy.yaml"], ("--out", "policy.yaml")),
    "out is not empty": (lambda p: [p / "queue.yaml", "--out", p], ("--out", "not empty", "--resume")),
    "out below a file": (
        lambda p: [p / "queue.yaml", "--out", p / "policy.yaml" / "x"],
        ("--out", "policy.yaml"),
    ),
    "state below a file": (
        lambda p: asked(p, "--state-dir", p / "policy.yaml" / "x"),
        ("state folder", "--state-dir"),
    ),
    "state is a file": (
        lambda p: asked(p, "--state-dir", p / "policy.yaml"),
        ("state folder", "--state-dir"),
    ),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_bad_options_are_refused(place: Path, case: str) -> None:
    arguments, parts = OPTIONS[case]
    refused(place, arguments(place), *parts)


def test_a_second_run_on_the_machine_is_refused(place: Path) -> None:
    if not QUOTA.possible:
        pytest.skip(f"needs the right to set CPU quotas: {QUOTA.reason}")
    (place / "state").mkdir(mode=0o700)
    with take_lock(place / "state", "first"):
        refused(place, asked(place), "first", str(os.getpid()))


def elsewhere(command: Sequence[object]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=60, check=False)


KUBESPRINT = [sys.executable, "-m", "kubesprint", "run"]


def refused_elsewhere(place: Path, done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for part in parts:
        assert part in done.stderr
    assert not (place / "out").exists()
    assert not (place / "state").exists()


@needs_root
def test_shares_of_a_core_without_the_right_to_quotas_are_refused(place: Path) -> None:
    place.chmod(0o777)
    for folder in (place, *place.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o055)
    program = (
        # imported first: the libraries of this Python may be for root only
        "import os, encodings.utf_8_sig; from kubesprint.apps.cli import build; app = build(); "
        f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY}); app()"
    )
    done = elsewhere([sys.executable, "-c", program, "run", *asked(place)])
    refused_elsewhere(place, done, "quota", "run as root", "delegated")
    locked = asked(place, "--mechanism", "affinity")
    (place / "policy.yaml").write_text(policy_text(base='base: {cpu: "1"}', sprint='sprint: {cpu: "2"}'))
    place.chmod(0o755)  # now the state folder cannot be made
    done = elsewhere([sys.executable, "-c", program, "run", *locked, "--out", "/tmp/never-made"])
    assert not Path("/tmp/never-made").exists()
    refused_elsewhere(place, done, "state folder", "--state-dir", str(NOBODY))


@pytest.mark.cgroups
@pytest.mark.skipif(not QUOTA.possible, reason=f"needs the right to set CPU quotas: {QUOTA.reason}")
@needs_root
def test_a_read_only_control_group_is_refused(place: Path) -> None:
    assert QUOTA.place is not None
    mount = next(
        m for m in map(str, [QUOTA.place.parent, *Path(QUOTA.place.parent).parents]) if os.path.ismount(m)
    )
    script = f'mount -o bind,ro {mount} {mount} && mount -o remount,bind,ro {mount} && exec "$@"'
    if elsewhere(["unshare", "-m", "sh", "-c", script, "sh", "true"]).returncode != 0:
        pytest.skip("needs mount namespaces")
    done = elsewhere(["unshare", "-m", "sh", "-c", script, "sh", *KUBESPRINT, *asked(place)])
    refused_elsewhere(place, done, "quota")


def test_words_behind_dashes_are_a_command(tmp_path: Path) -> None:
    result = run("--out", tmp_path / "out", "--quiet", "--", sys.executable, "-c", "print('--out')")
    assert result.exit_code == 0, result.output
    origin = json.loads((tmp_path / "out" / "inputs" / "origin.json").read_text())
    assert origin["command"][1:] == ["-c", "print('--out')"]
    assert next((tmp_path / "out" / "jobs").iterdir()).read_text() == "--out\n"


def test_a_dry_run_writes_nothing(place: Path) -> None:
    before = everything(place)
    result = run(*asked(place, "--dry-run", "--mechanism", "auto"))
    if QUOTA.possible:
        assert result.exit_code == 0
        assert "1 jobs in 1 slots" in result.stdout
    assert everything(place) == before


def test_the_documents_that_the_help_shows_are_good_ones(tmp_path: Path) -> None:
    text = CliRunner().invoke(build(), ["run", "--help"], env={"COLUMNS": "100"}).stdout
    for name, kind in (("queue.yaml", "JobQueue"), ("policy.yaml", "SprintPolicy")):
        lines = text.splitlines()
        first = lines.index(f"    kind: {kind}") - 1
        document = list(itertools.takewhile(str.strip, lines[first:]))
        (tmp_path / name).write_text(textwrap.dedent("\n".join(document)))
    (tmp_path / "train.py").touch()
    queue, policy = load_queue(tmp_path / "queue.yaml"), load_policy(tmp_path / "policy.yaml")
    assert (len(queue.value.jobs), queue.warnings) == (2, ())
    assert (policy.value.mode.value, policy.warnings) == ("Enforce", ())


def test_a_folder_that_is_no_run_cannot_be_resumed(tmp_path: Path) -> None:
    result = run("--resume", tmp_path)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert f"--resume: {tmp_path} is not a folder that kubesprint run wrote" in line
    assert "Errno" not in line
