"""Every mistake gets one line that names the file, the line, the key, the value and what is allowed."""

from pathlib import Path

import pytest

from document_texts import HEAD, job, policy_text, profile_text, queue_text
from kubesprint.apps.documents import load_policy, load_profiles, load_queue
from kubesprint.core.errors import Refused

POINT = "cpu: 400m, runs: 3, wall: 301s, cpuTime: 120s"
OURS = "apiVersion: kubesprint.dev/v1alpha1\n"

# (text, the key that the first line names, what else that line says)
BAD_POLICIES = [
    ("kind: SprintPolicy\nspec: {}\n", "apiVersion", "required; write apiVersion: kubesprint.dev/v1alpha1"),
    ("apiVersion: v1\nkind: SprintPolicy\n", "apiVersion", '"v1" is not kubesprint.dev/v1alpha1'),
    (OURS + "spec: {}\n", "kind", "required; write kind: SprintPolicy"),
    (OURS + "kind: JobQueue\n", "kind", '"JobQueue" is not SprintPolicy'),
    (OURS + "kind: sprintpolicy\n", "kind", '"sprintpolicy" is not SprintPolicy'),
    (OURS + "kind: SprintPolicy\n", "spec", "required"),
    (OURS + "kind: SprintPolicy\nspec: 3\n", "spec", "3 is not a mapping with keys from mode, paused"),
    (policy_text() + "extra: 1\n", "extra", "unknown key; write one of apiVersion, kind"),
    (policy_text(x="objektive: {}"), "spec.objektive", "unknown key; did you mean objective?"),
    (policy_text(x="resizetimeout: 3s"), "spec.resizetimeout", "did you mean resizeTimeout?"),
    (policy_text(x="resize_timeout: 3s"), "spec.resize_timeout", "did you mean resizeTimeout?"),
    (policy_text(mode="mode: enforce"), "spec.mode", '"enforce" is not one of Observe, Recommend, Enforce'),
    (policy_text(mode="mode: true"), "spec.mode", "true is not one of"),
    (policy_text(x="paused: 'yes'"), "spec.paused", '"yes" is neither true nor false'),
    (policy_text(objective=None), "spec.objective", "required; write for example {responseTime"),
    (policy_text(objective="objective: {}"), "spec.objective", "neither is given"),
    (
        policy_text(objective="objective: {responseTime: {}, deadline: {after: 5m}}"),
        "spec.objective",
        "exactly one of responseTime and deadline; both",
    ),
    (
        policy_text(objective="objective: {responseTime: {statistic: p95}}"),
        "spec.objective.responseTime.statistic",
        '"p95" is not one of Mean, P50, P95, P99; did you mean P95?',
    ),
    (policy_text(objective="objective: {deadline: {}}"), "spec.objective.deadline.after", "required"),
    (
        policy_text(objective="objective: {deadline: {after: 0s}}"),
        "spec.objective.deadline.after",
        "not above 0",
    ),
    (policy_text(base=None), "spec.base", "required in a file; write for example {cpu: 400m}"),
    (policy_text(base="base: {}"), "spec.base.cpu", "required; write for example 400m"),
    (policy_text(base="base: {cpu: fast}"), "spec.base.cpu", '"fast" is not a CPU quantity'),
    (policy_text(base="base: {cpu: 0}"), "spec.base.cpu", "0 is not above 0"),
    (policy_text(base="base: {cpu: -400m}"), "spec.base.cpu", '"-400m" is negative'),
    (policy_text(base="base: {cpu: 400Mi}"), "spec.base.cpu", '"400Mi" is not a CPU quantity'),
    (policy_text(base="base: {cpu: .nan}"), "spec.base.cpu", ".nan is not a finite number"),
    (policy_text(base="base: {cpu: -.inf}"), "spec.base.cpu", "-.inf is not a finite number"),
    (policy_text(base="base: {cpu: true}"), "spec.base.cpu", "true is not a CPU quantity"),
    (policy_text(base="base: {cpu: 2x}"), "spec.base.cpu", '"2x" is not a CPU quantity'),
    (policy_text(base="base: {cpu: 1e9}"), "spec.base.cpu", '"1e9" is not a CPU quantity'),
    (policy_text(base="base: {cpu: 100000000}"), "spec.base.cpu", "more cores than any machine"),
    (policy_text(sprint=None), "spec.sprint", "required"),
    (policy_text(sprint="sprint: {cpu: 300m}"), "spec.sprint.cpu", "300m is slower than spec.base.cpu 400m"),
    (policy_text(sprint="sprint: {cpu: 0.5x}"), "spec.sprint.cpu", "0.5x is slower than spec.base.cpu 400m"),
    (policy_text(sprint="sprint: {cpu: x2}"), "spec.sprint.cpu", "neither a CPU quantity nor a multiple"),
    (policy_text(sprint="sprint: {cpu: -2x}"), "spec.sprint.cpu", '"-2x" is negative'),
    (policy_text(sprint="sprint: {cpu: 1, resize: Both}"), "spec.sprint.resize", "LimitAndRequest"),
    (
        policy_text(sprint="sprint: {cpu: 1, clock: {maximum: 120%}}"),
        "spec.sprint.clock.maximum",
        "is not a clock; write Base, Turbo",
    ),
    (policy_text(base="base: {cpu: 400m, clock: 1800MHz}"), "spec.base.clock", "spec.sprint.clock beside it"),
    (policy_text(sprint="sprint: {cpu: 1, clock: {maximum: 2400}}"), "spec.sprint.clock.maximum", "2400MHz"),
    (policy_text(sprint="sprint: {cpu: 1, clock: {}}"), "spec.sprint.clock.maximum", "for example Turbo"),
    (policy_text(x="trigger: {after: 90}"), "spec.trigger.after", "90 has no unit; add a unit: 90s"),
    (policy_text(x="trigger: {after: auto}"), "spec.trigger.after", "neither Auto, Never nor a duration"),
    (policy_text(x="trigger: {after: -5s}"), "spec.trigger.after", '"-5s" is negative'),
    (policy_text(x="trigger: {after: 1d}"), "spec.trigger.after", "write hours, for example 24h"),
    (policy_text(x="trigger: {clock: End}"), "spec.trigger.clock", "not one of Arrival, Start"),
    (policy_text(budget=None), "spec.budget", "required with mode Enforce"),
    (policy_text(budget="budget: {}"), "spec.budget.capacityCoreSeconds", "required; write for example 600"),
    (
        policy_text(budget="budget: {capacityCoreSeconds: 0}"),
        "spec.budget.capacityCoreSeconds",
        "0 allows no sprint, and mode is Enforce",
    ),
    (
        policy_text(budget="budget: {capacityCoreSeconds: -1}"),
        "spec.budget.capacityCoreSeconds",
        "-1 is negative; write a number of 0 or more",
    ),
    (
        policy_text(budget="budget: {capacityCoreSeconds: 600s}"),
        "spec.budget.capacityCoreSeconds",
        '"600s" is not a number',
    ),
    (
        policy_text(budget="budget: {capacityCoreSeconds: nan}"),
        "spec.budget.capacityCoreSeconds",
        '"nan" is not a number',
    ),
    (
        policy_text(budget="budget: {capacityCoreSeconds: 600, refillCores: fast}"),
        "spec.budget.refillCores",
        '"fast" is not a CPU quantity; write for example 50m or 0.05',
    ),
    (
        policy_text(budget="budget: {capacityCoreSeconds: 600, refilCores: 50m}"),
        "spec.budget.refilCores",
        "unknown key; did you mean refillCores?",
    ),
    (
        policy_text(budget="budget: {capacityCoreSeconds: 600, hysteresis: 0s}"),
        "spec.budget.hysteresis",
        '"0s" is not above 0; write for example 200ms',
    ),
    (
        policy_text(budget="budget: {capacityCoreSeconds: 600, whileSprinting: paused}"),
        "spec.budget.whileSprinting",
        "did you mean Paused?",
    ),
    (policy_text(x="concurrency: 0"), "spec.concurrency", "neither Auto nor a whole number of 1 or more"),
    (policy_text(x="concurrency: 1.5"), "spec.concurrency", "1.5 is neither Auto"),
    (policy_text(x="concurrency: true"), "spec.concurrency", "true is neither Auto"),
    (policy_text(x="lease: 30"), "spec.lease", "add a unit: 30s"),
    (policy_text(x="lease: 0"), "spec.lease", "not above 0"),
    (policy_text(x="selector: {app: train}"), "spec.selector.app", "unknown key; write one of matchLabels"),
    (
        policy_text(x="selector: {matchLabels: {app: 3}}"),
        "spec.selector.matchLabels.app",
        '3 is not text; quote it: "3"',
    ),
    (policy_text(x="selector: {matchLabels: [app]}"), "spec.selector.matchLabels", "is not a mapping"),
    (policy_text(x="workload: a/b"), "spec.workload", '"a/b" is not a name'),
    (policy_text(x="base: {cpu: 1}"), "spec.base", "written twice, on lines 6 and 9"),
]

