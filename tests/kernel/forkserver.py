"""Start kubesprint many times in one guest while importing it once.

Under emulation the imports of the command line cost seconds, a fork costs milliseconds. A program in the
guest calls `warm` once and `launch` for every run; each run is a process and a session of its own:

    program = warm()
    pid = launch(program, ["run", "queue.yaml", "--out", "/tmp/out"], output=Path("/results/log"))
    os.kill(pid, signal.SIGKILL)
    status = ended(pid, timeout=20)

From a shell: python3 forkserver.py restore --state-dir /tmp/state
"""

import gc
import importlib
import os
import pkgutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Program = Callable[[], object]
NOT_IN_THE_GUEST = {"numba", "numpy", "sklearn"}  # the `learn` extra: what needs it is left out here
PROGRAM = "kubesprint.__main__"


def warm() -> Program:
    """Import every module of kubesprint that this machine can; the command line's entry point."""
    package = importlib.import_module("kubesprint")
    for module in pkgutil.walk_packages(package.__path__, "kubesprint."):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as problem:
            if (problem.name or "").split(".")[0] not in NOT_IN_THE_GUEST:
                raise
    gc.collect()
    gc.freeze()  # children never copy the pages of what was imported just to count it
    main: Program = importlib.import_module(PROGRAM).main
    return main


def launch(
    program: Program,
    arguments: Sequence[str],
    *,
    output: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Run `program` in a child that leads its own session; its pid.

    stdout and stderr are appended to `output` (None: the parent's); `environment` is added to the parent's.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            _detach(output)
            os.environ.update(environment or {})
            sys.argv = ["kubesprint", *arguments]
            status = _status(program)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)  # never back into the parent's code
    return pid


def ended(pid: int, *, timeout: float) -> int:
    """Wait for a child and give its exit status, or minus the signal that killed it. Raises TimeoutError."""
    deadline = time.monotonic() + timeout
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {pid} still runs after {timeout} s")
        time.sleep(0.01)


def _detach(output: Path | None) -> None:
    """A session, signals and standard streams as a freshly started program has them."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if output is not None:
        log = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode) for number, mode in enumerate("rww"))


def _status(program: Program) -> int:
    """Run the program; its exit status by the rules of the interpreter."""
    try:
        answer = program()
    except SystemExit as problem:
        answer = problem.code
    if answer is None or isinstance(answer, int):
        return answer or 0
    print(answer, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(ended(launch(warm(), sys.argv[1:]), timeout=600))
