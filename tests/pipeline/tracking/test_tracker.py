import json
import logging
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml

from pipeline.configuration.reading import SweepConfig
from pipeline.results import summary
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_results
from pipeline.results.selection import FINAL_SHARD, choose
from pipeline.sweeps.background import TrackerStarting
from pipeline.tracking import tracker as tracking
from pipeline.tracking.store import Store, open_store
from qnn.certificates import verify
from qnn.certificates.record import Certificate
from qnn.networks.quantized import QuantizedNetwork
from tests.pipeline.small import small_config
from tests.pipeline.tracked import artifacts_of, new_folder, run_small, runs_of

TOP = 2


@pytest.fixture(autouse=True)
def _no_tracking_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


class Tracked:
    """A small sweep that was tracked once."""

    def __init__(self, root: Path) -> None:
        self.config: SweepConfig = small_config(root, tracking={"top": TOP})
        new_folder(root / "run")
        self.folder: RunFolder = run_small(self.config, root / "run")
        self.root = root / "run"
        self.track()
        self.histories_at_first = self.histories
        self.store: Store = open_store(self.config, self.folder)

    def track(self, config: SweepConfig | None = None) -> None:
        self.histories: list[str] = []
        read = mlflow.MlflowClient.get_metric_history

        def noted(client: mlflow.MlflowClient, run_id: str, key: str) -> Any:
            self.histories.append(key)
            return read(client, run_id, key)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mlflow.MlflowClient, "get_metric_history", noted)
            tracker = tracking.start(config or self.config, self.folder)
            tracker.finish(*self.outcome())

    def outcome(self) -> tuple[Any, Any, str]:
        results = read_results(self.folder)
        row = summary.champion_row(summary.frame(results))
        assert row is not None
        choice = choose(results, self.config.beta.form, self.config.task)
        return results, choice, str(row["trial"])

    def only(self, role: str) -> Any:
        (run,) = runs_of(self.store, role)
        return run


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    patch = pytest.MonkeyPatch()
    patch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with patch.context():
        return Tracked(tmp_path_factory.mktemp("tracked"))


def test_no_history_is_read_the_first_time(tracked: Tracked) -> None:
    assert tracked.histories_at_first == []


def test_the_sweeps_run_says_what_was_done(tracked: Tracked) -> None:
    run = tracked.only("sweep")
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "small"
    params = run.data.params
    assert (params["seeds"], params["widths"], params["loss"]) == ("0, 1", "4, 8", "squared")
    assert not any(key.startswith(("tracking", "resources")) for key in params)
    results, choice, champion = tracked.outcome()
    row = next(row for row in results.to_pylist() if row["trial"] == champion)
    metrics = run.data.metrics
    assert metrics["trials_done"] == results.num_rows
    assert metrics["trials_failed"] == 0
    assert metrics["champion_gap"] == row["gap"]
    assert metrics["champion_test_accuracy"] == row["test_accuracy"]
    assert metrics["best_validation_accuracy"] == choice.mean
    search = [row["gap"] for row in results.to_pylist() if row["shard"] != FINAL_SHARD]
    assert metrics["best_gap"] == min(search)
    note = run.data.tags["mlflow.note.content"]
    assert "qnn verify" in note
    assert f"{row['lower_bound']:.6g}" in note
    assert "mlflow.source.git.commit" not in run.data.tags


def test_the_curves_along_beta_have_a_point_for_each(tracked: Tracked) -> None:
    run_id = tracked.only("sweep").info.run_id
    for name in ("lower_bound", "upper_bound", "gap", "validation_accuracy"):
        points = tracked.store.client.get_metric_history(run_id, f"path/{name}")
        assert sorted(point.step for point in points) == [0, 1]
    betas = tracked.store.client.get_metric_history(run_id, "path/beta")
    assert [p.value for p in sorted(betas, key=lambda p: p.step)] == sorted(
        (p.value for p in betas), reverse=True
    )


