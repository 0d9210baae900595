"""Runs the checks of a program inside a guest, and says of each how it went; stdlib only."""

import traceback
from collections.abc import Callable, Sequence


def run_checks(checks: Sequence[Callable[[], object]]) -> int:
    """Every check, whatever became of those before; 1 if one failed."""
    failed = 0
    for check in checks:
        try:
            check()
            print(f"ok {check.__name__}", flush=True)
        except Exception:
            print(f"failed {check.__name__}\n{traceback.format_exc()}", flush=True)
            failed = 1
    return failed
