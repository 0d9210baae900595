"""From a published directive to the quota in the kernel's file, and to the first thing a job notices.

A spinner runs in a slot whose base quota throttles it most of the time; it stamps a shared page with the
monotonic clock. Once its stamps have stood still for some milliseconds it is throttled, and a grant is
published through the engine's own link to a real keeper. Three spans from there: until the file holds
the sprint's quota (polled), until the keeper's report is read, until the spinner's next stamp. A grant
that met a spinner about to get its next period anyway shows a short effect: that is part of the truth, and
the instants are spread over the period. The baseline, in the same run, writes a quota of its own group
and reads it back.
"""

import argparse
import mmap
import os
import random
import secrets
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from bench.output import Results, Row, add_common, progress
from bench.real import refuse, state_folder
from bench.stats import spread
from kubesprint.adapters.files.lock import take_lock
from kubesprint.adapters.files.state import prepare_folder
from kubesprint.adapters.link import Opening
from kubesprint.adapters.linux import cgroup_v1, cgroup_v2
from kubesprint.adapters.linux.hardware import SlotHardware, open_slots
from kubesprint.adapters.linux.launcher import enter
from kubesprint.adapters.linux.pseudofs import PseudoFs
from kubesprint.apps.keeper_link import KeeperLink
from kubesprint.apps.recovery import restore_from_journal
from kubesprint.apps.run import recover_leftovers
from kubesprint.core.allocation import Allocation
from kubesprint.core.lease import Directive, Grant
from kubesprint.core.units import Cores, Seconds

BASE, SPRINT = Allocation(Cores(0.2)), Allocation(Cores(1.0))
STILL = 0.005  # seconds without a stamp: throttled (a lost time slice is shorter, on a quiet machine)
PATIENCE = 2.0
NAP = 20e-6
SPINNER = """
import mmap, struct, sys, time
page = mmap.mmap(int(sys.argv[1]), 4096)
clock, pack = time.monotonic, struct.Struct("d").pack_into
while True: pack(page, 0, clock())
"""
SEED = 1


class Spinner:
    """The page that the spinner stamps."""

    def __init__(self, descriptor: int) -> None:
        self._page = mmap.mmap(descriptor, 4096)

    def stamp(self) -> float:
        """Its last sign of life. Eight aligned bytes: read whole or not at all on the machines we know."""
        return float(struct.unpack_from("d", self._page, 0)[0])

    def wait_until_throttled(self) -> bool:
        """Whether it stood still within the patience."""
        begun = time.monotonic()
        while (now := time.monotonic()) < begun + PATIENCE:
            stamp = self.stamp()
            if 0.0 < stamp < now - STILL:
                return True
            time.sleep(NAP)
        return False


@contextmanager
def spinning(hardware: SlotHardware) -> Iterator[Spinner]:
    """A spinner in the first slot."""
    descriptor = os.memfd_create("kubesprint-bench")
    os.ftruncate(descriptor, 4096)
    entry = hardware.entry(hardware.knobs()[0])
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", SPINNER, str(descriptor)],
        pass_fds=(descriptor,),
        preexec_fn=partial(enter, entry.procs, entry.cpus),  # noqa: PLW1509  one thread
    )
    try:
        yield Spinner(descriptor)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        os.close(descriptor)


def quota_file(hardware: SlotHardware) -> Path:
    """Of the first slot."""
    version = cgroup_v1 if hardware.plan.version == 1 else cgroup_v2
    return Path(hardware.plan.groups(0)[0], version.QUOTA)


def _grants(hardware: SlotHardware, link: KeeperLink, run: str, repeats: int) -> list[Row]:
    file, knob, dice = quota_file(hardware), hardware.knobs()[0], random.Random(SEED)
    base, rows = file.read_text(), list[Row]()
    with spinning(hardware) as spinner:
        for repeat in range(repeats):
            time.sleep(dice.uniform(0.0, 0.1))  # a period: so that grants fall anywhere in it
            throttled = spinner.wait_until_throttled()
            grant = Grant(grant=f"{run}/{repeat}", knob=knob, allocation=SPRINT, lease=Seconds(5.0))
            link.reports()
            published = time.monotonic()
            link.publish(Directive(run=run, epoch=1, sequence=2 * repeat + 1, grants=(grant,)))
            found = _watch(link, spinner, file, base, published, knob, grant.grant)
            rows.append({"repeat": repeat, "throttled": throttled, **found})
            link.publish(Directive(run=run, epoch=1, sequence=2 * repeat + 2))
            _until_base(file, base)
    return rows


