"""Builds the text of documents for tests: a good one, with single sections replaced or left out."""

HEAD = "apiVersion: kubesprint.dev/v1alpha1\nkind: {kind}\n"

SECTIONS = {
    "mode": "mode: Enforce",
    "objective": "objective: {responseTime: {statistic: Mean}}",
    "base": "base: {cpu: 400m}",
    "sprint": 'sprint: {cpu: "1"}',
    "budget": "budget: {capacityCoreSeconds: 600, refillCores: 50m}",
}


def policy_text(**sections: str | None) -> str:
    """A SprintPolicy; a section of None is left out, any other text takes its place."""
    lines = [line for line in {**SECTIONS, **sections}.values() if line is not None]
    return HEAD.format(kind="SprintPolicy") + "spec:\n" + "".join(f"  {line}\n" for line in lines)


def queue_text(*jobs: str, slots: str | None = "slots: 1") -> str:
    """A JobQueue of jobs in flow style: `name: a, kind: k, command: ["true"]`."""
    lines = "".join(f"- {{{job}}}\n" for job in jobs)
    return HEAD.format(kind="JobQueue") + (f"{slots}\n" if slots else "") + f"jobs:\n{lines or '  []'}"


def job(name: str = "a", rest: str = "", command: str = '["true"]') -> str:
    """One good job with extra keys."""
    return f"name: {name}, kind: loop, command: {command}{', ' if rest else ''}{rest}"


def profile_text(points: str, workload: str = "forest", rest: str = "") -> str:
    """A WorkloadProfile with these points in flow style."""
    return HEAD.format(kind="WorkloadProfile") + f"spec: {{workload: {workload}, points: [{points}]}}\n{rest}"