BAD_QUEUES = [
    (queue_text(), "jobs", "empty; write at least one job"),
    (HEAD.format(kind="JobQueue") + "slots: 1\n", "jobs", "required"),
    (HEAD.format(kind="JobQueue") + "slots: 1\njobs: 3\n", "jobs", "3 is not a list"),
    (HEAD.format(kind="Queue") + "slots: 1\n", "kind", '"Queue" is not JobQueue'),
    (queue_text(job(), slots=None), "slots", "required; write for example 1"),
    (queue_text(job(), slots="slots: 0"), "slots", "0 is too small; at least 1"),
    (queue_text(job(), slots="slots: 9999"), "slots", "9999 is too large; at most 1024"),
    (queue_text(job(), slots="slots: '2'"), "slots", '"2" is not a whole number'),
    (queue_text(job(), slots="slots: true"), "slots", "true is not a whole number"),
    (queue_text(job(), slots="slot: 1\nslots: 1"), "slot", "did you mean slots?"),
    (queue_text("kind: k, command: [x]"), "jobs[0].name", "required"),
    (queue_text("name: a, command: [x]"), "jobs[0].kind", "required; write for example forest"),
    (queue_text("name: a, kind: k"), "jobs[0].command", "required; write for example [python3, train.py]"),
    (queue_text(job("../a")), "jobs[0].name", '"../a" is not a name; use 1 to 63'),
    (queue_text(job("a b")), "jobs[0].name", "is not a name"),
    (queue_text(job("12")), "jobs[0].name", 'if it is meant as one, quote it: "12"'),
    (queue_text(job("a" * 64)), "jobs[0].name", "is not a name"),
    (queue_text(job(), job()), "jobs[1].name", '"a" is also the name of jobs[0]'),
    (queue_text(job("a-1"), job("a", "count: 2")), "jobs[1].name", '"a-1" (a copy of "a") is also the name'),
    (queue_text(job(command="[]")), "jobs[0].command", "empty; at least 1"),
    (queue_text(job(command="[3]")), "jobs[0].command[0]", '3 is not text; quote it: "3"'),
    (queue_text(job(command="python3 train.py")), "jobs[0].command", "is not a list; write for example ["),
    (queue_text(job(command="['']")), "jobs[0].command[0]", "the command is empty"),
    (queue_text(job(command="[no-such-program]")), "jobs[0].command[0]", '"no-such-program" not found on'),
    (queue_text(job(command="[./none]")), "jobs[0].command[0]", 'job "a": command "./none" not found: there'),
    (queue_text(job(command='["a\\0b"]')), "jobs[0].command[0]", "holds a NUL character"),
    (
        queue_text(job(rest="env: {PATH: /nowhere}")),
        "jobs[0].command[0]",
        "not found on PATH; write",
    ),
    (queue_text(job(rest="env: {A: 1}")), "jobs[0].env.A", '1 is not text; quote it: "1"'),
    (queue_text(job(rest="env: {A: yes}")), "jobs[0].env.A", "true is not text"),
    (queue_text(job(rest="env: {A=B: c}")), "jobs[0].env.A=B", "not the name of an environment variable"),
    (queue_text(job(rest="arrival: 5")), "jobs[0].arrival", "5 has no unit; add a unit: 5s"),
    (queue_text(job(rest="arrival: -5s")), "jobs[0].arrival", '"-5s" is negative'),
    (queue_text(job(rest="arrival: .inf")), "jobs[0].arrival", ".inf is not a finite number"),
    (queue_text(job(rest="arrival: 1h30")), "jobs[0].arrival", '"1h30" is not a duration'),
    (queue_text(job(rest="arrival: 9999999h")), "jobs[0].arrival", "longer than the longest duration"),
    (queue_text(job(rest="deadline: 0s")), "jobs[0].deadline", "is not above 0"),
    (queue_text(job(rest="deadline: soon")), "jobs[0].deadline", '"soon" is not a duration'),
    (queue_text(job(rest="count: 0")), "jobs[0].count", "0 is too small"),
    (queue_text(job(rest="count: 20000")), "jobs[0].count", "at most 10000"),
    (queue_text(job("a", "count: 9000"), job("b", "count: 9000")), "jobs", "18000 jobs, copies counted"),
    (queue_text(job(rest="every: 2s")), "jobs[0].every", "needs count"),
    (queue_text(job(rest="workdir: no/such/folder")), "jobs[0].workdir", "no/such/folder is not a folder"),
    (queue_text(job(rest="labels: {a: null}")), "jobs[0].labels.a", "null is not text"),
    (queue_text(job(rest="dedline: 5s")), "jobs[0].dedline", "unknown key; did you mean deadline?"),
    (queue_text(job(), job("b", "shell: true")), "jobs[1].shell", "unknown key; "),
    (queue_text("name: a, on: b"), "jobs[0].on", 'the key on is not text; quote it: "on"'),
]

