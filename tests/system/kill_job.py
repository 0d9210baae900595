"""A job of the kill proof: burns CPU time, alone, with a child, or leaving a daemon behind.

Usage: kill_job.py NAME DIARY plain|child|daemon CPU_SECONDS
Every process of it appends `EVENT NAME PID` to DIARY: `start` (the job), `began` (a further process), `end`.
A process without `end` that is gone was killed.
"""

import os
import sys
import time

LINGER = 6.0  # seconds that a daemon stays, doing nothing, unless somebody ends it


def say(event: str) -> None:
    """One line, whole."""
    diary = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(diary, f"{event} {sys.argv[1]} {os.getpid()}\n".encode())
    os.close(diary)


def burn(seconds: float) -> None:
    """Use so much CPU time of this process."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def child(seconds: float) -> int:
    """A second process at work; its pid."""
    pid = os.fork()
    if pid == 0:
        say("began")
        burn(seconds)
        say("end")
        os._exit(0)
    return pid


def daemon() -> None:
    """A process that is no child of the job, in a session of its own."""
    first = os.fork()
    if first:
        os.waitpid(first, 0)
        return
    os.setsid()
    if os.fork() == 0:
        say("began")
        time.sleep(LINGER)
        say("end")
    os._exit(0)


def main() -> None:
    say("start")
    kind, seconds = sys.argv[3], float(sys.argv[4])
    if kind == "daemon":
        daemon()
    other = child(seconds / 2) if kind == "child" else None
    burn(seconds / 2 if kind == "child" else seconds)
    if other is not None:
        os.waitpid(other, 0)
    say("end")


if __name__ == "__main__":
    main()
