"""Several kinds of knobs as one machine: slots and clocks."""

from collections.abc import Sequence

from kubesprint.core.allocation import Allocation
from kubesprint.core.errors import Refused
from kubesprint.engine.ports import Address, Hardware, Write


class CombinedHardware:
    """The Hardware port for all parts together. Addresses of no knob belong to the first part."""

    def __init__(self, parts: Sequence[Hardware]) -> None:
        if not parts:
            raise Refused("a machine needs at least one kind of knob")
        self._parts = tuple(parts)

    def knobs(self) -> Sequence[str]:
        """Every knob of every part."""
        return [knob for part in self._parts for knob in part.knobs()]

    def clamp(self, knob: str, wish: Allocation) -> tuple[Allocation, str]:
        """As the part of the knob says."""
        return self._of(knob).clamp(knob, wish)

    def writes(self, knob: str, allocation: Allocation | None) -> Sequence[Write]:
        """As the part of the knob says."""
        return self._of(knob).writes(knob, allocation)

    def read(self, address: Address) -> str:
        """As the part of the knob does."""
        return self._of(address.knob).read(address)

    def write(self, write: Write) -> None:
        """As the part of the knob does."""
        self._of(write.address.knob).write(write)

    def settle_seconds(self, address: Address) -> float:
        """As the part of the knob says."""
        return self._of(address.knob).settle_seconds(address)

    def _of(self, knob: str) -> Hardware:
        return next((part for part in self._parts if knob in part.knobs()), self._parts[0])
