"""The loop of a run: jobs arrive, start and end, the engine takes its turns, and everything else waits."""

import select
import selectors
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import FrameType

from kubesprint.apps.local_jobs import LocalJobs
from kubesprint.apps.run_log import RunLog
from kubesprint.core.predict import predict_responses
from kubesprint.core.simulation import QueueSimulator
from kubesprint.core.spec import Mode
from kubesprint.core.units import Seconds
from kubesprint.engine.engine import Engine
from kubesprint.engine.ports import Clock
from kubesprint.engine.turn import Turn

GRACE = Seconds(10.0)
"""Between SIGTERM and SIGKILL to a job, once the run is told to end."""


SOON = Seconds(0.005)
"""How long a free slot on its way back to base is waited for before the engine thinks of anything else."""

READ_BACK = Seconds(2.0)
"""How long the end of a run waits for the last knobs to be read back at base."""


class Interrupts:
    """SIGINT and SIGTERM as facts to look at; a file descriptor wakes the loop."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._reader.setblocking(False)

    def fileno(self) -> int:
        """Readable after a signal."""
        return self._reader.fileno()

    def drain(self) -> None:
        """Make the file descriptor quiet again."""
        try:
            self._reader.recv(64)
        except BlockingIOError:
            return

    @contextmanager
    def caught(self) -> Iterator["Interrupts"]:
        """Take over both signals for the length of a run."""
        before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self._reader.close()
            self._writer.close()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received.append(number)
        try:
            self._writer.send(b"!")
        except (BlockingIOError, OSError):
            return  # the loop is awake already


@dataclass(slots=True)
class Ending:
    """How the loop ended."""

    interrupted_by: int | None = None
    unfinished: tuple[str, ...] = ()  # never started, or ended by the interrupt: a resumed run runs them


class RunLoop:
    """One run from the first arrival to the last end."""

    def __init__(
        self,
        *,
        clock: Clock,
        jobs: LocalJobs,
        engine: Engine,
        log: RunLog,
        simulate: QueueSimulator,
        interrupts: Interrupts,
        wake: Callable[[], int | None],
        show: Callable[[Turn], None],
        tend: Callable[[], None],
    ) -> None:
        """Wire a loop.

        Args:
            clock: shared with everything.
            jobs: processes and their roster.
            engine: takes the turns.
            log: what is left behind.
            simulate: for the prediction made when a job arrives.
            interrupts: signals.
            wake: a file descriptor that is readable when a keeper has reported, if there is one.
            show: progress; called once a turn.
            tend: called once a turn, to look after the keeper.
        """
        self._clock = clock
        self._jobs = jobs
        self._engine = engine
        self._log = log
        self._simulate = simulate
        self._interrupts = interrupts
        self._wake = wake
        self._show = show
        self._tend = tend
        self._ending = Ending()
        self._kill_at: Seconds | None = None
        self._closing: list[str] = []  # ended jobs whose row is not written yet

    def run(self) -> Ending:
        """Until every job is over, or until interrupted and every running job has ended."""
        self._jobs.park()
        while not self._jobs.roster.done:
            self._look_at_interrupts()
            turn = self._turn()
            # The turn itself may have heard that a slot is back at base: nothing would wake us again.
            if not (self._jobs.roster.done or self._jobs.can_start(self._engine.at_base)):
                self._wait(turn.next_look)
        self._last_read_backs()
        return self._ending

    def _last_read_backs(self) -> None:
        """The last jobs' sprints are still to be read back at base, if a keeper is there to do it."""
        patience = Seconds(self._clock.now() + READ_BACK)
        while any(map(self._engine.sprint_open, self._closing)) and self._clock.now() < patience:
            self._wait(patience)
            self._show(self._engine.step(hurry=True))
        self._close(patiently=False)

    def _turn(self) -> Turn:
        """Ended jobs first, so that their slots serve the next ones before anything is thought about."""
        self._tend()
        ended = self._jobs.reap()
        for name in ended:
            self._engine.release(name)
        ended = self._note_endings(ended)
        self._engine.listen()
        arrived = self._jobs.roster.arrive(self._clock.now())
        started = self._start_ready()
        in_hurry = self._jobs.roster.waiting > 0 and bool(self._jobs.roster.free_slots())
        turn = self._engine.step(hurry=in_hurry)
        self._predict(turn, arrived)
        self._tell(turn, arrived, started)
        self._closing.extend([*ended, *self._note_endings(self._failed_to_start(started))])
        self._close(patiently=True)
        self._show(turn)
        return turn

    def _start_ready(self) -> list[str]:
        """Fill the slots that are at base; one that was just let go will be so in a moment."""
        started = self._jobs.start_ready(self._engine.at_base)
        until = Seconds(self._clock.now() + SOON)
        while self._jobs.roster.waiting and self._jobs.roster.free_slots() and self._keeper_speaks(until):
            self._engine.listen()
            started += self._jobs.start_ready(self._engine.at_base)
        return started

    def _keeper_speaks(self, until: Seconds) -> bool:
        """Whether a keeper has something to say before this instant."""
        keeper, left = self._wake(), until - self._clock.now()
        return keeper is not None and left > 0 and bool(select.select([keeper], [], [], left)[0])

    def _note_endings(self, names: list[str]) -> list[str]:
        """Tell of jobs that ended; returns those that count. What the interrupt ended is unfinished."""
        counted = []
        for name in names:
            ending = self._jobs.roster.endings[name]
            if self._ending.interrupted_by is not None and ending.exit != 0:
                self._ending.unfinished += (name,)
                self._log.write(ending.at, "interrupted", job=name, exit=ending.exit)
            else:
                self._log.ended(self._jobs.roster.view(name), ending)
                counted.append(name)
        return counted

    def _close(self, *, patiently: bool) -> None:
        """Write the rows of ended jobs, once the cost of their last sprint is known."""
        for name in list(self._closing):
            if not (patiently and self._engine.sprint_open(name)):
                self._closing.remove(name)
                self._log.finished(self._jobs.roster.view(name), self._jobs.roster.endings[name])

    def _failed_to_start(self, started: list[str]) -> list[str]:
        return [name for name in started if name in self._jobs.roster.endings]

    def _predict(self, turn: Turn, arrived: list[str]) -> None:
        if not arrived or turn.view is None or turn.trigger is None:
            return
        predict = partial(predict_responses, turn.view, turn.estimates, turn.trigger, self._simulate)
        responses = predict(sprints=self._engine.may_sprint)
        advised = predict() if self._engine.settings.mode is Mode.RECOMMEND else {}
        for name in arrived:
            if name in responses:
                self._log.predicted(name, responses[name], advised.get(name))

    def _tell(self, turn: Turn, arrived: list[str], started: list[str]) -> None:
        for name in arrived:
            self._log.arrived(self._jobs.roster.view(name))
        for name in started:
            view = self._jobs.roster.view(name)
            process = self._jobs.processes.get(name)
            self._log.write(
                view.start or turn.at,
                "started",
                job=name,
                slot=view.slot,
                pid=process.pid if process else None,
                **self._log.predictions_of(name),
            )

    def _look_at_interrupts(self) -> None:
        """The first signal ends the run politely, the second at once."""
        self._interrupts.drain()
        count = len(self._interrupts.received)
        now = self._clock.now()
        if count and self._ending.interrupted_by is None:
            self._ending.interrupted_by = self._interrupts.received[0]
            self._engine.stopping = True
            self._ending.unfinished = tuple(self._jobs.roster.cancel_rest())
            self._log.warn(now, "interrupted: no more jobs start, running ones are asked to end")
            self._jobs.terminate()
            self._kill_at = Seconds(now + GRACE)
        if self._kill_at is not None and (count > 1 or now >= self._kill_at):
            self._jobs.kill()

    def _wait(self, until: Seconds) -> None:
        """Sleep until a job ends, a keeper reports, a signal comes, or an instant is reached."""
        self._jobs.park()
        instants = [until, self._jobs.roster.next_arrival(), self._kill_at]
        timeout = min(instant for instant in instants if instant is not None) - self._clock.now()
        with selectors.DefaultSelector() as selector:
            watched = [self._interrupts.fileno(), *(p.pidfd for p in self._jobs.processes.values())]
            keeper = self._wake()
            for fd in [*watched, *([] if keeper is None else [keeper])]:
                selector.register(fd, selectors.EVENT_READ)
            selector.select(max(0.0, timeout))
