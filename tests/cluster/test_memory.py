"""5,000 tiny trials: what the driver holds does not grow with them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.pipeline.small import config_text

pytestmark = pytest.mark.slow

TRIALS = 5_000
# What an allocator may keep; a driver that held what it gets (10 KB a trial) would hold 50 MB more.
SLACK_BYTES = 25e6

PROGRAM = """
import sys
from pipeline.configuration.reading import load_config
from pipeline.sweeps.driver import SweepOptions, run_sweep
import pipeline.reports.page
pipeline.reports.page.write_report = lambda folder, trial: None
outcome = run_sweep(load_config(sys.argv[1]), sys.argv[2], SweepOptions(cpus=2))
print(len(outcome.results), outcome.exit_code)
"""


def resident(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * float(os.sysconf("SC_PAGE_SIZE"))


def test_the_drivers_memory_stays_flat(tmp_path: Path) -> None:
    config = tmp_path / "many.yaml"
    text = config_text(
        tmp_path,
        shards={"kind": "parts", "count": 4},
        beta={"fractions": {"start": 0.5, "stop": 0.05, "count": 25}},
        seeds=list(range(50)),
        widths=[2],
        rounding=["krivine"],
        relaxation={"tol": 1e-2},
    )
    config.write_text(text)
    driver = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(config), str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        text=True,
    )
    samples: list[tuple[int, float]] = []
    networks = tmp_path / "out" / "networks"
    while driver.poll() is None:
        done = (
            sum(not entry.name.startswith(".") for entry in os.scandir(networks))
            if (networks.exists())
            else 0
        )
        samples.append((done, resident(driver.pid)))
        time.sleep(0.2)
    out, _ = driver.communicate()
    assert out.split() == [str(TRIALS + 50), "0"]
    early = [size for done, size in samples if 500 <= done < 1500]
    late = [size for done, size in samples if 4000 <= done < TRIALS]
    assert early, samples
    assert late, samples
    print(f"driver: {max(early) / 1e6:.0f} MB early, {max(late) / 1e6:.0f} MB late")
    assert max(late) - min(early) < SLACK_BYTES
