"""Units as types, so that a duration is never added to a budget by accident.

They are plain numbers at run time. Conversion happens once, at the edge; inside the core
a value already carries its unit in its type.
"""

from typing import NewType

Seconds = NewType("Seconds", float)
"""A duration, or an instant on the clock that the caller names."""

Cores = NewType("Cores", float)
"""CPU time per second of wall time: 0.4 is four tenths of one core."""

CoreSeconds = NewType("CoreSeconds", float)
"""CPU time granted or used."""

KiloHertz = NewType("KiloHertz", int)
"""A clock, in the unit that the kernel's cpufreq files use."""

FOREVER = Seconds(float("inf"))
"""The instant of a trigger that never comes."""
