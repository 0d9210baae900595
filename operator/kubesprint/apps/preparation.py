"""What a run is made of, checked before anything exists: options, documents, machine, folders."""

import filecmp
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kubesprint.adapters.files.specs import place_job
from kubesprint.adapters.files.state import Levels, check_folder, choose_folder
from kubesprint.adapters.linux.hardware import SlotHardware, open_slots
from kubesprint.adapters.linux.plan import MECHANISMS
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.adapters.linux.threads import spin_risk
from kubesprint.adapters.system import SystemClock
from kubesprint.adapters.wire.quantities import parse_duration
from kubesprint.apps import run_folder
from kubesprint.apps.clocks import base_clock_only, choose_clocks
from kubesprint.apps.delegation import enter_scope
from kubesprint.apps.documents import load_policy, load_profiles, load_queue, selector_warnings
from kubesprint.apps.live_model import LiveModel, load_live_model
from kubesprint.apps.local_jobs import job_environment
from kubesprint.apps.session import Request
from kubesprint.apps.simulators import PLAIN, fastest_simulators
from kubesprint.apps.wiring import kind_models, strategy_for
from kubesprint.core.allocation import Allocation
from kubesprint.core.budget import Bucket, Budget
from kubesprint.core.errors import Refused
from kubesprint.core.spec import Invalid, JobSpec, Mode, Policy, QueueSpec, Statistic
from kubesprint.core.units import Cores, CoreSeconds, Seconds

