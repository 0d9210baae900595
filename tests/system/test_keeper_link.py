"""The engine's end of the link to its keeper."""

import select
from pathlib import Path

from kubesprint.adapters.files.lock import take_lock
from kubesprint.adapters.link import Opening
from kubesprint.apps.keeper_link import KeeperLink
from kubesprint.core.allocation import Allocation
from kubesprint.core.lease import Directive
from kubesprint.core.units import Cores

PATIENCE = 20_000  # milliseconds


def test_to_ask_whether_the_keeper_lives_takes_no_report_from_whoever_waits_for_one(tmp_path: Path) -> None:
    lock = take_lock(tmp_path, "run")
    link = KeeperLink(tmp_path, lock)
    try:
        link.open(
            Opening(
                run="run",
                slots=1,
                base=Allocation(Cores(1.0)),
                sprint=Allocation(Cores(2.0)),
                mechanism="affinity",
            )
        )
        link.publish(Directive(run="run", epoch=1, sequence=1, grants=()))
        poll = select.poll()
        poll.register(link, select.POLLIN)
        assert poll.poll(PATIENCE), "the keeper answers"
        assert link.alive()
        assert poll.poll(0), "a sleeper would still be woken"
        assert link.reports()
    finally:
        link.close()
        lock.release()
    assert not link.alive()
