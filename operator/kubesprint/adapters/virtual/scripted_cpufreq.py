"""The kernel's rules of processor clocks, for a `ScriptedFs`.

Limits are requests: any number is taken, the outcome is clamped to the bounds, rounded inward to the
table, and shows only after a while. Semantics as seen on Linux 6.1 and 6.12 with acpi-cpufreq, and as
documented for EPP.
"""

import errno
from collections.abc import Mapping, Sequence

from kubesprint.adapters.virtual.scripted_fs import ScriptedFs, fail

ROOT = "/sys/devices/system/cpu/cpufreq"
_PREFERENCES = ("default", "performance", "balance_performance", "balance_power", "power")
_NO_LIMIT = 2**31 - 1


class ScriptedPolicy:
    """One policy. `thermal` is an upper limit that nobody wrote; not `online`, every access is busy."""

    def __init__(
        self,
        fs: ScriptedFs,
        number: int,
        table: Sequence[int],
        *,
        driver: str = "acpi-cpufreq",
        preference: str | None = None,
        base: int | None = None,
        lag: float = 0.0,
    ) -> None:
        self.fs, self.table, self.lag = fs, sorted(table), lag
        self.thermal = _NO_LIMIT
        self.online = True
        self.governor = "powersave" if preference is not None else "schedutil"
        self.preference = preference
        self._requests = (0, _NO_LIMIT)  # least, most
        self._before, self._since = self._requests, 0.0
        self._driver = driver
        self.folder = f"{ROOT}/policy{number}"
        self._file("scaling_driver", lambda: driver)
        self._file("affected_cpus", lambda: str(number))
        self._file("cpuinfo_min_freq", lambda: str(self.table[0]))
        self._file("cpuinfo_max_freq", lambda: str(self.table[-1]))
        self._file("scaling_min_freq", lambda: str(self.limits()[0]), lambda text: self._request(text, 0))
        self._file("scaling_max_freq", lambda: str(self.limits()[1]), lambda text: self._request(text, 1))
        self._file("scaling_governor", lambda: self.governor, self._govern)
        if preference is None:
            self._file("scaling_available_frequencies", lambda: " ".join(map(str, self.table)) + " ")
        else:
            self._file("energy_performance_preference", lambda: self.preference or "", self._prefer)
        if base is not None:
            self._file("base_frequency", lambda: str(base))

    def boost(self, steps: Sequence[int]) -> None:
        """More steps, or fewer; as in most drivers this overwrites the upper limit that was asked for."""
        self.table = sorted(steps)
        self._requests = (self._requests[0], self.table[-1])

    def limits(self) -> tuple[int, int]:
        """What is in force now."""
        settled = self.fs.now >= self._since + self.lag
        least, most = self._requests if settled else self._before
        bounds = (self.table[0], min(self.table[-1], self.thermal))
        least, most = (min(max(value, bounds[0]), bounds[1]) for value in (least, most))
        least = min(least, most)
        if self.preference is None:
            most = max((step for step in self.table if step <= most), default=self.table[0])
            least = min(step for step in self.table if step >= least)
        return min(least, most), most

    def _file(self, name: str, show: object, store: object = None) -> None:
        def shown() -> str:
            if not self.online:
                raise fail(errno.EBUSY, name)
            return f"{show()}\n"  # type: ignore[operator]

        def stored(text: str) -> None:
            if not self.online:
                raise fail(errno.EBUSY, name)
            store(text)  # type: ignore[operator]

        self.fs.put(f"{self.folder}/{name}", "", stored if store is not None else None)
        self.fs.files[f"{self.folder}/{name}"].show = shown

    def _request(self, text: str, which: int) -> None:
        if not text.isdigit() or int(text) > _NO_LIMIT:
            raise fail(errno.EINVAL, text)
        self._before, self._since = self.limits(), self.fs.now
        least, most = self._requests
        self._requests = (int(text), most) if which == 0 else (least, int(text))

    def _govern(self, text: str) -> None:
        known = {"performance", "powersave"}
        if self.preference is None:
            known |= {"schedutil", "ondemand", "userspace"}
        if text not in known:
            raise fail(errno.EINVAL, text)
        self.governor = text

    def _prefer(self, text: str) -> None:
        if text not in _PREFERENCES:
            raise fail(errno.EINVAL, text)
        if self.governor == "performance" and text != "performance":
            raise fail(errno.EBUSY, text)
        self.preference = text


class ScriptedBoost:
    """The boost switch of all policies, off at first."""

    def __init__(
        self, fs: ScriptedFs, steps: Mapping[ScriptedPolicy, Sequence[int]], *, told: bool = True
    ) -> None:
        """`steps`: above those of the policy's table; `told`: whether the driver lists them."""
        self.on = False
        self._steps = {policy: (tuple(policy.table), tuple(more)) for policy, more in steps.items()}
        fs.put(f"{ROOT}/boost", "", self._switch)
        fs.files[f"{ROOT}/boost"].show = lambda: f"{int(self.on)}\n"
        for policy, more in steps.items():
            if told:
                fs.put(f"{policy.folder}/scaling_boost_frequencies", " ".join(map(str, more)) + " \n")

    def _switch(self, text: str) -> None:
        if text not in ("0", "1"):
            raise fail(errno.EINVAL, text)
        self.on = text == "1"
        for policy, (plain, more) in self._steps.items():
            policy.boost((*plain, *more) if self.on else plain)