QUEUE_NAME, POLICY_NAME, PROFILES_NAME = "queue.yaml", "policy.yaml", "profiles.yaml"
MODEL_NAME = "grey-box.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line, as typed."""

    words: Sequence[str]
    is_command: bool  # the words stood behind "--"
    policy: Path | None
    out: Path | None
    profile: Path | None = None
    model: Path | None = None
    strategy: str | None = None
    dry_run: bool = False
    resume: bool = False
    mechanism: str = "auto"
    bucket: str = "resume"
    seed: int = 1
    state_dir: Path | None = None
    quiet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A run that may start."""

    options: Options
    request: Request
    out: Path
    state: Path
    clock: SystemClock


def prepare(options: Options) -> Prepared:
    """Check everything that can be checked without changing anything.

    Raises:
        SprintError: some of it is refused; nothing exists that did not exist before.
    """
    run_id = time.strftime("%Y%m%d-%H%M%S-", time.gmtime()) + secrets.token_hex(2)
    options = _located(options)
    out = options.out or Path("out") / f"run-{run_id}"
    if options.resume:
        run_id = str(run_folder.read_origin(out)["run"])
    queue, policy, warnings = _documents(options)
    clock = SystemClock()
    state = choose_folder(options.state_dir, user=os.geteuid(), environment=os.environ, home=Path.home())
    request = _request(options, queue, policy, warnings, run_id, state, clock)
    if not options.resume:
        run_folder.check_new(out)
    if request.hardware is not None:
        check_folder(state)
    return Prepared(options=options, request=request, out=out, state=state, clock=clock)


# --- where everything is ----------------------------------------------------------------------------


def _located(options: Options) -> Options:
    """Where the queue and the results are, whichever way they were named."""
    if options.resume:
        return _resumed(options)
    if not options.words:
        raise Refused("name a QUEUE.yaml, or a command after --; see kubesprint run --help")
    if len(options.words) > 1 and not options.is_command:
        raise Refused(
            f'one QUEUE.yaml is run, but there is "{options.words[1]}" too; a command goes after --'
        )
    return options


def _resumed(options: Options) -> Options:
    """The same run again: its own documents and choices; others are refused."""
    named = options.out is None and not options.is_command
    if named and len(options.words) > 1:
        raise Refused(f'--resume: one folder is resumed, but there is "{options.words[1]}" too')
    out = options.out or (Path(options.words[0]) if named and options.words else None)
    if out is None:
        raise Refused("--resume: name the folder of the run, as in kubesprint run --resume DIR")
    origin = run_folder.read_origin(out)
    command = origin.get("command")
    if options.is_command and list(options.words) != command:
        raise Refused(f"--resume: {out} is not a run of that command; start it in another --out")
    inputs = out / run_folder.INPUTS
    if not named and not options.is_command and options.words:
        _same(Path(options.words[0]), inputs / QUEUE_NAME, "queue")
    for given, name, word in (
        (options.policy, POLICY_NAME, "--policy"),
        (options.profile, PROFILES_NAME, "--profile"),
        (options.model, MODEL_NAME, "--model"),
    ):
        if given is not None:
            _same(given, inputs / name, word)
    strategy = origin.get("strategy")
    if options.strategy not in (None, strategy):
        raise Refused(
            f'--strategy: "{options.strategy}", but the run in {out} was started with '
            f"{'that of its policy' if strategy is None else strategy}; leave it out"
        )
    return replace(
        options,
        out=out,
        words=[str(word) for word in command] if isinstance(command, list) else [str(inputs / QUEUE_NAME)],
        is_command=isinstance(command, list),
        policy=_if_file(inputs / POLICY_NAME),
        profile=_if_file(inputs / PROFILES_NAME),
        model=_if_file(inputs / MODEL_NAME),
        strategy=None if strategy is None else str(strategy),
        mechanism=str(origin.get("mechanism", "auto")),
    )


def _if_file(path: Path) -> Path | None:
    return path if path.is_file() else None


def _same(given: Path, kept: Path, word: str) -> None:
    """A resumed run goes on with the documents it was started with."""
    if not given.is_file():
        raise Refused(f"{given}: no such file")
    if not kept.is_file() or not filecmp.cmp(given, kept, shallow=False):
        raise Refused(
            f"--resume: {word} {given} is not what the run was started with ({kept}); "
            "leave it out, or start a new run in another --out"
        )


# --- documents --------------------------------------------------------------------------------------


def _documents(options: Options) -> tuple[QueueSpec, Policy, tuple[str, ...]]:
    """Queue and policy, and what their writers should know."""
    warnings: tuple[str, ...] = ()
    if options.is_command:
        queue = QueueSpec(slots=1, jobs=(_single_job(options),))
    else:
        loaded = load_queue(Path(options.words[0]), folder=_origin_folder(options))
        queue, warnings = loaded.value, loaded.warnings
    if options.policy is None:
        return queue, _observing(), warnings
    policy = load_policy(options.policy)
    labels = policy.value.selector
    if options.is_command:  # the policy was named for this very job
        queue = replace(queue, jobs=tuple(replace(job, labels=labels) for job in queue.jobs))
    return queue, policy.value, (*warnings, *policy.warnings, *selector_warnings(policy.value, queue))


def _origin_folder(options: Options) -> Path | None:
    """Relative working folders of a resumed run count from where it was started."""
    if not options.resume or options.out is None:
        return None
    return Path(str(run_folder.read_origin(options.out)["queue_folder"]))


def _single_job(options: Options) -> JobSpec:
    """The command behind `--`, found; its name is that of its program."""
    folder = _origin_folder(options) or Path.cwd()
    name = "".join(c if c.isalnum() and c.isascii() else "-" for c in Path(options.words[0]).name).strip("-")
    job = JobSpec(name=name or "job", kind=name or "job", command=tuple(options.words), workdir=str(folder))
    try:
        return place_job(job, folder, os.environ)
    except Invalid as error:
        raise Refused(f"-- {options.words[0]}: {error.problems[0].message}") from error


def _observing() -> Policy:
    """The default: watch one job a core, change nothing."""
    one = Allocation(Cores(1.0))
    budget = Budget(capacity=CoreSeconds(0.0), refill=Cores(0.0))
    return Policy(name="observe", statistic=Statistic.MEAN, base=one, sprint=one, budget=budget)


# --- the request ------------------------------------------------------------------------------------


def _request(
    options: Options,
    queue: QueueSpec,
    policy: Policy,
    warnings: tuple[str, ...],
    run_id: str,
    state: Path,
    clock: SystemClock,
) -> Request:
    setting = strategy_for(policy, options.strategy, None, options.seed, _timeout)[0]
    hardware = _hardware(options, queue, policy, run_id)
    choice = choose_clocks(PseudoFs(), policy, _cpus(queue, hardware))
    policy, clocks = choice.policy, choice.clocks
    profiles = load_profiles(options.profile) if options.profile is not None else None
    clock_of = clocks.ratio if clocks is not None else base_clock_only
    models = kind_models(profiles.value, policy.base, policy.sprint, clock_of) if profiles else {}
    live = _live_model(options, policy)
    bucket = _starting_bucket(options, policy, state, clock)
    # to compile the simulator may take half a minute: nobody who only looks on should wait for it
    searching = setting == "model-driven" and policy.mode is not Mode.OBSERVE and not options.dry_run
    evaluator = (fastest_simulators() if searching else PLAIN).evaluator
    return Request(
        run=run_id,
        queue=queue,
        policy=policy,
        models=models,
        learned=live.learned,
        setting=setting,
        strategy=lambda forecaster: strategy_for(
            policy, options.strategy, forecaster, options.seed, _timeout, evaluator=evaluator
        )[1],
        bucket=bucket,
        hardware=hardware,
        clocks=clocks,
        seed=options.seed,
        warnings=(*warnings, *choice.warnings, *(profiles.warnings if profiles else ()), *live.warnings),
    )


def _live_model(options: Options, policy: Policy) -> LiveModel:
    """What was learned beyond the profiles, if anything was given."""
    if options.model is None:
        return LiveModel()
    return load_live_model(options.model, policy.base, policy.sprint)


def _cpus(queue: QueueSpec, hardware: SlotHardware | None) -> Mapping[str, frozenset[int]]:
    """The CPUs of each slot's sprints; without slots, jobs run on any CPU of this process."""
    if hardware is not None:
        return {knob: hardware.sprint_cpus(knob) for knob in hardware.knobs()}
    anywhere = frozenset(os.sched_getaffinity(0))
    return {f"slot-{number}": anywhere for number in range(queue.slots)}


