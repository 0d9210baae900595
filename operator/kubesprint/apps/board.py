"""Live progress of a run: the queue, what runs and since when, the budget, the last decision."""

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kubesprint.core.units import Seconds
from kubesprint.core.workload import JobState
from kubesprint.engine.turn import Turn

REDRAW = Seconds(0.25)
LINE_EVERY = Seconds(10.0)
MEGA = 12  # running jobs shown at most


class Board:
    """Draws on a terminal; on anything else it prints a line now and then. Never starts a thread."""

    def __init__(self, console: Console, title: str, total: int) -> None:
        self._console = console
        self._title = title
        self._total = total
        self._drawn = Seconds(-1e9)
        self._live = (
            Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        )

    def __enter__(self) -> "Board":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, turn: Turn) -> None:
        """Redraw if it is time to."""
        pause = REDRAW if self._live is not None else LINE_EVERY
        if turn.view is None or turn.at - self._drawn < pause:
            return
        self._drawn = turn.at
        if self._live is not None:
            self._live.update(self._picture(turn), refresh=True)
        else:
            self._console.print(self._line(turn), highlight=False, markup=False, soft_wrap=True)

    def _counts(self, turn: Turn) -> dict[str, int]:
        assert turn.view is not None
        done = sum(job.state is JobState.FINISHED for job in turn.view.jobs)
        running = len(turn.view.running())
        return {"done": done, "running": running, "queued": len(turn.view.queued())}

    def _line(self, turn: Turn) -> str:
        assert turn.view is not None
        counts = self._counts(turn)
        bucket = turn.view.bucket
        return (
            f"{self._title}: {counts['done']}/{self._total} done, {counts['running']} running, "
            f"{counts['queued']} queued, {len(turn.view.grants)} sprinting, "
            f"budget {bucket.physical_level():.1f}/{bucket.budget.capacity:g} core-seconds"
        )

    def _picture(self, turn: Turn) -> Group:
        assert turn.view is not None
        bucket = turn.view.bucket
        level = Table.grid(padding=(0, 1))
        level.add_row(
            Text("budget", style="dim"),
            ProgressBar(
                total=bucket.budget.capacity or 1, completed=max(0.0, bucket.physical_level()), width=30
            ),
            Text(f"{bucket.physical_level():.1f} of {bucket.budget.capacity:g} core-seconds", style="dim"),
        )
        jobs = Table.grid(padding=(0, 2))
        for job in turn.view.running()[:MEGA]:
            sprinting = job.name in turn.view.grants
            remaining = turn.estimates[job.name].remaining if job.name in turn.estimates else None
            jobs.add_row(
                Text("▲ sprint" if sprinting else "  base", style="bold yellow" if sprinting else "dim"),
                job.name,
                Text(job.kind, style="dim"),
                f"{turn.at - (job.start or turn.at):.1f} s",
                "" if remaining is None else f"{remaining:.1f} s left at base",
            )
        why = next((d.sentence for d in reversed(turn.decisions)), "")
        return Group(Text(self._line(turn)), level, jobs, Text(why, style="dim italic"))