def _watch(
    link: KeeperLink, spinner: Spinner, file: Path, base: str, published: float, knob: str, grant: str
) -> dict[str, float | None]:
    """Seconds from the publication to each sign, None for one that did not come in time."""
    found: dict[str, float | None] = {"file": None, "report": None, "effect": None}
    while None in found.values() and time.monotonic() < published + PATIENCE:
        if found["effect"] is None and (stamp := spinner.stamp()) > published:
            found["effect"] = stamp - published  # polled: a little late, as the stamps go on
        if found["file"] is None and file.read_text() != base:
            found["file"] = time.monotonic() - published
        if found["report"] is None and any(r.knobs[knob].grant == grant for r in link.reports()):
            found["report"] = time.monotonic() - published
        time.sleep(NAP)
    return found


def _until_base(file: Path, base: str) -> None:
    begun = time.monotonic()
    while file.read_text() != base:
        if time.monotonic() > begun + PATIENCE:
            refuse("knob", f"{file} did not return to {base.strip()} within {PATIENCE:g} s")
        time.sleep(0.001)


def _plain(hardware: SlotHardware, repeats: int) -> list[Row]:
    """Write and read back a group of our own, with nobody in between."""
    slot = quota_file(hardware)
    group = slot.parent.with_name(f"{slot.parent.name}-plain")
    group.mkdir()
    try:
        file, rows = group / slot.name, list[Row]()
        spell = cgroup_v1.quota_text if hardware.plan.version == 1 else cgroup_v2.quota_text
        for repeat in range(repeats):
            begun = time.monotonic()
            file.write_text(spell(float(SPRINT.cores if repeat % 2 else BASE.cores)))
            file.read_text()
            rows.append({"repeat": repeat, "plain": time.monotonic() - begun})
        return rows
    finally:
        group.rmdir()


def main(words: list[str] | None = None) -> None:
    """Measure and print."""
    parser = add_common(argparse.ArgumentParser(prog="python -m bench knob", description=__doc__))
    parser.add_argument("--repeats", type=int, help="grants (300; quick: 100)")
    parser.add_argument("--state-dir", type=Path)
    options = parser.parse_args(words)
    repeats = options.repeats or (100 if options.quick else 300)
    results, state = Results("knob", options), prepare_folder(state_folder(options.state_dir))
    run = "bench-knob-" + secrets.token_hex(3)
    hardware = open_slots(PseudoFs(), run, 1, BASE, SPRINT, "quota")
    with take_lock(state, run) as lock, ExitStack() as stack:
        recover_leftovers(state, lock)
        link = KeeperLink(state, lock)
        stack.callback(_close, link, state)
        link.open(Opening(run=run, slots=1, base=BASE, sprint=SPRINT, mechanism="quota"))
        progress(f"knob: {repeats} grants")
        plain = _plain(hardware, repeats)
        rows = _grants(hardware, link, run, repeats)
    results.raw([*rows, *plain])
    base = spread([r["plain"] for r in plain]).median
    spans = [("plain write and read", [r["plain"] for r in plain])]
    spans += [
        (
            f"published to {what}",
            [r[key] for r in rows if r[key] is not None and (key != "effect" or r["throttled"])],
        )
        for key, what in (("file", "kernel's file"), ("report", "report read"), ("effect", "effect"))
    ]
    results.finish([_row(what, values, base) for what, values in spans if values], seeds={"instants": SEED})


def _close(link: KeeperLink, state: Path) -> None:
    if link.close() is None:
        restore_from_journal(state)


def _row(what: str, values: list[float], base: float) -> Row:
    s = spread([value * 1e3 for value in values])
    return {
        "span": what,
        "n": s.count,
        "median ms": s.median,
        "p95 ms": s.p95,
        "p99 ms": s.p99,
        "mad ms": s.mad,
        "x plain": s.median / (base * 1e3),
    }


if __name__ == "__main__":
    main()
