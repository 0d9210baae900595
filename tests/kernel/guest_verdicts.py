"""What a program of checks said in a guest: run once, read by one test for each check."""

from functools import cache
from pathlib import Path

import pytest

from machines.guest.machine import Guest, GuestError


@cache
def told(guest: Guest, program: Path, timeout: float) -> str:
    """What the program said, by the first test that asks. One without end is not tried again."""
    try:
        return guest.run(program, timeout=timeout).output
    except GuestError as problem:
        return f"{problem.output}\n{problem}"


def expect_ok(output: str, check: str) -> None:
    """Fail with what the check said, unless it went well."""
    if f"ok {check}" not in output.splitlines():
        pytest.fail(output[max(output.find(f"failed {check}"), 0) :], pytrace=False)