BAD_PROFILES = [
    (HEAD.format(kind="WorkloadProfile"), "spec", "required; write for example {workload: forest}"),
    (HEAD.format(kind="WorkloadProfile") + "spec: {points: []}\n", "spec.workload", "required"),
    (profile_text("{cpu: 400m, cpuTime: 1s}"), "spec.points[0].wall", "required; write for example 301s"),
    (
        profile_text(f"{{{POINT}}}, {{{POINT}}}"),
        "spec.points[1]",
        "a second point at cpu 400m and clock Base",
    ),
    (profile_text("{cpu: 400m, wall: 0s, cpuTime: 1s}"), "spec.points[0].wall", "not above 0"),
    (profile_text("{cpu: 400m, wall: 1s, cpuTime: 1}"), "spec.points[0].cpuTime", "add a unit: 1s"),
    (profile_text("{cpu: 400m, wall: 1s, cpuTime: 1s, runs: 0}"), "spec.points[0].runs", "too small"),
    (profile_text("{cpu: 400m, wall: 1s, cputime: 1s}"), "spec.points[0].cputime", "did you mean cpuTime?"),
    (
        profile_text("", rest="status: {speed: {serialShare: 1.5}}\n"),
        "status.speed.serialShare",
        "1.5 is not from 0 to 1",
    ),
    (profile_text("", rest="status: {validRange: {cpu: [1]}}\n"), "status.validRange.cpu", "is not a range"),
    (
        profile_text("", rest="status: {validRange: {cpu: [2, 1]}}\n"),
        "status.validRange",
        "must not be above",
    ),
    (profile_text("", rest="status: {work: {dispersion: -0.1}}\n"), "status.work.dispersion", "negative"),
]

