"""Sweeps in processes of their own, ways to disturb them, and what was lost or doubled by it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_results
from tests.pipeline.small import config_text, rows_of

COUNTS = Path(__file__).parents[1] / "artifacts" / "faults.jsonl"
# Seconds after which what is waited for will not come, also on a machine that is very busy.
PATIENCE = 1200.0
DRIVER = """
import sys
from pathlib import Path
import pipeline.reports.page
from pipeline.configuration.reading import load_config
from pipeline.sweeps.interrupts import SweepInterrupted
from pipeline.sweeps.driver import SweepOptions, run_sweep

class Tracker:
    command = ""
    def __init__(self, config, folder):
        self.folder = folder
    def finish(self, results, choice, champion):
        pass
    def end(self, status):
        Path(self.folder.location + "-status").write_text(status)

pipeline.reports.page.write_report = lambda folder, trial: None
mode = sys.argv[3]
try:
    outcome = run_sweep(load_config(sys.argv[1]), sys.argv[2],
                        SweepOptions(inline=mode == "inline", cpus=2,
                                     address=None if mode in ("inline", "ray") else mode),
                        start_tracking=Tracker)
except SweepInterrupted as interrupt:
    sys.exit(interrupt.exit_code)
sys.exit(outcome.exit_code)
"""


@dataclass(frozen=True)
class Damage:
    """Rows that an undisturbed run has and this one lacks, and rows that are there twice."""

    faults: int
    lost: int
    doubled: int


def damage(name: str, faults: int, out: Path, undisturbed: Path) -> Damage:
    """Compare the tables row for row, timings aside; the counts go to the test artifacts."""
    trials = Counter(read_results(RunFolder.open(out))["trial"].to_pylist())
    wanted = {json.dumps(row, sort_keys=True) for row in rows_of(undisturbed).to_pylist()}
    found = {json.dumps(row, sort_keys=True) for row in rows_of(out).to_pylist()}
    counted = Damage(faults, len(wanted - found), sum(n - 1 for n in trials.values()))
    COUNTS.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"test": name, **asdict(counted)})
    with COUNTS.open("a") as file:
        file.write(line + "\n")
    print(line)
    assert len(found) == len(wanted)
    return counted


def drive(config: Path, out: Path, mode: str) -> "subprocess.Popen[bytes]":
    """Run a sweep without tracking; `mode`: "inline", "ray", or the address of a cluster."""
    return subprocess.Popen([sys.executable, "-c", DRIVER, str(config), str(out), mode])


def qnn(*arguments: str, timeout: float = PATIENCE, **environment: str) -> (
    "subprocess.CompletedProcess[str]"
):  # fmt: skip
    """Run the command `qnn` to its end."""
    return subprocess.run(
        [sys.executable, "-c", "from pipeline.commands.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, **environment},
    )


def wait_for(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Return as soon as it holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def some_results(out: Path) -> bool:
    """Whether a path is finished."""
    return (out / "results").is_dir() and any((out / "results").glob("*.parquet"))


def many_paths(folder: Path, count: int = 8) -> Path:
    """A sweep of so many paths, so that a fault after the first finds it in the middle."""
    file = folder / "sweep.yaml"
    shards = {"kind": "kfold", "count": count}
    file.write_text(config_text(folder, shards=shards, seeds=[0, 1, 2]))
    return file


def descendants(pid: int) -> Iterator[int]:
    """The processes that a process has started, and those that these have."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    below = {pid}
    while more := {child for child, parent in parents.items() if parent in below} - below:
        below |= more
    yield from below - {pid}


def working(pid: int) -> list[int]:
    """Ray workers under a process that are computing a path: Ray names them after their task."""
    found = []
    for child in descendants(pid):
        try:
            title = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ")
        except OSError:
            continue
        if title.startswith(b"ray::") and b"betas" in title:
            found.append(child)
    return found


CLUSTER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
nodes = []
print(cluster.address, flush=True)
for line in sys.stdin:
    if line.strip() == "add":
        nodes.append(cluster.add_node(num_cpus=2))
    else:
        cluster.remove_node(nodes.pop(), allow_graceful=False)
    print("done", flush=True)
cluster.shutdown()
"""


class StandingCluster:
    """A Ray cluster of several nodes on this machine, outside of any driver."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.address = self._answer()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(("done", "127.", "1", "2")):
                return line.strip()
        raise RuntimeError(f"the cluster ended with {self.process.wait()}")

    def tell(self, command: str) -> None:
        """ "add" a node, or "kill" the one added last, without asking it."""
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        assert self._answer() == "done"


@contextmanager
def standing_cluster(folder: Path) -> Iterator[StandingCluster]:
    """A cluster whose head has one CPU; it asks for a token, as every cluster should."""
    token = folder / "token"
    token.write_text("0123456789abcdef" * 4)
    token.chmod(0o600)
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(token))
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        yield StandingCluster(process)
    finally:
        del os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN_PATH"]
        assert process.stdin is not None
        own = list(descendants(process.pid))
        process.stdin.close()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            for pid in [process.pid, *own]:
                os.kill(pid, signal.SIGKILL)
