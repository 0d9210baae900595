"""A Linux guest in QEMU that has cgroup v2 and a real cpufreq tree, for commands of the tests.

Emulation only (TCG): the same everywhere, needs neither /dev/kvm nor root. In the guest, this checkout is
/checkout (read-only; operator/ and tests/ are on Python's path), the results folder is /results (writable),
and all else is memory.
"""

import base64
import os
import re
import selectors
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[2]
CPUS = int(os.environ.get("KUBESPRINT_GUEST_CPUS", "2"))  # 2 or 4: a table was built for these
MEMORY_MIB = int(os.environ.get("KUBESPRINT_GUEST_MEMORY_MIB", "512"))
BOOT_SECONDS = 120.0  # 3 to 6 on two free cores; the rest is for a busy machine
LONGEST_COMMAND = 3000  # bytes; in base64 it must fit a line of the guest's terminal, 4095
CANNOT = 3  # exit status of the scripts: this machine lacks something, one line said what
MARK = b"\x1e"
ENDED = re.compile(rb"\x1e(\d+) (\d+)\x1e")


class GuestMissingError(Exception):
    """This machine cannot have the guest; the text says why in one line."""


class GuestError(Exception):
    """The guest did not answer in time, or died. `output` is what it said until then."""

    def __init__(self, problem: str, output: str) -> None:
        super().__init__(f"{problem}; the guest's last words:\n{output[-2000:]}")
        self.output = output


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletedGuest:
    """How a command in the guest ended: exit status, and what it wrote to stdout and stderr together."""

    rc: int
    output: str


def built() -> Path:
    """The folder of the built guest. Installs packages when root, builds when needed, and says so on stderr.

    Raises `GuestMissingError`; `GuestError` when the build is broken.
    """
    told(CHECKOUT / "scripts/guest-packages.sh")
    return Path(told(HERE / "build"))


def built_with_systemd(folder: Path) -> Path:
    """The root of a guest that runs systemd, for the guest in `folder`; raises as `built`."""
    return Path(told(HERE / "build-systemd", str(folder)))


