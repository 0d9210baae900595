"""How fast a job may run: cores and clock, and what "at least as fast" means."""

from dataclasses import dataclass

from kubesprint.core.units import Cores


@dataclass(frozen=True, slots=True)
class Allocation:
    """What a job is given: CPU time per second, and the clock relative to the base clock.

    Allocations are partially ordered: more cores at a lower clock is neither faster nor slower
    than fewer cores at a higher one, until a speed model says so.
    """

    cores: Cores
    clock: float = 1.0  # f / f_base, dimensionless

    def __post_init__(self) -> None:
        if not (self.cores > 0 and self.clock > 0):
            raise ValueError(
                f"an allocation needs cores and clock above 0, not {self.cores} and {self.clock}"
            )

    def at_least_as_fast_as(self, other: "Allocation") -> bool:
        """True if no job, whatever its speed-up curve, could run slower on this than on `other`."""
        return self.cores >= other.cores and self.clock >= other.clock

    def cost_rate(self, base: "Allocation") -> Cores:
        """Extra core-seconds granted per second of sprinting on this instead of on `base`.

        The extra clock counts for all the sprinted cores: cores × clock / base clock − base cores.
        """
        return Cores(self.cores * self.clock / base.clock - base.cores)