def test_the_data_set_has_the_digest_that_the_certificate_names(tracked: Tracked) -> None:
    (given,) = tracked.only("sweep").inputs.dataset_inputs
    _, _, champion = tracked.outcome()
    row = summary.champion_row(summary.frame(read_results(tracked.folder)), champion)
    assert row is not None
    certificate = Certificate.load(tracked.root / row["certificate"])
    assert given.dataset.digest == certificate.data_sha256[:32]
    assert certificate.data_sha256 in given.dataset.source


def test_the_files_of_a_sweep(tracked: Tracked) -> None:
    run_id = tracked.only("sweep").info.run_id
    assert artifacts_of(tracked.store, run_id) == {
        *("report.html", "sweep.yaml", "results/results.parquet", "results/table.json"),
        *("figures/bounds.png", "figures/gap_and_width.png", "figures/metric_along_beta.png"),
        *("figures/metric_and_size.png", "figures/objective_and_width.png", "figures/rounding.png"),
        "figures/reliability.png",
    }
    local = mlflow.artifacts.download_artifacts(
        run_id=run_id, artifact_path="results/table.json", tracking_uri=tracked.store.uri
    )
    table = json.loads(Path(local).read_text())
    assert table["columns"][:3] == ["validation_accuracy", "test_accuracy", "gap"]
    assert len(table["data"]) == read_results(tracked.folder).num_rows


def test_each_child_run_has_network_certificate_and_model(tracked: Tracked) -> None:
    children = [*runs_of(tracked.store, "champion"), *runs_of(tracked.store, "top")]
    assert len(children) == TOP + 1
    rows = {row["trial"]: row for row in read_results(tracked.folder).to_pylist()}
    parent = tracked.only("sweep").info.run_id
    for run in children:
        assert run.info.status == "FINISHED"
        assert run.data.tags["mlflow.parentRunId"] == parent
        row = rows[run.data.tags["qnn.trial"]]
        for key in ("gap", "lower_bound", "upper_bound", "train_accuracy", "bytes", "beta"):
            assert run.data.metrics[key] == row[key]
        names = {f"{key}/{row[key].rpartition('/')[2]}" for key in ("network", "certificate")}
        files = artifacts_of(tracked.store, run.info.run_id)
        assert files >= names | {"certificate/certificate.html", "network/MLmodel"}


def test_the_logged_certificate_proves_its_bound(tracked: Tracked) -> None:
    from pipeline.results.matrices import matrices

    run = tracked.only("champion")
    local = Path(
        mlflow.artifacts.download_artifacts(
            run_id=run.info.run_id, artifact_path="certificate", tracking_uri=tracked.store.uri
        )
    )
    certificate = Certificate.load(next(local.glob("*.npz")))
    X, y = matrices(tracked.folder.read_table(certificate.data))
    assert verify(certificate, X, y) >= run.data.metrics["lower_bound"]
    page = (local / "certificate.html").read_text()
    assert certificate.data_sha256 in page
    assert f"{certificate.lower_bound:.8g}" in page
    assert "qnn verify" in page


def test_the_champion_is_registered(tracked: Tracked) -> None:
    run = tracked.only("champion")
    client = tracked.store.client
    version = client.get_model_version_by_alias("small", "champion")
    assert version.run_id == run.info.run_id
    assert version.tags["run"].endswith(run.info.run_id)
    assert version.tags["certificate"].endswith("certificate/certificate.html")
    assert "No network of any width gets below" in version.description
    assert client.get_registered_model("small").description


PREDICT = """
import os, sys
blocked = ("sklearn", "numba", "cvxpy", "scs", "clarabel", "ray", "pipeline")
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ImportError("blocked: " + name)
import pickle
sys.meta_path.insert(0, Block())
sys.path = [p for p in sys.path if os.path.abspath(p or ".") != {repository!r}]
import mlflow, numpy as np, pandas as pd
def refuse(*a, **k):
    raise AssertionError("unpickled")
pickle.load = pickle.loads = pickle.Unpickler = refuse
import cloudpickle
cloudpickle.load = cloudpickle.loads = refuse
mlflow.set_tracking_uri({uri!r})
model = mlflow.pyfunc.load_model("models:/small@champion")
rows = pd.read_csv({rows!r})
import qnn
assert "/code/" in qnn.__file__, qnn.__file__
np.savez({out!r}, labels=np.asarray(model.predict(rows)).astype(str),
         scores=model.predict(rows, params={{"output": "score"}}))
"""


