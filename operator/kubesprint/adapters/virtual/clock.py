"""A clock that moves only when told: a test asserts on time itself."""

from kubesprint.core.units import Seconds


class VirtualClock:
    """Starts at `now`; waiting is moving on."""

    def __init__(self, now: Seconds = Seconds(0.0)) -> None:
        self._now = now

    def now(self) -> Seconds:
        """Seconds since the start."""
        return self._now

    def wait(self, duration: Seconds) -> None:
        """Move on by `duration`."""
        self.advance(duration)

    def advance(self, duration: Seconds) -> None:
        """Move on by `duration`, never back."""
        if duration < 0:
            raise ValueError(f"time does not go back by {-duration} s")
        self._now = Seconds(self._now + duration)

    def advance_to(self, instant: Seconds) -> None:
        """Move on to `instant`; nothing happens if it is past."""
        self._now = max(self._now, instant)
