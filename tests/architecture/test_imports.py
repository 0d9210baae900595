"""What an import of ours may do: nothing but load code. And who may know whom."""

import json
import operator as standard_operator
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "operator"
PACKAGE = SOURCE / "kubesprint"
MODULES = sorted(
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
)


def _python(code: str, *arguments: str, cwd: Path = ROOT) -> str:
    """What a fresh interpreter prints; it finds the package as it was installed."""
    command = [sys.executable, "-c", code, *arguments]
    run = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_the_source_root_is_not_a_package() -> None:
    """With an __init__.py it would hide Python's own `operator`, and the interpreter would not start."""
    assert SOURCE.is_dir()
    assert not (SOURCE / "__init__.py").exists()


def test_import_operator_from_the_root_is_the_standard_one() -> None:
    assert hasattr(standard_operator, "itemgetter")
    file = _python("import operator; print(operator.__file__); operator.itemgetter(0)").strip()
    assert not Path(file).is_relative_to(ROOT / "operator")
    assert file.endswith("operator.py")


def test_nothing_on_the_source_root_hides_a_module_of_python() -> None:
    """Below a package a familiar name hides nothing; on a source root it would."""
    for root in (SOURCE, ROOT / "tests", ROOT / "bench", ROOT / "scripts"):
        ours = {path.stem for path in root.glob("*.py")} | {
            path.parent.name for path in root.glob("*/__init__.py")
        }
        assert not ours & sys.stdlib_module_names, f"{root} hides {ours & sys.stdlib_module_names}"


_WATCH = """
import importlib, importlib.util, json, os, sys

TOUCHES = ("open", "os.listdir", "os.scandir", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.chmod",
           "os.putenv", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.kill",
           "subprocess.Popen", "socket.", "shutil.", "tempfile.", "fcntl.", "glob.", "urllib.", "sqlite3.",
           "ctypes.dlopen", "signal.", "syslog.")
LOOKS_FOR_PLUGINS = os.path.join("pydantic", "plugin", "_loader.py")  # of its own, at the first model
package = sys.argv[1]
prefix = os.path.join(package, "")
touched, watching = [], False

def code(frame):
    return frame.f_code.co_filename

def ours(frame):
    '''Whether a module of ours did it by itself, and not a module that it was importing.'''
    while frame is not None:
        if code(frame).startswith(prefix):
            return True
        if "importlib._bootstrap" in code(frame) or code(frame).endswith(LOOKS_FOR_PLUGINS):
            return False  # importing: that is allowed, and what is imported answers for itself
        frame = frame.f_back
    return False

def watch(event, arguments):
    if watching and event.startswith(TOUCHES) and ours(sys._getframe(1)):
        touched.append([event, repr(arguments)[:200]])

sys.addaudithook(watch)
watching = True
for name in sys.argv[2:]:
    importlib.import_module(name)
watching = False
print(json.dumps(touched))
"""


def test_importing_any_module_touches_neither_network_nor_disk_nor_other_processes() -> None:
    assert len(MODULES) > 80
    assert json.loads(_python(_WATCH, str(PACKAGE), *MODULES)) == []


@pytest.mark.parametrize(
    "deed",
    [
        "open('/etc/hostname')",
        "import socket; socket.socket()",
        "import subprocess; subprocess.run(['true'])",
        "import os; os.listdir('/')",
        "from pathlib import Path; Path('/etc/hostname').read_text()",
        "import tempfile; tempfile.TemporaryFile()",
    ],
)
def test_the_watch_on_imports_sees_what_a_module_does(tmp_path: Path, deed: str) -> None:
    """The test above would pass for ever if it could not fail."""
    (tmp_path / "mischief.py").write_text(deed + "\n", encoding="utf-8")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{_WATCH}"
    assert json.loads(_python(code, str(tmp_path), "mischief")) != []


def test_every_module_can_be_imported_on_its_own() -> None:
    """None relies on somebody else having been imported before it (one process for each would be slow)."""
    code = """
import importlib, sys
for name in sys.argv[1:]:
    for loaded in [m for m in sys.modules if m.split(".")[0] == "kubesprint"]:
        del sys.modules[loaded]
    importlib.import_module(name)
print("all")
"""
    assert _python(code, *MODULES).strip() == "all"


def test_layers_are_kept() -> None:
    """The contracts are in pyproject.toml."""
    lint = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run(
        [lint, "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"PYTHONPATH": str(SOURCE), "PATH": "/usr/bin:/bin"},
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "0 broken" in run.stdout


_LOADED = """
import importlib, json, sys
before = set(sys.modules)
importlib.import_module(sys.argv[1])
print(json.dumps(sorted({name.split(".")[0] for name in set(sys.modules) - before})))
"""


def _loaded(module: str) -> set[str]:
    return set(json.loads(_python(_LOADED, module))) - sys.stdlib_module_names - {"kubesprint"}


def test_the_keeper_loads_no_third_party_package() -> None:
    assert _loaded("kubesprint.apps.keeper") == set()


@pytest.mark.parametrize(
    "module", [name for name in MODULES if name.startswith(("kubesprint.core", "kubesprint.engine"))]
)
def test_the_core_and_the_engine_load_no_third_party_package(module: str) -> None:
    assert _loaded(module) == set()


def test_a_third_party_package_would_be_seen() -> None:
    assert "pydantic" in _loaded("kubesprint.adapters.wire.policies")


def test_the_program_does_not_load_what_only_the_demo_learns_with() -> None:
    assert not _loaded("kubesprint.apps.cli") & {"numpy", "sklearn", "numba", "kopf", "kubernetes"}