def test_the_champion_predicts_in_a_bare_process(tracked: Tracked, tmp_path: Path) -> None:
    """By the alias, without our package, the solvers' dependencies, or any unpickling."""
    rows = pd.read_csv(tracked.config.data.source).drop(columns="target").head(20)
    rows.to_csv(tmp_path / "rows.csv", index=False)
    out = tmp_path / "out.npz"
    script = PREDICT.format(
        repository=str(Path(tracking.__file__).parents[2]),
        uri=tracked.store.uri,
        rows=str(tmp_path / "rows.csv"),
        out=str(out),
    )
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], check=True, cwd=tmp_path, env=environment
    )
    _, _, champion = tracked.outcome()
    network = QuantizedNetwork.load(tracked.root / "networks" / f"{champion}.npz")
    found = np.load(out)
    assert np.array_equal(found["labels"], network.predict(rows))
    assert np.array_equal(found["scores"], network.scores(rows))


def test_the_model_has_signature_and_example(tracked: Tracked) -> None:
    run = tracked.only("champion")
    info = tracked.store.client.get_logged_model(run.data.tags["qnn.model_id"])
    place = Path(info.artifact_location.removeprefix("file://"))
    description = (place / "MLmodel").read_text()
    assert '"name": "output"' in description
    columns = yaml.safe_load(description)["metadata"]["columns"]
    assert {"name": "a", "holds": "numbers", "required": True} in columns
    assert (place / "input_example.json").exists()
    assert not list(place.rglob("*.pkl"))
    assert info.metrics


def test_tracking_again_doubles_nothing(tracked: Tracked) -> None:
    before = everything(tracked)
    tracked.track()
    assert everything(tracked) == before


def test_what_a_dead_driver_left_is_finished(tracked: Tracked) -> None:
    """A driver that died in the middle: the run RUNNING, a child without its marks."""
    before = everything(tracked)
    client, run = tracked.store.client, tracked.only("sweep")
    client.update_run(run.info.run_id, status="RUNNING")
    client.delete_tag(run.info.run_id, "qnn.logged")
    top = runs_of(tracked.store, "top")[0]
    client.delete_tag(top.info.run_id, "qnn.logged")
    tracked.track()
    assert everything(tracked) == before
    # Over HTTP each of them is a request.
    curves = ("beta", "gap", "lower_bound", "upper_bound", "validation_accuracy")
    assert tracked.histories == [f"path/{name}" for name in curves]


def everything(tracked: Tracked) -> dict[str, Any]:
    client = tracked.store.client
    runs = [r for role in ("sweep", "champion", "top") for r in runs_of(tracked.store, role)]
    return {
        "runs": [(r.info.run_id, r.info.status, r.data.params, sorted(r.data.tags)) for r in runs],
        "points": [
            (r.info.run_id, name, len(client.get_metric_history(r.info.run_id, name)))
            for r in runs
            for name in sorted(r.data.metrics)
            if name != "wall_seconds"
        ],
        "inputs": [len(r.inputs.dataset_inputs) for r in runs],
        "versions": [v.version for v in client.search_model_versions("name = 'small'")],
        "models": len(client.search_logged_models([tracked.store.experiment_id])),
    }


def test_a_lost_tracking_file_loses_the_run_but_not_the_results(tmp_path: Path) -> None:
    config = small_config(tmp_path, tracking={"top": 0})
    folder = new_folder(tmp_path / "run")
    first = tracking.start(config, folder)
    assert tracking.start(config, folder).run_id == first.run_id
    folder.write("tracking.json", b"{cut")
    assert tracking.start(config, folder).run_id != first.run_id


