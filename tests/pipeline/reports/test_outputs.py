"""A network of several outputs on the report, in MLflow and in exports."""

from pathlib import Path

import mlflow
import numpy as np
import onnxruntime
import pyarrow.csv
import pytest

from pipeline.commands.cli import main
from pipeline.reports.certificate import render_outputs
from pipeline.reports.page import collect, render_report
from pipeline.results import summary
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_results
from pipeline.results.parts import parts_of
from pipeline.results.record import NetworkRow
from pipeline.results.selection import choose
from pipeline.retraining.gates import certificate_gate
from pipeline.sweeps.driver import prepare
from pipeline.tracking import tracker as tracking
from pipeline.tracking.store import open_store, pointed_at
from qnn.certificates import verify
from qnn.certificates.record import Certificate
from qnn.networks.quantized import QuantizedNetwork
from qnn.training.problems.problem import Problem
from tests.pipeline.classes import LABELS, classes_config
from tests.pipeline.tracked import artifacts_of, new_folder, run_small, runs_of

FRACTION = 0.25


class Tracked:
    """A small sweep of three classes at one β, tracked once."""

    def __init__(self, root: Path) -> None:
        self.config = classes_config(
            root, widths=[8], beta={"fractions": [FRACTION]}, tracking={"top": 1}
        )
        new_folder(root / "run")
        self.folder: RunFolder = run_small(self.config, root / "run")
        self.results = read_results(self.folder)
        row = summary.champion_row(summary.frame(self.results))
        assert row is not None
        self.row = NetworkRow.of(row)
        choice = choose(self.results, "fractions", "classification")
        tracking.start(self.config, self.folder).finish(self.results, choice, row["trial"])
        self.store = open_store(self.config, self.folder)
        self.test = pyarrow.csv.read_csv(root / "classes.csv").to_pandas().iloc[
            prepare(self.config).split.test_rows
        ]  # fmt: skip


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return Tracked(tmp_path_factory.mktemp("outputs"))


def test_the_report_names_the_classes_and_their_certificates(tracked):
    page = render_report(collect(tracked.folder))
    assert "Its 3 outputs" in page
    assert "a&lt;b</th>" in page
    assert "b &amp; c</th>" in page
    assert "a<b" not in page.replace("a<br", "")
    for name in tracked.row.bounds.files:
        assert name in page
    assert "3, one a class" in page
    # Networks of one output alone are none of the sweep's networks.
    assert "3 quantized networks trained" in page


def test_the_page_of_the_sum_lists_every_output(tracked):
    parts = parts_of(tracked.results, tracked.row)
    page = render_outputs(tracked.row, parts, tracked.folder.read(tracked.row.fit.network))
    assert f"{tracked.row.bounds.lower_bound:.8g}" in page
    for part, label in zip(parts, ("a&lt;b", "b &amp; c", "c"), strict=True):
        assert f">{label}</th>" in page
        assert f">{part.bounds.lower_bound:.6g}</td>" in page


def test_beta_from_the_config_to_the_metric_and_to_the_certificates(tracked):
    (run,) = runs_of(tracked.store, "champion")
    metrics = run.data.metrics
    names = artifacts_of(tracked.store, run.info.run_id)
    with pointed_at(tracked.store):
        local = Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id))
    files = [Path(name).name for name in tracked.row.bounds.files]
    certificates = [Certificate.load(local / "certificate" / name) for name in files]
    data = tracked.folder.read_table(certificates[0].data).to_pandas()
    X, Y = data.filter(regex="^x").to_numpy(), data.filter(regex="^y").to_numpy()
    beta_max = max(Problem(X, y, beta=1.0).beta_max for y in Y.T)
    # Workers compute on one thread, this test perhaps on more: the last digits differ.
    assert metrics["beta"] == pytest.approx(FRACTION * beta_max, rel=1e-12)
    assert {certificate.beta for certificate in certificates} == {metrics["beta"]}
    bounds = [verify(one, X, np.ascontiguousarray(Y[:, one.output])) for one in certificates]
    assert metrics["lower_bound"] <= sum(bounds)
    assert metrics["lower_bound"] == pytest.approx(sum(bounds), rel=1e-6)
    network = QuantizedNetwork.load(next((local / "network").iterdir()))
    assert network.beta == metrics["beta"]
    f = network.decision_function(X)
    objective = 0.5 * np.sum((f - Y) ** 2) + metrics["beta"] * X.shape[1] * np.sum(
        np.abs(network.alpha)
    )
    assert metrics["upper_bound"] == pytest.approx(objective, rel=1e-10)
    assert metrics["lower_bound"] <= metrics["upper_bound"]
    assert {f"certificate/output-{k}.html" for k in range(3)} <= names
    assert "certificate/certificate.html" in names
    assert "Proven by 3 certificates" in run.data.tags["mlflow.note.content"]
    assert "one class against the rest" in (local / "certificate/output-2.html").read_text()
    page = (local / "certificate" / "certificate.html").read_text()
    assert all(name in page for name in files)


def test_the_logged_model_predicts_classes(tracked):
    (run,) = runs_of(tracked.store, "champion")
    with pointed_at(tracked.store):
        model = mlflow.pyfunc.load_model(f"models:/{run.data.tags['qnn.model_id']}")
    rows = tracked.test.drop(columns="target")
    said = model.predict(rows)
    assert set(said) <= set(LABELS)
    assert np.mean(said == tracked.test["target"].to_numpy()) == tracked.row.fit.test_accuracy
    assert model.predict(rows, params={"output": "score"}).shape == (len(rows), 3)


def test_the_gate_of_retraining_proves_every_output(tracked, tmp_path):
    gate = certificate_gate(tracked.folder, tracked.row)
    assert gate.passed
    assert all(name in gate.text for name in tracked.row.bounds.files)


def test_an_export_predicts_the_same(tracked, tmp_path, monkeypatch):
    network = f"{tracked.folder.location}/{tracked.row.fit.network}"
    target = tmp_path / "network.onnx"
    monkeypatch.setattr("sys.argv", ["qnn", "export", network, "--format", "onnx",
                                     "--out", str(target)])  # fmt: skip
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code in (None, 0)
    session = onnxruntime.InferenceSession(target.read_bytes())
    rows = tracked.test.drop(columns="target")
    (said,) = session.run(["prediction"], {"numbers": rows.to_numpy(dtype=np.float64)})
    assert list(said) == list(QuantizedNetwork.load(network).predict(rows))