def _hardware(options: Options, queue: QueueSpec, policy: Policy, run_id: str) -> SlotHardware | None:
    """The slots of an enforcing run, planned; None where nothing is to be changed."""
    if policy.mode is not Mode.ENFORCE:
        if options.mechanism != "auto":
            _known_mechanism(options.mechanism)
        return None
    if options.resume and options.out is not None:
        run_id = run_folder.part_id(run_id, run_folder.earlier_part(options.out))
    enter_scope(options.mechanism)
    hardware = open_slots(PseudoFs(), run_id, queue.slots, policy.base, policy.sprint, options.mechanism)
    refuse_spinners(queue, policy, hardware.plan.mechanism)
    return hardware


def _known_mechanism(name: str) -> None:
    if name not in MECHANISMS:
        raise Refused(f"mechanism '{name}': one of auto, {', '.join(MECHANISMS)}")


def refuse_spinners(queue: QueueSpec, policy: Policy, mechanism: str) -> None:
    """On fewer CPUs than threads, waiting threads must not spin. Raises `Refused` naming job and variable."""
    if mechanism == "quota" or policy.base.cores >= policy.sprint.cores:
        return
    for job in queue.jobs:
        if not policy.selects(job.labels):
            continue
        trouble = spin_risk(job_environment(job, policy.sprint.cores, "", {}))
        if trouble is not None:
            raise Refused(f'job "{job.name}", env: {trouble}; or use --mechanism quota')


def _timeout(text: str) -> Seconds:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise Refused(f"--strategy timeout: {error}") from error


def _starting_bucket(options: Options, policy: Policy, state: Path, clock: SystemClock) -> Bucket:
    """As last left and refilled since; a policy that never ran here starts full."""
    levels: Mapping[str, CoreSeconds] = {"full": policy.budget.capacity, "empty": CoreSeconds(0.0)}
    if options.bucket in levels:
        return Bucket(budget=policy.budget, level=levels[options.bucket], at=clock.now())
    if options.bucket != "resume":
        raise Refused(f'--bucket: "{options.bucket}" is not a level; choose resume, full or empty')
    saved = Levels(state).load_level(policy.name)
    if saved is None:
        return Bucket(budget=policy.budget, level=policy.budget.capacity, at=clock.now())
    level, when = saved
    refilled = level + policy.budget.refill * max(0.0, time.time() - when)
    return Bucket(
        budget=policy.budget, level=CoreSeconds(min(policy.budget.capacity, refilled)), at=clock.now()
    )