def test_a_run_made_just_before_the_driver_died_is_found(tmp_path: Path) -> None:
    config = small_config(tmp_path)
    folder = new_folder(tmp_path / "run")
    run_id = tracking.start(config, folder).run_id
    record = json.loads(folder.read("tracking.json"))
    folder.write("tracking.json", json.dumps({"key": record["key"]}).encode())
    assert tracking.start(config, folder).run_id == run_id


@pytest.mark.parametrize("status", ["KILLED", "FAILED"])
def test_a_run_can_be_ended_early_and_taken_up_again(tmp_path: Path, status: str) -> None:
    config = small_config(tmp_path)
    folder = new_folder(tmp_path / "run")
    tracker = tracking.start(config, folder)
    assert tracker.store.client.get_run(tracker.run_id).info.status == "RUNNING"
    tracker.end(status)
    assert tracker.store.client.get_run(tracker.run_id).info.status == status
    again = tracking.start(config, folder)
    assert again.run_id == tracker.run_id
    assert again.store.client.get_run(tracker.run_id).info.status == "RUNNING"


def test_a_failure_while_logging_marks_the_run(tmp_path: Path, tracked: Tracked) -> None:
    """The network of a row is gone: the run says FAILED, and the error is passed on."""
    config = small_config(tmp_path, tracking={"top": 1})
    folder = new_folder(tmp_path / "run")
    results, choice, champion = tracked.outcome()
    tracker = tracking.start(config, folder)
    with pytest.raises(FileNotFoundError):
        tracker.finish(results, choice, champion)
    assert tracker.store.client.get_run(tracker.run_id).info.status == "FAILED"


def test_a_server_that_is_away_is_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    config = small_config(tmp_path, tracking={"uri": "http://127.0.0.1:9"})
    folder = new_folder(tmp_path / "run")
    with caplog.at_level(logging.WARNING):
        starting = TrackerStarting(tracking.start, config, folder)
        starting.finish(read_results(folder), None, None)
    assert starting.error is not None
    assert [r.name for r in caplog.records if r.levelno >= logging.WARNING] == [
        "pipeline.sweeps.background"
    ]
    assert "results are kept" in caplog.text


def test_a_server_that_comes_up_during_the_sweep_is_tracked_to(tmp_path: Path) -> None:
    told: list[object] = []

    class Fine:
        command = ""

        def finish(self, results: object, choice: object, champion: object) -> None:
            told.append(champion)

        def end(self, status: str) -> None:
            told.append(status)

    def start(config: SweepConfig, folder: RunFolder) -> Fine:
        starts.append(folder)
        if len(starts) == 1:
            raise ConnectionError("not up yet")
        return Fine()

    starts: list[RunFolder] = []
    folder = RunFolder.open(tmp_path)
    starting = TrackerStarting(start, small_config(tmp_path), folder)
    starting.finish(read_results(folder), None, "best")
    assert (starting.error, told, len(starts)) == (None, ["best"], 2)


def test_the_experiment_has_a_view_of_its_key_figures(tracked: Tracked) -> None:
    experiment = tracked.store.client.get_experiment(tracked.store.experiment_id)
    link = f"#/experiments/{tracked.store.experiment_id}/runs?viewStateShareKey=qnn"
    assert link in experiment.tags["mlflow.note.content"]
    view = json.loads(experiment.tags["mlflow.sharedViewState.qnn"])
    run = tracked.only("sweep")
    shown = {name.split("`")[1] for name in view["selectedColumns"]} & set(run.data.metrics)
    assert {"champion_test_accuracy", "champion_gap", "champion_bytes", "trials_done"} <= shown


def test_the_tracking_uri_of_the_process_is_left_alone(tracked: Tracked) -> None:
    assert "MLFLOW_TRACKING_URI" not in os.environ
    assert mlflow.active_run() is None
    assert mlflow.get_tracking_uri() not in ("", tracked.store.uri)
