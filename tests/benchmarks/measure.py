"""What a benchmark row measures: wall and processor seconds, peak memory, the machine's load."""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Measured:
    wall: float
    processor: float

    def __str__(self) -> str:
        return f"{self.wall:.1f} s ({self.processor:.1f} s of processor time)"


class Stopwatch:
    """Wall and processor seconds since it was made; of two threads both count."""

    def __init__(self) -> None:
        self.wall, self.processor = time.perf_counter(), time.process_time()

    def read(self) -> Measured:
        return Measured(time.perf_counter() - self.wall, time.process_time() - self.processor)


def peak_bytes() -> int:
    """Peak resident memory of this process so far, Python and libraries included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def restart_peak() -> int:
    """Count the peak anew from what is resident now, which is returned, in bytes (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")
    return recent_peak_bytes()


def recent_peak_bytes() -> int:
    """Peak resident memory since `restart_peak`, in bytes (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM")


def machine() -> str:
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    return f"{os.cpu_count()} cores, load {load}"


def gib(size: float) -> str:
    return f"{size / 2**30:.2f} GiB"


# A table of a document lies between its mark and this one.
END = "<!-- end of the table -->"


def replace_table(document: Path, mark: str, table: str) -> None:
    """Write what stands between a mark and the next end anew; at the end where there is no mark."""
    before, _, rest = document.read_text().partition(mark)
    _, _, after = rest.partition(END)
    document.write_text(f"{before}{mark}\n\n{table}\n\n{END}{after or chr(10)}")
