"""Where the compiled simulator is kept, and what happens where it cannot be."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kubesprint.apps.simulators import PLAIN, fastest_simulators
from kubesprint.core.errors import Unavailable
from kubesprint.learn.simulator.loading import cache_folder, compiled, why_not

LOAD = """
import json, os, sys
from pathlib import Path
before = dict(os.environ)
from kubesprint.learn.simulator.loading import compiled
answer = compiled(Path(sys.argv[1]))
threads = len(os.listdir("/proc/self/task"))
print(json.dumps([answer.was_cached, answer.took, answer.note, threads, before == dict(os.environ)]))
"""


def load(folder: Path, *, blocked: str = "") -> list[Any]:
    """Load it in a process of its own."""
    block = f"import sys\nsys.modules[{blocked!r}] = None\n" if blocked else ""
    run = subprocess.run(
        [sys.executable, "-c", block + LOAD, str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    answer: list[Any] = json.loads(run.stdout)
    return answer


def files(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """A cache folder, and what the process that filled it said."""
    folder = tmp_path_factory.mktemp("first") / "cache"
    return folder, load(folder)


def test_it_is_compiled_once_and_loaded_from_then_on_even_if_nothing_can_be_written(
    first: tuple[Path, list[Any]],
) -> None:
    cache, (was_cached, compiling, note, threads, same_environment) = first
    assert (was_cached, note, threads, same_environment) == (False, None, 1, True)
    kept = files(cache)
    assert kept
    folders = (cache, *(p for p in cache.rglob("*") if p.is_dir()))
    for folder in folders:
        folder.chmod(0o500)
    was_cached, loading, note, threads, same_environment = load(cache)
    for folder in folders:
        folder.chmod(0o700)
    assert (was_cached, note, threads, same_environment) == (True, None, 1, True)
    assert loading < compiling
    assert files(cache) == kept


def test_a_broken_cache_is_compiled_over(first: tuple[Path, list[Any]], tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(first[0], broken)
    for file in broken.rglob("*.nb?"):
        file.write_bytes(b"broken")
    assert load(broken)[0] is False
    assert load(broken)[0] is True


def test_compiled_code_is_not_taken_from_where_others_can_write(tmp_path: Path) -> None:
    assert why_not(tmp_path, os.geteuid()) is None
    assert why_not(tmp_path, os.geteuid() + 1) in (None, f"{tmp_path} belongs to another user")
    tmp_path.chmod(0o777)
    assert why_not(tmp_path, os.geteuid()) == f"{tmp_path} can be written by others"


def test_a_folder_of_another_user_is_not_trusted(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    os.chown(tmp_path, 12345, 12345)
    assert why_not(tmp_path, 0) == f"{tmp_path} belongs to another user"


def test_a_cache_that_cannot_be_made_is_said_and_done_without(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    answer = compiled(file / "cache")
    assert answer.cache is None
    assert answer.note is not None
    assert str(file) in answer.note


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "/home/me/.cache/kubesprint"),
        ({"XDG_CACHE_HOME": "/var/cache/me"}, "/var/cache/me/kubesprint"),
        ({"XDG_CACHE_HOME": "relative"}, "/home/me/.cache/kubesprint"),
        ({"KUBESPRINT_CACHE_DIR": "/given", "XDG_CACHE_HOME": "/var"}, "/given"),
    ],
)
def test_the_cache_is_below_the_users_or_where_it_is_given(
    environment: dict[str, str], expected: str
) -> None:
    assert cache_folder(environment, Path("/home/me")) == Path(expected)


def test_without_the_compiler_the_plain_path_works_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("kubesprint.learn.simulator.compiler", "kubesprint.learn.simulator"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(Unavailable, match=r"extra `learn` \(pip install 'kubesprint\[learn\]'\)"):
        compiled(Path("/nonexistent"))
    chosen = fastest_simulators()
    assert not chosen.compiled
    assert chosen.evaluator is PLAIN.evaluator
    assert "extra `learn`" in chosen.reason
