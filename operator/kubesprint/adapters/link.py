"""What engine and keeper say to each other: one JSON object a message, over a packet socket.

Engine to keeper: `open`, `directive`, `tenant`, `close`. Keeper to engine: `ready` or `refused` (the
answers to `open`), `report`, `closed`. Every message has a `type`; what cannot be understood is refused.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubesprint.core.allocation import Allocation
from kubesprint.core.errors import Refused
from kubesprint.core.lease import Directive, Grant
from kubesprint.core.reasons import Reason
from kubesprint.core.units import Cores, Seconds
from kubesprint.engine.ports import KnobReport, Report

MAX_MESSAGE = 1 << 17
"""Bytes; a report of 400 slots is a third of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What a keeper needs to know to make the slots of a run."""

    run: str
    slots: int
    base: Allocation
    sprint: Allocation
    mechanism: str = "auto"  # or "quota", "cpuset", "affinity"
    clocks: tuple[str, str] | None = (
        None  # at base and while sprinting, as a policy spells them; None: untouched
    )
    root: str = "/"  # below which /sys and /proc are found


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The slots are made and at base."""

    notes: Sequence[str] = ()
    plan: str = ""  # of the slots, as the hardware spells it: how jobs get into them


@dataclass(frozen=True, slots=True, kw_only=True)
class NotOpened:
    """The machine will not do it (`final`), or not now."""

    message: str
    final: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """The process that lives in a slot from now on; `start_ticks` tells it from a later one with its id."""

    knob: str
    pid: int
    start_ticks: int


@dataclass(frozen=True, slots=True)
class Close:
    """Put everything back, report, and end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """Everything that could be put back was."""

    report: Report | None = None  # the last read-back at base, before the restore; None: never opened
    put_back: int = 0  # addresses that are as they were found
    left: Sequence[str] = ()  # what somebody else had changed, a sentence each
    failed: Sequence[str] = ()  # what stays in the journal, a sentence each


Message = Opening | Ready | NotOpened | Directive | Tenant | Report | Close | Closed


def encode(message: Message) -> bytes:
    """The bytes of one message."""
    body = _ENCODERS[type(message)](message)
    return json.dumps(body, allow_nan=False, separators=(",", ":")).encode()


def decode(data: bytes) -> Message:
    """The message in `data`. Raises `Refused` for anything that `encode` does not write."""
    try:
        body = json.loads(data)
        message: Message = _DECODERS[body["type"]](body)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(f"a message between engine and keeper cannot be understood: {error!r}") from error
    return message


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a number")
    return float(value)


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(str(value) for value in values)


def _allocation(value: Allocation | None) -> Any:
    return None if value is None else [value.cores, value.clock]


def _read_allocation(value: Any) -> Allocation:
    cores, clock = value
    return Allocation(Cores(_number(cores)), _number(clock))


def _opening(m: Opening) -> dict[str, Any]:
    return {
        "type": "open",
        "run": m.run,
        "slots": m.slots,
        "base": _allocation(m.base),
        "sprint": _allocation(m.sprint),
        "mechanism": m.mechanism,
        "clocks": None if m.clocks is None else list(m.clocks),
        "root": m.root,
    }


def _read_opening(body: Any) -> Opening:
    return Opening(
        run=str(body["run"]),
        slots=int(body["slots"]),
        base=_read_allocation(body["base"]),
        sprint=_read_allocation(body["sprint"]),
        mechanism=str(body["mechanism"]),
        clocks=_read_clocks(body["clocks"]),
        root=str(body["root"]),
    )


def _read_clocks(value: Any) -> tuple[str, str] | None:
    if value is None:
        return None
    base, sprint = value
    return str(base), str(sprint)


def _directive(m: Directive) -> dict[str, Any]:
    grants = [[g.grant, g.knob, _allocation(g.allocation), g.lease] for g in m.grants]
    return {"type": "directive", "run": m.run, "epoch": m.epoch, "sequence": m.sequence, "grants": grants}


def _read_directive(body: Any) -> Directive:
    grants = tuple(
        Grant(
            grant=str(grant),
            knob=str(knob),
            allocation=_read_allocation(allocation),
            lease=Seconds(_number(lease)),
        )
        for grant, knob, allocation, lease in body["grants"]
    )
    return Directive(
        run=str(body["run"]), epoch=int(body["epoch"]), sequence=int(body["sequence"]), grants=grants
    )


def _report(m: Report) -> dict[str, Any]:
    knobs = [
        [k.knob, k.grant, k.outcome.value, _allocation(k.allocation), k.since, k.at, k.detail]
        for k in m.knobs.values()
    ]
    trouble = None if m.trouble is None else m.trouble.value
    return {
        "type": "report",
        "run": m.run,
        "epoch": m.epoch,
        "sequence": m.sequence,
        "knobs": knobs,
        "trouble": trouble,
        "detail": m.detail,
    }


def _read_report(body: Any) -> Report:
    knobs = {
        knob: KnobReport(
            knob=str(knob),
            grant=None if grant is None else str(grant),
            outcome=Reason(outcome),
            allocation=None if allocation is None else _read_allocation(allocation),
            since=Seconds(_number(since)),
            at=Seconds(_number(at)),
            detail=str(detail),
        )
        for knob, grant, outcome, allocation, since, at, detail in body["knobs"]
    }
    return Report(
        run=str(body["run"]),
        epoch=int(body["epoch"]),
        sequence=int(body["sequence"]),
        knobs=knobs,
        trouble=None if body["trouble"] is None else Reason(body["trouble"]),
        detail=str(body["detail"]),
    )


def _closed(m: Closed) -> dict[str, Any]:
    report = None if m.report is None else _report(m.report)
    return {
        "type": "closed",
        "report": report,
        "put_back": m.put_back,
        "left": list(m.left),
        "failed": list(m.failed),
    }


def _read_closed(body: Any) -> Closed:
    return Closed(
        report=None if body["report"] is None else _read_report(body["report"]),
        put_back=int(body["put_back"]),
        left=_texts(body["left"]),
        failed=_texts(body["failed"]),
    )


_ENCODERS: Mapping[type, Any] = {
    Opening: _opening,
    Ready: lambda m: {"type": "ready", "notes": list(m.notes), "plan": m.plan},
    NotOpened: lambda m: {"type": "refused", "message": m.message, "final": m.final},
    Directive: _directive,
    Tenant: lambda m: {"type": "tenant", "knob": m.knob, "pid": m.pid, "start_ticks": m.start_ticks},
    Report: _report,
    Close: lambda _: {"type": "close"},
    Closed: _closed,
}

_DECODERS: Mapping[str, Any] = {
    "open": _read_opening,
    "ready": lambda b: Ready(notes=_texts(b["notes"]), plan=str(b["plan"])),
    "refused": lambda b: NotOpened(message=str(b["message"]), final=bool(b["final"])),
    "directive": _read_directive,
    "tenant": lambda b: Tenant(knob=str(b["knob"]), pid=int(b["pid"]), start_ticks=int(b["start_ticks"])),
    "report": _read_report,
    "close": lambda _: Close(),
    "closed": _read_closed,
}
