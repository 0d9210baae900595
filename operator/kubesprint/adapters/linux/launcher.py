"""The launcher: a small process that forks the jobs of a run, so that the engine need not fork itself.

To copy the engine takes milliseconds, and to join a control group ten more: on v1 each join waits for a
grace period of the kernel (`cgroup_threadgroup_rwsem`). So each slot has its next process forked ahead of
time; it leads a session of its own, has joined the slot, and waits on a channel for the command that it is
to become. All that is left to do between two jobs is one message and one exec.

Run by its path, with nothing but the standard library: what is small is copied quickly. It ends when the
engine does, and a process that still waits ends likewise: the other ends of their sockets are closed then.
`parked` is the engine's side.
"""

import gc
import marshal
import os
import signal
import socket
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NoReturn

READY = b"+"
"""Said by a process that waits in its slot. Anything else that it says is a marshalled (errno, text)."""

LARGEST = 1 << 16
"""Bytes of a message to the launcher; commands do not go through it."""

_PYTHON_IGNORES = {signal.SIGPIPE, signal.SIGXFSZ}  # and no job expects it
_ENGINE_HANDLES = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM}  # whoever ends a run tells the engine


def enter(procs: Iterable[str], cpus: Iterable[int] | None) -> None:
    """Put the calling process into the groups of these `cgroup.procs` files, and onto these CPUs."""
    for path in procs:
        file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(file, b"0")  # 0: the writer
        finally:
            os.close(file)
    if cpus is not None:
        os.sched_setaffinity(0, cpus)


def serve(control: socket.socket) -> None:
    """Fork processes that wait, and collect those that have ended, until the engine is gone.

    Takes ("park", procs, cpus) with the process' end of its channel, answers its id; takes ("reap", pid),
    answers the wait status and the CPU seconds of the process and its reaped children.
    """
    while True:
        message, files, _, _ = socket.recv_fds(control, LARGEST, 1)
        if not message:
            return
        what, *details = marshal.loads(message)  # noqa: S302  from the engine that started us
        if what == "park":
            pid = os.fork()
            if pid == 0:
                _wait_for_a_command(socket.socket(fileno=files[0]), *details)
            os.close(files[0])
            control.sendall(marshal.dumps(pid))
        else:
            control.sendall(marshal.dumps(_reap(*details)))


def _reap(pid: int) -> tuple[int, float] | None:
    try:
        _, status, usage = os.wait4(pid, 0)
    except ChildProcessError:
        return None
    return status, usage.ru_utime + usage.ru_stime


def _wait_for_a_command(channel: socket.socket, procs: Sequence[str], cpus: Sequence[int] | None) -> NoReturn:
    """What the fork does. It never returns to the launcher's loop."""
    try:
        gc.disable()
        os.setsid()
        channel.set_inheritable(False)  # that it closes tells the engine of the exec
        for number in _PYTHON_IGNORES | _ENGINE_HANDLES:
            signal.signal(number, signal.SIG_DFL)
        os.closerange(3, channel.fileno())
        os.closerange(channel.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
        enter(procs, cpus)
        channel.sendall(READY)
        command, env, workdir = _receive(channel)
        os.chdir(workdir)
        os.execvpe(command[0], command, env)  # noqa: S606  a shell is not wanted
    except OSError as error:
        with suppress(OSError):
            channel.sendall(marshal.dumps((error.errno or 0, str(error))))
    finally:
        os._exit(127)


def _receive(channel: socket.socket) -> tuple[list[str], dict[str, str], str]:
    """The command to become. There is none if the engine has ended, and then this process ends too."""
    order, files, _, _ = socket.recv_fds(channel, 1, 1)
    if not order:
        os._exit(0)
    order += b"".join(iter(lambda: channel.recv(LARGEST), b""))
    for standard in (1, 2):
        os.dup2(files[0], standard)
    os.close(files[0])
    command, env, workdir = marshal.loads(order)  # noqa: S302  from the engine
    return command, env, workdir


if __name__ == "__main__":
    for ignored in _ENGINE_HANDLES:
        signal.signal(ignored, signal.SIG_IGN)
    serve(socket.socket(fileno=int(sys.argv[1])))
