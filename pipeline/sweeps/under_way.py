"""What units say of themselves while a step takes long: a line each, in the run's folder.

Not among the events of a task: Ray counts those of one that it starts again, and how many lines
there are depends on the clock. A unit's line goes when the unit ends.
"""

from __future__ import annotations

import time
from contextlib import suppress

from pipeline.results.folder import RunFolder, StoreError

UNDER_WAY = "under_way"
# The share of its time that a unit spends on saying how far it is, and seconds between two looks.
SHARE = 0.05
LOOK_EVERY = 2.0


class Saying:
    """What a worker says of one unit; a folder that cannot be written to is no fault here."""

    def __init__(self, folder: RunFolder, unit: str) -> None:
        self.folder, self.file = folder, f"{UNDER_WAY}/{unit}.txt"
        self.said, self.ready = False, 0.0

    def __call__(self, text: str) -> None:
        """Say a line instead of the one before; left out where writing takes too much time."""
        begin = time.monotonic()
        if begin < self.ready:
            return
        self.said = True
        with suppress(StoreError):
            self.folder.write(self.file, text.encode())
        end = time.monotonic()
        self.ready = end + (end - begin) / SHARE

    def end(self) -> None:
        """Take the line away."""
        if self.said:
            with suppress(StoreError, OSError):
                self.folder.remove(self.file)


class Hearing:
    """What the driver hears of the units under way."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder, self.text, self._looked = folder, "", time.monotonic()

    def look(self) -> str:
        """The line of one unit, and how many others say something; looks every few seconds."""
        now = time.monotonic()
        if now - self._looked >= LOOK_EVERY:
            self._looked = now
            with suppress(StoreError, OSError):
                self.text = self._lines()
        return self.text

    def _lines(self) -> str:
        files = self.folder.files(UNDER_WAY, ".txt")
        for k, file in enumerate(files):
            with suppress(FileNotFoundError, UnicodeDecodeError):
                others = len(files) - k - 1
                text = self.folder.read(file).decode()
                return f"{text} (and {others} more)" if others else text
        return ""

    def close(self) -> None:
        """Take away what dead workers left."""
        self.text = ""
        with suppress(StoreError, OSError):
            self.folder.remove_folder(UNDER_WAY)
