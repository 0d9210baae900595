"""`kubesprint doctor`: what this machine can do for a sprint, each capability with its reason."""

import json as encoder
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from kubesprint import __version__
from kubesprint.adapters.files.state import choose_folder
from kubesprint.adapters.linux import cgroup, cgroup_v2, counters, cpufreq, plan
from kubesprint.adapters.linux.cgroup import CgroupView
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.core.errors import SprintError
from kubesprint.learn.simulator.loading import cache_folder


@dataclass(frozen=True, slots=True)
class Finding:
    """One capability of this machine."""

    name: str
    possible: bool
    reason: str


def doctor(
    state_dir: Annotated[Path | None, typer.Option(help="The state folder that the run will use.")] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="One JSON object instead of lines.")] = False,
) -> None:
    """Say what this machine can do for a sprint, and why; changes nothing.

    Exit code: 0, whatever is found.

    Example: kubesprint doctor
    """
    findings = list(examine(PseudoFs(), state_dir))
    if json:
        document = {
            "kubesprint": __version__,
            "kernel": platform.release(),
            "python": platform.python_version(),
            "capabilities": [asdict(finding) for finding in findings],
        }
        typer.echo(encoder.dumps(document, indent=2))
        return
    typer.echo(f"kubesprint {__version__}, Python {platform.python_version()}, Linux {platform.release()}")
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        typer.echo(f"{'yes' if finding.possible else 'no ':3}  {finding.name:{width}}  {finding.reason}")


def examine(fs: PseudoFs, state_dir: Path | None = None) -> Iterator[Finding]:
    """Everything that a run could use, in a stable order."""
    view = cgroup.discover(fs)
    yield _groups(view)
    for mechanism in plan.MECHANISMS:
        able = plan.capability(fs, view, mechanism)
        scoped = not able.possible and _in_scope(fs, view, mechanism)
        reason = "in a delegated scope, in which a run starts itself" if scoped else able.reason
        yield Finding(mechanism, able.possible or scoped, reason)
    yield _cpus(fs)
    yield _delegation(fs, view)
    yield _leftovers(fs, view)
    yield from _clocks(fs)
    yield _pressure(fs)
    yield _pidfd()
    yield _state(state_dir)
    yield _simulator()


def _groups(view: CgroupView) -> Finding:
    if view.kind == "none":
        return Finding("cgroups", False, "no control group hierarchy is mounted")
    where = ", ".join(f"{name} in {at.own} (v{at.version})" for name, at in sorted(view.controllers.items()))
    return Finding("cgroups", True, f"{view.kind}: {where or 'no cpu, cpuset or cpuacct controller'}")


def _cpus(fs: PseudoFs) -> Finding:
    cpus = len(fs.kernel.affinity(0))
    reason = f"this process may use {cpus} CPUs"
    return Finding("whole-core sprint", cpus > 1, reason if cpus > 1 else f"{reason}: a sprint needs a quota")


def _delegation(fs: PseudoFs, view: CgroupView) -> Finding:
    if not view.systemd:
        return Finding("delegation", False, "systemd does not run here, and is not needed")
    prefix = cgroup_v2.delegation_prefix(fs, view, "run")
    if prefix is not None:
        return Finding("delegation", True, f"a run starts itself behind: {' '.join(prefix)}")
    if plan.capability(fs, view, "quota").possible:
        return Finding("delegation", True, "this control group is ours to divide")
    return Finding(
        "delegation",
        False,
        "systemd does not delegate the cpu controller to your user manager, or that does not run; as root: "
        "systemctl edit user@.service, with [Service] Delegate=cpu cpuset memory pids",
    )


def _in_scope(fs: PseudoFs, view: CgroupView, mechanism: str) -> bool:
    """Whether a scope of its own would give a run what it does not have here."""
    if cgroup_v2.delegation_prefix(fs, view, "run") is None or view.unified is None:
        return False
    needed = {"quota": "cpu", "cpuset": "cpuset"}[mechanism]
    return fs.kernel.uid() == 0 or needed in cgroup_v2.user_controllers(fs, view.unified)


def _leftovers(fs: PseudoFs, view: CgroupView) -> Finding:
    groups = cgroup.ours(fs, view)
    reason = f"left or in use: {', '.join(groups)}" if groups else "no control group of ours is left"
    return Finding("clean", not groups, reason)


def _clocks(fs: PseudoFs) -> Iterator[Finding]:
    names = cpufreq.names(fs)
    if not names:
        yield Finding(
            "cpufreq", False, "no policy in the kernel (usual for virtual machines): sprints raise cores only"
        )
    for name in names:
        try:
            yield from _clock(fs, cpufreq.read_policy(fs, name))
        except SprintError as error:
            yield Finding(f"cpufreq {name}", False, str(error))


def _clock(fs: PseudoFs, policy: cpufreq.Policy) -> Iterator[Finding]:
    writable = fs.kernel.writable(f"{cpufreq.ROOT}/{policy.name}/scaling_max_freq")
    base = f"base {policy.base}" if policy.base else "base unknown: name it in spec.base.clock"
    reason = f"{policy.driver}, governor {policy.governor}, {policy.least} to {policy.most} kHz, {base}"
    yield Finding(
        f"cpufreq {policy.name}", writable, reason if writable else f"{reason}; no right to write it"
    )
    yield Finding(f"boost {policy.name}", *_boost(fs, policy))
    preference = policy.preference
    yield Finding(f"EPP {policy.name}", preference is not None, preference or "no such file in this driver")


def _boost(fs: PseudoFs, policy: cpufreq.Policy) -> tuple[bool, str]:
    """Whether a sprint can have boost, and why."""
    if policy.boost is None or policy.switch is None:
        return False, "no such file in this driver"
    if policy.boost:
        return True, "on"
    if policy.boosted is None or policy.boosted <= policy.most:
        return False, f"off, and the driver does not tell how far it goes: switch it on in {policy.switch}"
    if not fs.kernel.writable(policy.switch):
        return False, f"off, and no right to write {policy.switch}"
    return True, f"off: a run whose sprint clock needs it switches it on, up to {policy.boosted} kHz"


def _pressure(fs: PseudoFs) -> Finding:
    seen = counters.pressure(fs)
    if seen is None:
        return Finding("pressure", False, "/proc/pressure/cpu is absent (kernel without PSI, or psi=0)")
    return Finding("pressure", True, f"tasks waited for a CPU {seen.some_60s:g} % of the last minute")


def _pidfd() -> Finding:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        return Finding("pidfd", False, f"pidfd_open: {error.strerror}; ends of jobs are seen later")
    return Finding("pidfd", True, "ends of jobs are seen at once")


def _state(state_dir: Path | None) -> Finding:
    folder = choose_folder(state_dir, user=os.geteuid(), environment=os.environ, home=Path.home())
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return Finding("state folder", True, f"{folder}{'' if there == folder else ' can be made'}")
    return Finding("state folder", False, f"{folder}: no right to write {there}; use --state-dir")


def _simulator() -> Finding:
    if find_spec("numba") is None:
        reason = "without the extra `learn` a model-driven run costs some percent of a core"
        return Finding("compiled search", False, reason)
    folder = cache_folder(os.environ, Path.home())
    return Finding("compiled search", True, f"numba is installed; compiled code is kept in {folder}")
