"""What MLflow is told of a verdict."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
from mlflow.utils.validation import _validate_metric_name

from pipeline.results.folder import RunFolder
from pipeline.retraining.drift import measure_drift
from pipeline.retraining.gates import Comparison
from pipeline.retraining.record import DECISION_FILE, Verdict, log_verdict, write_verdict
from pipeline.tracking.store import Store

COLUMNS = ["a", "km/", "km_", "年龄", "性别", ".", "a/b", "x" * 300]


def verdict(comparison: Comparison | None = None) -> Verdict:
    rng = np.random.default_rng(0)
    columns = {name: rng.standard_normal(100) for name in COLUMNS}
    drift = measure_drift(columns, columns["a"], np.arange(50), np.arange(50, 100), 0.25)
    return Verdict("first run", ("1.csv",), ("2.csv",), 50, 50, (), comparison, drift)


def test_each_column_has_a_chart_whose_name_mlflow_takes() -> None:
    client = Mock()
    client.get_run.return_value = SimpleNamespace(data=SimpleNamespace(metrics={}, tags={}))
    log_verdict(verdict(), Store(client, "", "0", False), "run", "model", "1")
    metrics = client.log_batch.call_args.kwargs["metrics"]
    names = [one.key for one in metrics if one.key.startswith("drift/psi/")]
    for name in names:
        _validate_metric_name(name)
    assert len(set(names)) == len(names) == len(COLUMNS)
    assert {"drift/psi/a", "drift/psi/a_b", "drift/psi/年龄", "drift/psi/性别"} <= set(names)


def test_an_error_without_end_is_null_in_the_decision(tmp_path: Path) -> None:
    folder = RunFolder.open(tmp_path)
    write_verdict(verdict(Comparison("rmse", 1.0, math.inf, 0.0, True, "")), folder)
    said = json.loads(folder.read(DECISION_FILE), parse_constant=lambda name: 1 / 0)
    assert said["comparison"]["challenger"] is None
    assert said["comparison"]["champion"] == 1.0
