"""`kubesprint profile` on real jobs: what it measures, and what it refuses before it measures anything."""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from document_texts import job, policy_text, queue_text
from kubesprint.adapters.linux import cgroup
from kubesprint.adapters.linux.plan import capability
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.apps.cli import build
from kubesprint.apps.documents import load_profiles
from kubesprint.apps.session import Session

FS = PseudoFs("/")
QUOTA = capability(FS, cgroup.discover(FS), "quota")
WHOLE = policy_text(base='base: {cpu: "1"}', sprint='sprint: {cpu: "2"}')


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "queue.yaml").write_text(queue_text(job()))
    (tmp_path / "policy.yaml").write_text(policy_text())
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    return tmp_path


def profile(place: Path, *more: object) -> Result:
    files = [place / "queue.yaml", "--policy", place / "policy.yaml", "--state-dir", place / "state"]
    return CliRunner().invoke(build(), ["profile", *map(str, files), *map(str, more)])


def never(*_: object) -> None:
    raise AssertionError("a session was started")


def spinner(place: Path) -> list[object]:
    (place / "policy.yaml").write_text(WHOLE)
    (place / "queue.yaml").write_text(queue_text(job(rest="env: {OMP_WAIT_POLICY: active}")))
    return ["--mechanism", "affinity", "--out", place / "p.yaml"]


REFUSED: dict[str, tuple[Callable[[Path], list[object]], str]] = {
    "out in no folder": (lambda p: ["--out", p / "none" / "p.yaml"], "--out"),
    "out is a folder": (lambda p: ["--out", p], "--out"),
    "mechanism": (lambda p: ["--out", p / "p.yaml", "--mechanism", "magic"], "magic"),
    "state is a file": (lambda p: ["--out", p / "p.yaml", "--state-dir", p / "queue.yaml"], "--state-dir"),
    "keep is not empty": (lambda p: ["--out", p / "p.yaml", "--keep", p], "not empty"),
    "a job that spins": (spinner, "OMP_WAIT_POLICY=active"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_profile_refuses_changes_nothing(
    place: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Session, "run", never)
    arguments, part = REFUSED[case]
    options = arguments(place)
    before = sorted(place.rglob("*"))
    result = profile(place, *options)
    assert result.exit_code == 2, result.output
    assert part in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert sorted(place.rglob("*")) == before


@pytest.mark.cgroups
@pytest.mark.skipif(not QUOTA.possible, reason=f"needs the right to set CPU quotas: {QUOTA.reason}")
def test_a_profile_holds_both_speeds_of_a_kind(place: Path) -> None:
    busy = "import time\nwhile time.process_time() < 0.25: pass"
    (place / "queue.yaml").write_text(
        queue_text(job(command=f'["{sys.executable}", "-c", {busy!r}]'.replace("'", '"')))
    )
    result = profile(place, "--out", place / "p.yaml", "--runs", "1")
    assert result.exit_code == 0, result.output
    (measured,) = load_profiles(place / "p.yaml").value
    slow, fast = measured.points
    assert (slow.cores, fast.cores) == (0.4, 1.0)
    assert slow.wall > fast.wall > 0
    assert fast.cpu_time >= 0.2
    assert list((place / "scratch").iterdir()) == []
