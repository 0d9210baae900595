"""`python -m bench`: every benchmark, quickly; `python -m bench NAME [--quick] ...`: one of them."""

import importlib
import sys

NAMES = (
    "decision",
    "simulator",
    "dead_time",
    "knob",
    "overhead",
    "simulated_policies",
    "policies",
    "campaign",
)


def main(words: list[str]) -> int:
    """Run what was named; 2 for a name that is none."""
    if words and words[0] not in NAMES:
        print(
            f"python -m bench: {words[0]} is not a benchmark; choose one of {', '.join(NAMES)}",
            file=sys.stderr,
        )
        return 2
    for name in words[:1] or NAMES:
        module = importlib.import_module(f"bench.{name}")
        module.main(words[1:] if words else ["--quick"])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
