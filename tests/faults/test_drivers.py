"""A driver that is killed, interrupted, or started twice."""

import random
import signal
import subprocess
import sys
import time
from itertools import takewhile
from pathlib import Path

import pytest

from pipeline.configuration.reading import dump_config
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_results, results_file
from pipeline.results.verification import verify_paths
from pipeline.sweeps.driver import SweepOptions, prepare, run_sweep
from qnn.errors import InputError
from tests.faults.disturbed import (
    PATIENCE,
    Damage,
    damage,
    descendants,
    drive,
    many_paths,
    some_results,
    standing_cluster,
    wait_for,
)
from tests.pipeline.classes import classes_config
from tests.pipeline.small import files_of, long_sweep, small_config

RUNS, PATHS = 20, 60
MODES = ["inline", pytest.param("ray", marks=pytest.mark.slow)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("moment", ["first network", "first path"])
def test_killed_drivers_lose_and_double_nothing(tmp_path, undisturbed, mode, moment):
    out = tmp_path / "run"
    with drive(many_paths(tmp_path), out, mode) as driver:
        reached = {
            "first network": lambda: (out / "networks").is_dir(),
            "first path": lambda: some_results(out),
        }
        wait_for(reached[moment])
        driver.kill()
    assert (out / "sweep.lock").exists()
    folder = RunFolder.open(out)
    kept = {file: folder.read(file) for file in folder.files("results")}
    assert len(kept) < 9
    with drive(many_paths(tmp_path), out, mode) as driver:
        assert driver.wait(PATIENCE) == 0
    assert {file: folder.read(file) for file in kept} == kept
    assert damage(f"driver killed at the {moment} ({mode})", 1, out, undisturbed) == Damage(1, 0, 0)
    assert files_of(out) == files_of(undisturbed)
    assert not (out / "sweep.lock").exists()


def test_a_driver_killed_between_the_outputs_and_their_join_goes_on_with_the_joins(tmp_path):
    config = classes_config(tmp_path)
    sweep, out = tmp_path / "classes.yaml", tmp_path / "run"
    sweep.write_text(dump_config(config))
    plan = prepare(config).plan
    with drive(sweep, out, "inline") as driver:
        wait_for(lambda: finished(out) >= len(plan.paths))
        driver.kill()
    folder = RunFolder.open(out)
    kept = {file: folder.read(file) for file in folder.files("results")}
    assert {results_file(path.id) for path in plan.paths} <= set(kept)
    assert results_file(plan.joins[-1].id) not in kept
    with drive(sweep, out, "inline") as driver:
        assert driver.wait(PATIENCE) == 0
    assert {file: folder.read(file) for file in kept} == kept
    with drive(sweep, tmp_path / "alone", "inline") as driver:
        assert driver.wait(PATIENCE) == 0
    assert damage("driver killed before the joins", 1, out, tmp_path / "alone") == Damage(1, 0, 0)
    assert files_of(out) == files_of(tmp_path / "alone")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_interrupted_drivers_end_in_seconds_and_say_killed(tmp_path, mode, signum, code):
    out = tmp_path / "run"
    with drive(many_paths(tmp_path), out, mode) as driver:
        wait_for(lambda: some_results(out))
        start = time.monotonic()
        driver.send_signal(signum)
        assert driver.wait(60) == code
        assert time.monotonic() - start < (5 if mode == "inline" else 20)
    assert (tmp_path / "run-status").read_text() == "KILLED"
    assert not (out / "sweep.lock").exists()
    kept = RunFolder.open(out).files("results")
    assert 0 < len(kept) < 9
    assert all(check.ok for check in verify_paths([str(out)]))


@pytest.mark.slow
@pytest.mark.parametrize("again", [0.0, 0.1, 0.3, None])
def test_a_sweep_interrupted_twice_says_what_is_kept_and_goes_on(tmp_path, again):
    """`again`: seconds to the second Ctrl-C; None: as soon as the line is there."""
    out = tmp_path / "run"
    command = [Path(sys.executable).with_name("qnn"), "sweep", many_paths(tmp_path), "--out", out]
    line = f"interrupted (SIGINT): what is finished is kept in {out}; the same command goes on"
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as sweep:
        wait_for(lambda: some_results(out))
        sweep.send_signal(signal.SIGINT)
        said = []
        if again is None:
            said = [*takewhile(lambda one: not one.startswith(line), sweep.stderr), line]
        else:
            time.sleep(again)
        sweep.send_signal(signal.SIGINT)
        said += sweep.stderr.readlines()
        assert sweep.wait(60) == 130
    assert said[-1].startswith(line)
    assert sum("interrupted" in one for one in said) == 1
    assert not any("Traceback" in one for one in said)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "paths are finished already" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["the servers start", "the driver joins them"])
