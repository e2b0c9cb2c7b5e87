"""Nights in which the retraining is killed between two steps, and the command an operator types."""

import os
import shutil
import signal

import pytest

from pipeline.configuration.reading import load_config
from pipeline.results.folder import RunFolder
from pipeline.retraining.state import read_state
from pipeline.tracking.aliases import CHAMPION, JOURNAL, PREVIOUS, aliases
from pipeline.tracking.store import open_store
from tests.faults.disturbed import qnn
from tests.faults.nights import STEPS, night
from tests.pipeline.retraining.arriving import arrive, home_with_store, text
from tests.pipeline.tracked import runs_of

pytestmark = pytest.mark.slow


@pytest.mark.timeout(1800)
def test_killed_after_any_step_the_next_run_ends_as_if_nothing_had_been(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    data, home = tmp_path / "data", home_with_store(tmp_path / "home")
    config = tmp_path / "sweep.yaml"
    config.write_text(text(data, retrain={"tolerance": 0.4}))
    for k in (1, 2):
        arrive(data, f"day-{k}.parquet", seed=k)
    assert night(config, home, "") == 0
    folder = RunFolder.open(home)
    for version, step in enumerate(STEPS, 2):
        arrive(data, f"day-{version + 1}.parquet", seed=version + 1)
        assert night(config, home, step) == -signal.SIGKILL, step
        assert night(config, home, "") == 0, step
        store = open_store(load_config(config), folder)
        assert aliases(store.client, "arriving") == {
            CHAMPION: str(version), PREVIOUS: str(version - 1)
        }  # fmt: skip
        assert JOURNAL not in store.client.get_registered_model("arriving").tags
        assert len(store.client.search_model_versions("name = 'arriving'")) == version
        assert len(runs_of(store, "sweep")) == version
        state = read_state(folder)
        assert state is not None
        assert state.champion is not None
        assert (state.verdict, state.champion.version) == ("promoted", str(version))
        assert len(state.partitions) == version + 1
    assert sum(name.endswith("decision.json") for name in folder.files("runs")) == len(STEPS) + 1


@pytest.mark.timeout(1800)
def test_what_an_operator_types(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    data, home, config = tmp_path / "data", tmp_path / "home", tmp_path / "sweep.yaml"
    config.write_text(text(data))
    command = ["retrain", str(config), "--out", str(home), "--cpus", "2"]
    for k in (1, 2, 3):
        arrive(data, f"day-{k}.csv", seed=k, count=100)
        if k == 1:
            waiting = qnn(*command)
            assert waiting.returncode == 2
            assert "nothing is left to train on; wait for more" in waiting.stderr
            continue
        done = qnn(*command)
        assert done.returncode == 0, done.stderr
        assert f"promotion: champion is version {k - 1}" in done.stdout
        assert "certificate passed" in done.stdout
    nothing = qnn(*command)
    assert nothing.returncode == 0
    assert "nothing new since the last run (promoted" in nothing.stdout
    arrive(data, "day-4.csv", seed=4, count=600, noise=0.8)
    arrive(data, "day-5.csv", seed=5, count=200)
    dry = qnn(*command, "--dry-run")
    assert dry.returncode == 0
    assert "2 of 5 partitions new" in dry.stdout
    refused = qnn(*command)
    assert refused.returncode == 3, refused.stderr
    assert "metric      REFUSED" in refused.stdout
    assert "refused: version 3 is registered, the champion stays" in refused.stdout
    back = qnn("rollback", "arriving", "--uri", str(home))
    assert (back.returncode, back.stdout) == (
        0, "arriving: rollback: champion is version 1 (was 2), previous is 2\n"
    )  # fmt: skip
    runs = [name for name in os.listdir(home / "runs") if not name.startswith(".")]
    assert len(runs) == 3
    for run in runs:
        assert qnn("verify", str(home / "runs" / run)).returncode == 0
    shutil.rmtree(home / "runs" / sorted(runs)[0])
    assert qnn(*command).returncode == 0
