"""Directives from an engine to a keeper: what to grant, under which epoch, for how long.

A lease carries a duration and no wall time: the keeper counts it on its own monotonic clock from
the moment the directive arrives, so two machines' clocks are never compared.
"""

from dataclasses import dataclass

from kubesprint.core.allocation import Allocation
from kubesprint.core.units import Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Permission to hold one knob at one allocation for one lease."""

    grant: str
    knob: str
    allocation: Allocation
    lease: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Directive:
    """Everything that a keeper is to hold from now on; what it does not name returns to base."""

    run: str  # epochs are compared only within one run
    epoch: int
    sequence: int
    grants: tuple[Grant, ...] = ()
