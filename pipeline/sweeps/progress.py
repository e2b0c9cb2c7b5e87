"""What a person sees while a sweep runs: a bar on a terminal, a line now and then elsewhere.

Of the steps before it, where there are any: one line that is rewritten, or one every tenth.
"""

import logging
import time
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from pipeline.logs.log_lines import wants_json
from pipeline.plans.description import rough_time
from pipeline.plans.study import Step
from pipeline.sweeps.events import Event, TaskBegun, UnitLost

log = logging.getLogger(__name__)

LINE_EVERY = 5.0
# What a tally says before there is a result: Ray's own start is over then, not its workers'.
NO_WORKER, NO_RESULT = "Ray's workers are starting", "no result yet"


class Tally:
    """Counts of what has come in so far."""

    def __init__(self, total: int, before: int = 0) -> None:
        self.total, self.before = total, before
        self.done = before
        self.failed = 0
        self.lost_paths = 0
        self.best_gap: float | None = None
        self.error: str | None = None
        self.under_way = ""
        self.news = NO_WORKER

    def add(self, event: Event) -> None:
        """Count an event in."""
        self.news = NO_RESULT if isinstance(event, TaskBegun) and self.news else ""
        if isinstance(event, Step):
            # What a lost worker had done already comes in a second time.
            self.done = min(self.total, self.done + event.trials)
            self.failed += event.failed
            self.error = event.error or self.error
            if event.best_gap is not None:
                best = self.best_gap
                self.best_gap = event.best_gap if best is None else min(best, event.best_gap)
        elif isinstance(event, UnitLost):
            self.lost_paths += 1
            self.error = event.error

    def text(self) -> str:
        """`12 failed, best gap 1.53 %`, and what a unit under way says."""
        parts = []
        if self.failed:
            parts.append(f"{self.failed} failed")
        if self.lost_paths:
            parts.append(f"{self.lost_paths} paths lost")
        if self.best_gap is not None:
            parts.append(f"best gap {100 * self.best_gap:.3g} %")
        if self.under_way:
            parts.append(self.under_way)
        return ", ".join(parts)


class Reporter(Protocol):
    """A context that shows a tally as it grows."""

    def __enter__(self) -> "Reporter": ...

    def __exit__(self, *error: object) -> None: ...

    def update(self) -> None:
        """Show the tally as it is now; called for each event and each moment without one."""


def reporter(tally: Tally, console: Console) -> Reporter:
    """Return a bar where `console` is a terminal and logs are no JSON, else lines."""
    bar = console.is_terminal and not wants_json()
    return BarReporter(tally, console) if bar else LineReporter(tally)


class WindowTitle:
    """How far it is, where a terminal's window or tab is named, for whoever looks at another one.

    What stood there before is kept and put back by the terminal itself (xterm's control sequences
    22 and 23; a terminal that does not know them passes over them).
    """

    def __init__(self, console: Console) -> None:
        self.console, self.shown = console, ""
        self.able = console.is_terminal and not (console.is_dumb_terminal or console.legacy_windows)

    def show(self, title: str) -> None:
        """Set the title; nothing is written where it stands already."""
        if not self.able or title == self.shown:
            return
        if not self.shown:
            self._write("\x1b[22;2t")
        self.shown = title
        self.console.set_window_title(title)

    def put_back(self) -> None:
        """The title from before the first `show`."""
        if self.shown:
            self._write("\x1b[23;2t")
        self.shown = ""

    def _write(self, sequence: str) -> None:
        self.console.file.write(sequence)
        self.console.file.flush()


class BarReporter:
    """A rich progress bar over trials, and how far it is in the window's title."""

    def __init__(self, tally: Tally, console: Console) -> None:
        self.tally, self.title = tally, WindowTitle(console)
        self.bar = Progress(
            TextColumn("trials"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )

    def __enter__(self) -> "BarReporter":
        self.bar.start()
        # Trials of an earlier run must not count into the speed that the time left is made from.
        text = escape(self.tally.text())
        self.task = self.bar.add_task("", total=self.tally.total, text=text)
        self.bar.update(self.task, completed=self.tally.done)
        return self

    def __exit__(self, *error: object) -> None:
        self.update()
        self.bar.stop()
        self.title.put_back()

    def update(self) -> None:
        """Redraw."""
        # A shard may be named after anything, also what looks like markup.
        text = escape(self.tally.text())
        self.bar.update(self.task, completed=self.tally.done, text=text)
        share = 100 * self.tally.done // max(self.tally.total, 1)
        self.title.show(f"{share} % of {self.tally.total} trials")


class LineReporter:
    """A log line every few seconds, and one at the end."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.start = self.last = time.monotonic()

    def __enter__(self) -> "LineReporter":
        return self

    def __exit__(self, *error: object) -> None:
        self._line()

    def update(self) -> None:
        """Write a line if the last is some seconds old."""
        if time.monotonic() - self.last >= LINE_EVERY:
            self._line()

    def _line(self) -> None:
        self.last = time.monotonic()
        tally, spent = self.tally, self.last - self.start
        new = tally.done - tally.before
        text = f"{tally.done}/{tally.total} trials"
        if tally.text():
            text += f", {tally.text()}"
        text += f", {spent:.0f} s"
        if new and tally.done < tally.total:
            text += f", {rough_time(spent / new * (tally.total - tally.done))} left"
        counts = {"done": tally.done, "total": tally.total, "failed": tally.failed}
        log.info("%s", text, extra={**counts, "gap": tally.best_gap, "seconds": round(spent, 1)})


class StepReporter:
    """How far work is that takes many short steps: a context, told each step as it begins."""

    def __init__(self, what: str, console: Console | None = None) -> None:
        """`what`: the work in a word. A console that is a terminal has one line for all steps."""
        rewrites = console is not None and console.is_terminal and not console.is_dumb_terminal
        self.status = console.status(what) if console and rewrites and not wants_json() else None
        self.what, self.tenth = what, -1

    def __enter__(self) -> "StepReporter":
        if self.status is not None:
            self.status.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.status is not None:
            self.status.stop()

    def tell(self, done: int, total: int, name: str) -> None:
        """A step begins, after so many of at most `total`."""
        text = f"{self.what}, {done + 1} of at most {total}: {name}"
        tenth = 10 * done // max(total, 1)
        if self.status is not None:
            self.status.update(escape(text))
        elif tenth > self.tenth:
            self.tenth = tenth
            log.info("%s", text)
