"""Thread pools of jobs whose cores change while they run.

A pool that spins while it waits, made on two CPUs and then confined to one, was seen to take more than
30 times as long: each waiting thread burns the slice that the working one needs. Quotas do not trigger
this, sets of CPUs do. So jobs wait passively, with as many threads as their sprint has cores, unless their
own environment says otherwise.
"""

import math
from collections.abc import Mapping

COUNTS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "RAYON_NUM_THREADS",
)
_WAIT = "OMP_WAIT_POLICY"


def thread_environment(sprint_cores: float, environment: Mapping[str, str]) -> Mapping[str, str]:
    """What to add to a job's `environment`: passive waiting, and threads for its sprint. Never overrides."""
    threads = str(max(1, math.ceil(sprint_cores)))
    defaults = {_WAIT: "PASSIVE"} | dict.fromkeys(COUNTS, threads)
    return {name: value for name, value in defaults.items() if name not in environment}


def spin_risk(environment: Mapping[str, str]) -> str | None:
    """Why a job with this whole environment must not be moved between sets of CPUs; None: it may."""
    policy = environment.get(_WAIT, "")
    if policy.strip().upper() != "PASSIVE":
        said = f"{_WAIT}={policy}" if policy else f"{_WAIT} is not set"
        return (
            f"{said}: waiting threads would spin and starve the working one on fewer CPUs; set it to PASSIVE"
        )
    for name in ("GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        value = environment.get(name, "0").strip()
        if value not in ("0", "0ms"):
            return f"{name}={value}: waiting threads would spin on fewer CPUs; set it to 0, or remove it"
    return None
