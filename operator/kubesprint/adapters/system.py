"""The clock of this machine."""

import time

from kubesprint.core.units import Seconds


class SystemClock:
    """CLOCK_MONOTONIC: the same instants in every process of one boot, so engine and keeper agree."""

    def now(self) -> Seconds:
        """Seconds since some moment of this boot; not steered by anybody."""
        return Seconds(time.monotonic())

    def wait(self, duration: Seconds) -> None:
        """Sleep."""
        time.sleep(duration)