def told(script: Path, *arguments: str) -> str:
    """What `script` prints on stdout. Its stderr is passed on as it comes, and kept for the reason."""
    said: list[str] = []
    command = [script, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        for line in running.stderr:
            said.append(line)
            print(line, end="", file=sys.stderr, flush=True)
        answer = running.stdout.read().strip()  # one line, so it cannot have blocked the script
    if running.returncode == CANNOT:
        raise GuestMissingError(said[-1].strip())
    if running.returncode:
        raise GuestError(f"{script.name} ended with {running.returncode}", "".join(said))
    return answer


class Guest:
    """One guest machine, booted by its first command and kept for the next ones. Close it with `stop`."""

    def __init__(
        self,
        *,
        folder: Path,
        results: Path,
        say: Callable[[bytes], object] | None = None,
        systemd: Path | None = None,
    ) -> None:
        """A guest that is not booted yet.

        Args:
            folder: of `built`.
            results: appears as /results.
            say: is given the output as it comes.
            systemd: of `built_with_systemd`: then commands run in a service of the guest's systemd.
        """
        self.results = results
        self._systemd = systemd
        self.boot_seconds = 0.0
        self._folder = folder
        self._say = say
        self._qemu: subprocess.Popen[bytes] | None = None
        self._sent = 0
        self._heard = b""

    def run(self, command: str | Path, timeout: float = 60.0) -> CompletedGuest:
        """Run a shell command, or a Python program given by its path in the checkout; seconds are the host's.

        A guest that takes longer is thrown away (`GuestError`), and the next command has a fresh one.
        """
        if isinstance(command, Path):
            command = f"python3 {shlex.quote(str('/checkout' / command.resolve().relative_to(CHECKOUT)))}"
        line = command.encode()
        if len(line) > LONGEST_COMMAND:
            raise ValueError(f"a command of {len(line)} bytes; put more than {LONGEST_COMMAND} into a file")
        if self._qemu is None:
            self._boot()
        self._sent += 1
        self._write(base64.b64encode(line) + b"\n")
        return self._ended(time.monotonic() + timeout)

    def stop(self) -> None:
        """End the guest. Nothing in it is worth a shutdown: /results is written through."""
        if self._qemu is not None:
            self._qemu.kill()
            self._qemu.communicate()
            self._qemu = None

    def _boot(self) -> None:
        started = time.monotonic()
        compile_checkout(self._folder)
        self._qemu = subprocess.Popen(self._qemu_command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._sent, self._heard = 0, b""
        self._ended(started + BOOT_SECONDS)
        self.boot_seconds = time.monotonic() - started

    def _qemu_command(self) -> list[str]:
        def shared(tag: str, folder: Path, more: str = ",readonly=on") -> list[str]:
            return ["-virtfs", f"local,path={folder},mount_tag={tag},id={tag},security_model=none{more}"]

        return [
            *("setpriv", "--pdeathsig", "KILL"),  # a killed test leaves no guest behind
            *("qemu-system-x86_64", "-M", "q35", "-smp", str(CPUS), "-m", str(MEMORY_MIB)),
            # One host thread for all CPUs. With one for each, QEMU 7.2 may execute for ever a breakpoint that
            # the kernel has long removed from its own code; and the first quota makes the kernel patch it.
            *("-accel", "tcg,thread=single"),
            *("-cpu", "max,vendor=GenuineIntel,family=6,model=85"),  # acpi-cpufreq wants no AMD family 15
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"),
            *("-serial", "null", "-serial", "null"),  # the ports behind the P-states
            *("-acpitable", f"file={self._folder}/pstates-{CPUS}.aml"),
            *shared("root", self._systemd or self._folder / "root"),
            *shared("checkout", CHECKOUT),
            *shared("results", self.results, ""),
            *("-kernel", str(self._folder / "vmlinux"), "-initrd", str(self._folder / "initramfs.img")),
            "-append",
            "console=ttyS0 quiet panic=-1 mitigations=off no_timer_check random.trust_cpu=on"
            + (" guest.systemd systemd.show_status=0 systemd.log_target=journal" if self._systemd else ""),
        ]

    def _write(self, line: bytes) -> None:
        assert self._qemu is not None
        assert self._qemu.stdin is not None
        self._qemu.stdin.write(line)
        self._qemu.stdin.flush()

    def _ended(self, deadline: float) -> CompletedGuest:
        """Listen until the guest tells the end of what was sent last; number 0 is the boot."""
        heard, self._heard = self._heard, b""
        while (end := ENDED.search(heard)) is None:
            piece = self._read(deadline)
            if not piece:
                raise self._lost("no answer in time, or QEMU ended", heard)
            self._show(heard, piece)
            heard += piece
        if int(end[1]) != self._sent:
            raise self._lost(f"end of command {int(end[1])}, not {self._sent}", heard)
        self._heard = heard[end.end() :]
        return CompletedGuest(rc=int(end[2]), output=heard[: end.start()].decode(errors="replace"))

    def _lost(self, problem: str, heard: bytes) -> GuestError:
        """Throw the guest away; the error to raise."""
        self.stop()
        return GuestError(problem, heard.decode(errors="replace"))

    def _read(self, deadline: float) -> bytes:
        """The next piece of output; empty when the time is over or QEMU has ended."""
        assert self._qemu is not None
        assert self._qemu.stdout is not None
        with selectors.DefaultSelector() as ready:
            ready.register(self._qemu.stdout, selectors.EVENT_READ)
            if not ready.select(max(deadline - time.monotonic(), 0)):
                return b""
        return os.read(self._qemu.stdout.fileno(), 65536)

    def _show(self, heard: bytes, piece: bytes) -> None:
        """Pass on what is new, as far as it is the command's own output and not the mark of its end."""
        if self._say is not None and MARK not in heard:
            self._say(piece.partition(MARK)[0])


def compile_checkout(folder: Path) -> None:
    """Compile kubesprint and its tests on the host: the emulated CPU would take seconds for it."""
    python = folder / "root/usr/bin/python3.11"
    subprocess.run(  # in a read-only checkout this fails, and the guest merely starts slower
        [python, "-m", "compileall", "-q", CHECKOUT / "operator", CHECKOUT / "tests"],
        env={"PYTHONHOME": str(folder / "root/usr")},
        stdout=subprocess.DEVNULL,
        check=False,
    )