LOADERS = {"policy": load_policy, "queue": load_queue, "profiles": load_profiles}
CASES = [
    *(("policy", *case) for case in BAD_POLICIES),
    *(("queue", *case) for case in BAD_QUEUES),
    *(("profiles", *case) for case in BAD_PROFILES),
]


@pytest.mark.parametrize(("which", "text", "key", "says"), CASES, ids=[f"{c[0]}-{c[2]}" for c in CASES])
def test_a_bad_document_is_refused_with_its_place_and_what_is_allowed(
    which: str, text: str, key: str, says: str, tmp_path: Path
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(Refused) as refusal:
        LOADERS[which](file)
    lines = str(refusal.value).splitlines()
    matching = [line for line in lines if f": {key}: " in line]
    assert matching, lines
    place, _, rest = matching[0].partition(f": {key}: ")
    name, _, number = place.rpartition(":")
    assert name == str(file)
    assert 1 <= int(number) <= text.count("\n")
    assert says in rest
    assert len(rest) <= 250


def test_the_first_line_is_the_first_problem_in_the_file_and_all_are_reported(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(
        policy_text(
            budget="budget: {capacityCoreSeconds: -1}", base="base: {cpu: fast}", mode="moed: Enforce"
        )
    )
    with pytest.raises(Refused) as refusal:
        load_policy(file)
    starts = [line.split(": ")[:2] for line in str(refusal.value).splitlines()]
    assert starts == [
        [f"{file}:4", "spec.moed"],
        [f"{file}:6", "spec.base.cpu"],
        [f"{file}:8", "spec.budget.capacityCoreSeconds"],
    ]


def test_at_most_ten_problems_are_listed_and_the_rest_counted(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(queue_text(*(job(f"j{i}", "arrival: 5") for i in range(14))))
    with pytest.raises(Refused) as refusal:
        load_queue(file)
    lines = str(refusal.value).splitlines()
    assert len(lines) == 11
    assert lines[-1] == f"{file}: and 4 more"