def test_sigterm_while_ray_starts_ends_at_once(tmp_path, moment):
    with drive(many_paths(tmp_path), tmp_path / "run", "ray") as driver:
        reached = {
            "the servers start": lambda: any(descendants(driver.pid)),
            # From here on until Ray has started, its own handlers of signals are in place.
            "the driver joins them": lambda: catches(driver.pid, signal.SIGSEGV),
        }
        wait_for(reached[moment])
        driver.send_signal(signal.SIGTERM)
        assert driver.wait(30) == 143
    assert not (tmp_path / "run" / "sweep.lock").exists()


def catches(pid: int, signum: signal.Signals) -> bool:
    """Whether a process has a handler for this signal."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return bool(int(status["SigCgt"], 16) >> (signum - 1) & 1)


def test_a_second_sweep_in_the_folder_is_refused_while_the_first_runs(tmp_path):
    out = tmp_path / "run"
    with drive(many_paths(tmp_path), out, "inline") as driver:
        wait_for(lambda: (out / "networks").is_dir())
        with pytest.raises(InputError, match=rf"another sweep is running .*process {driver.pid}"):
            run_sweep(small_config(tmp_path), str(out), SweepOptions(inline=True))
        driver.kill()


def finished(out: Path) -> int:
    """How many paths have their results."""
    return len(list((out / "results").glob("*.parquet")))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_sigterm_at_random_times_then_a_resume(tmp_path):
    config, out, undisturbed = long_sweep(tmp_path, PATHS), tmp_path / "run", tmp_path / "alone"
    chance = random.Random(20)
    stopped, in_the_middle, counts = 0, 0, [0]
    with standing_cluster(tmp_path) as cluster:
        with drive(config, undisturbed, cluster.address) as driver:
            wait_for((undisturbed / "sweep.lock").exists)
            begun = time.monotonic()
            wait_for(lambda: some_results(undisturbed))
            working = time.monotonic()
            assert driver.wait(900) == 0
            starting, share = working - begun, (time.monotonic() - working) / RUNS
        for _ in range(RUNS):
            with drive(config, out, cluster.address) as driver:
                wait_for((out / "sweep.lock").exists)
                if chance.random() < 0.2:
                    # From before Ray is joined to the first results.
                    time.sleep(chance.uniform(0.0, starting))
                else:
                    # In the work: on a machine that got slower, too.
                    wait_for(lambda: finished(out) > counts[-1])
                    time.sleep(chance.uniform(0.0, share))
                driver.send_signal(signal.SIGTERM)
                code = driver.wait(120)
            counts.append(finished(out))
            assert code in (0, 143)
            stopped += code == 143
            in_the_middle += code == 143 and counts[-2] < counts[-1] < PATHS
        with drive(config, out, cluster.address) as driver:
            assert driver.wait(900) == 0
    print(f"{stopped} stopped, {in_the_middle} in the middle; finished paths after each: {counts}")
    assert counts == sorted(counts)
    assert stopped >= in_the_middle >= RUNS // 2
    assert damage("SIGTERM at random times", stopped, out, undisturbed) == Damage(stopped, 0, 0)
    assert len(read_results(RunFolder.open(out))) == PATHS * 3 + 1
    assert files_of(out) == files_of(undisturbed)
