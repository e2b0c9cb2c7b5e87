"""Several targets of a regression: a path a target, joined to whole networks."""

import json
import math
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import onnxruntime
import pandas as pd
import pyarrow.csv
import pytest
from sklearn.metrics import r2_score

from pipeline.commands.cli import main
from pipeline.reports.certificate import render_certificate, render_outputs
from pipeline.reports.page import collect, render_report
from pipeline.results import summary
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_results
from pipeline.results.parts import parts_of
from pipeline.results.record import NetworkRow
from pipeline.results.record import rows_of as network_rows
from pipeline.results.selection import best_refit, choose
from pipeline.results.verification import verify_paths
from pipeline.sweeps.driver import SweepOptions, prepare, run_sweep
from pipeline.tracking import tracker as tracking
from pipeline.tracking.store import open_store, pointed_at
from qnn.features.targets import TargetCoding
from qnn.networks.exports.json import to_json
from qnn.networks.quantized import QuantizedNetwork
from tests.pipeline.small import files_of, rows_of, small_config
from tests.pipeline.targets import JOINED, PARTS, TARGETS, targets_config, targets_text
from tests.pipeline.tracked import new_folder, run_small, runs_of
from tests.qnn.networks.exports.test_c_header import FLAGS

INLINE = SweepOptions(inline=True)
Row = dict[str, Any]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    home = tmp_path_factory.mktemp("targets")
    new_folder(home / "run")
    return run_small(targets_config(home), home / "run")


def split_rows(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """Whole networks and networks of one output."""
    whole = [row for row in rows if row["output"] is None]
    return whole, [row for row in rows if row["output"] is not None]


def table_of(folder: Path) -> pd.DataFrame:
    targets_config(folder)
    return pyarrow.csv.read_csv(folder / "targets.csv").to_pandas()


def network_of(run: RunFolder, row: Row) -> QuantizedNetwork:
    return QuantizedNetwork.from_bytes(run.read(row["network"]), row["network"])


def test_each_target_has_rows_and_each_network_is_joined(run):
    whole, parts = split_rows(read_results(run).to_pylist())
    assert (len(whole), len(parts)) == (JOINED + 1, PARTS + 3)
    axes = ("shard", "beta_fraction", "width")
    for row in whole:
        own = [part for part in parts if all(part[axis] == row[axis] for axis in axes)]
        own.sort(key=lambda part: part["output"])
        assert [part["output"] for part in own] == [0, 1, 2]
        assert row["certificates"] == [part["certificate"] for part in own]
        exact = sum(Fraction(part["lower_bound"]) for part in own)
        assert 0 <= exact - Fraction(row["lower_bound"]) <= Fraction(1, 10**10)
        assert row["lower_bound"] <= row["upper_bound"]
        assert row["neurons"] <= sum(part["neurons"] for part in own)
    checks = list(verify_paths([run.location]))
    assert all(check.ok for check in checks)
    assert sum(check.file.startswith("certificates/") for check in checks) == 3 * (4 + 1)


def test_the_data_file_has_the_standardized_targets_in_their_order(run, tmp_path):
    prepared = prepare(targets_config(tmp_path))
    rows = prepared.split.shard("fold-01").train_rows
    raw = table_of(tmp_path)[list(TARGETS)].to_numpy()[rows]
    data = run.read_table("data/targets/fold-01.parquet").to_pandas()
    assert list(data.filter(regex="^y")) == ["y0", "y1", "y2"]
    Y = data.filter(regex="^y").to_numpy()
    np.testing.assert_allclose(Y, (raw - raw.mean(axis=0)) / raw.std(axis=0), atol=1e-9)


def test_metrics_are_in_units_of_one_target_and_of_the_scales_of_several(run, tmp_path):
    held = table_of(tmp_path).iloc[prepare(targets_config(tmp_path)).split.test_rows]
    truth = held[list(TARGETS)].to_numpy()
    whole, parts = split_rows(read_results(run).to_pylist())
    for row in whole:
        network = network_of(run, row)
        said = network.predict(held.drop(columns=list(TARGETS)))
        assert said.shape == truth.shape
        scale = np.array(network.preprocessing.target.scale)
        # Of targets a thousand times larger than others nothing else would be seen.
        rmse = math.sqrt(np.mean(((said - truth) / scale) ** 2))
        assert row["test_rmse"] == pytest.approx(rmse, rel=1e-12)
        assert row["test_r2"] == pytest.approx(r2_score(truth, said), rel=1e-12)
        assert row["test_accuracy"] is None
    for row in parts:
        said = network_of(run, row).predict(held.drop(columns=list(TARGETS)))
        one = truth[:, row["output"]]
        rmse = math.sqrt(np.mean((said - one) ** 2))
        assert row["test_rmse"] == pytest.approx(rmse, rel=1e-12)
        assert row["test_r2"] == pytest.approx(r2_score(one, said), rel=1e-12)


def test_the_setting_is_chosen_among_whole_networks_by_the_mean_error(run):
    results = read_results(run)
    choice = choose(results, "fractions", "regression")
    assert choice is not None
    assert (choice.metric, choice.networks) == ("validation_rmse", 2)
    whole = pd.DataFrame(split_rows(results.to_pylist())[0])
    whole = whole[whole["shard"] != "all"]
    means = whole.groupby(["beta_fraction", "width"])["validation_rmse"].mean()
    assert means.idxmin() == (choice.beta.written, choice.width)
    assert choice.mean == pytest.approx(means.min())


def test_the_checker_of_the_formats_page_accepts_it(run):
    text = (Path(__file__).parents[3] / "docs" / "formats.md").read_text(encoding="utf-8")
    checker, _ = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", checker, run.location], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" ok ") == JOINED + PARTS + 4


def test_ray_workers_write_what_one_process_writes(run, tmp_path, ray_cluster, monkeypatch):
    monkeypatch.setattr("pipeline.reports.page.write_report", lambda folder, trial: None)
    outcome = run_sweep(targets_config(tmp_path), str(tmp_path / "run"))
    assert outcome.exit_code == 0
    assert rows_of(tmp_path / "run").equals(rows_of(run.location))
    assert files_of(tmp_path / "run") == files_of(Path(run.location))


def test_a_rerun_computes_nothing_and_a_lost_file_its_own_target_alone(run, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.reports.page.write_report", lambda folder, trial: None)
    config = targets_config(tmp_path)
    run_sweep(config, str(tmp_path / "run"), INLINE)
    paths = prepare(config).plan.paths
    assert run_sweep(config, str(tmp_path / "run"), INLINE).reused_paths == len(paths)
    folder = RunFolder.open(tmp_path / "run")
    parts = split_rows(read_results(folder).to_pylist())[1]
    lost = next(row for row in parts if row["path"] == paths[4].id)
    folder.remove(lost["network"])
    again = run_sweep(config, str(tmp_path / "run"), INLINE)
    assert (again.exit_code, again.reused_paths) == (0, len(paths) - 1)
    assert rows_of(tmp_path / "run").equals(rows_of(run.location))


def test_ids_follow_the_targets_and_a_list_of_one_is_that_one(tmp_path):
    def ids(*targets: str, **changes: Any) -> set[str]:
        config = targets_config(tmp_path, data={"target": list(targets), **changes})
        return {path.id for path in prepare(config).plan.paths}

    every = {"features": ["p", "q", "r", "s"]}
    kinds = [ids("a<b", "c", **every), ids("c", "a<b", **every), ids("a<b", "b & c", **every)]
    assert [len(found) for found in kinds] == [4, 4, 4]
    assert len(set.union(*kinds)) == 12
    one = targets_config(tmp_path, data={"target": "c", **every})
    assert one.data.targets == ("c",)
    assert ids("c", **every) == {path.id for path in prepare(one).plan.paths}
    assert targets_config(tmp_path, data={"target": ["c"], **every}) == one


def test_a_renamed_target_is_another_problem(tmp_path):
    # Its name stands in the network's file.
    before = prepare(targets_config(tmp_path)).plan.paths
    file = tmp_path / "targets.csv"
    config = targets_config(tmp_path)
    targets = (*TARGETS[:2], "z")
    data = config.data.model_copy(update={"target": targets})
    file.write_text(file.read_text().replace("b & c,c", "b & c,z", 1))
    after = prepare(config.model_copy(update={"data": data})).plan.paths
    assert not {path.id for path in before} & {path.id for path in after}


def test_the_plan_counts_targets(tmp_path, monkeypatch, capsys):
    file = tmp_path / "sweep.yaml"
    file.write_text(targets_text(tmp_path))
    assert qnn(monkeypatch, "sweep", str(file), "--dry-run") == 0
    shown = capsys.readouterr().out
    assert "outputs           3   one a target: 'a<b', 'b & c', 'c'" in shown
    assert "8 networks of 3 outputs from 12 SDPs, 6 paths" in shown


def qnn(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["qnn", *arguments])
    with pytest.raises(SystemExit) as done:
        main()
    return int(done.value.code or 0)


BAD: list[tuple[list[str], str]] = [
    (["data.target=['a<b',c,'a<b']"], "data.target: 'a<b' occurs twice"),
    (["data.target=[]"], "data.target: must not be empty"),
    (["data.target=[c,z]"], "data.target: no column 'z' in the data"),
    (
        ["task=classification"],
        "data.target lists 3 columns, but task is classification: name one column, whose classes "
        "become outputs, or set task: regression",
    ),
    (["data.features=[p,c]"], "data.target 'c' cannot be a feature too"),
    (["data.categorical=[c]"], "data.target 'c' cannot be a feature too"),
    (["test.column=c"], "test.column 'c' is the target or shards.column; choose another"),
    (
        ["loss=logistic"],
        "loss logistic takes two classes, but task is regression: use absolute, huber or squared",
    ),
    (["baselines=[rbf_svm]"], "baseline rbf_svm is a classifier, but task is regression; remove"),
    (
        ["baselines=[spectrahedra]"],
        "baseline spectrahedra takes one output, but data.target lists 3 columns: remove it",
    ),
]


@pytest.mark.parametrize(("overrides", "message"), BAD, ids=lambda case: str(case)[:40])
def test_what_cannot_be_trained_is_refused(tmp_path, monkeypatch, capsys, overrides, message):
    file = tmp_path / "sweep.yaml"
    file.write_text(targets_text(tmp_path))
    given = [part for override in overrides for part in ("--set", override)]
    out = tmp_path / "run"
    assert qnn(monkeypatch, "sweep", str(file), "--out", str(out), *given) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("x", "column 'c' should be numeric, but row 1 holds 'x'; correct it, or leave it "
         "out of data.target"),
        ("", "the target 'c' is missing in 1 row (first: row 1); fill it"),
        ("inf", "column 'c' has infinite values in 1 row (first: row 1)"),
        (None, "the target 'c' is the same in all rows: nothing to learn"),
    ],
)  # fmt: skip
def test_a_target_that_is_no_quantity_is_refused(tmp_path, monkeypatch, capsys, cell, message):
    file = tmp_path / "sweep.yaml"
    file.write_text(targets_text(tmp_path))
    head, *lines = (tmp_path / "targets.csv").read_text().splitlines()
    changed = [",".join([*line.split(",")[:-1], "7" if cell is None else cell])
               for line in (lines if cell is None else lines[:1])]  # fmt: skip
    (tmp_path / "targets.csv").write_text("\n".join([head, *changed, *lines[len(changed) :], ""]))
    assert qnn(monkeypatch, "sweep", str(file), "--out", str(tmp_path / "run")) == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    "kind",
    [
        {"loss": "huber", "loss_parameter": 0.5, "second_layer": 4},
        {"loss": "absolute", "activation": {"polynomial": {"a": 1.0}}, "alphabet": "ternary"},
        {"certify": "exact", "baselines": ["random_signs"], "baseline_seconds": 0.05},
        {"preprocessing": {"scaling": "thermometer"}},
    ],
    ids=lambda kind: "-".join(map(str, kind)),
)
def test_every_kind_of_problem_is_joined_and_verified(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("pipeline.reports.page.write_report", lambda folder, trial: None)
    config = targets_config(tmp_path, beta={"fractions": [0.2]}, widths=[4], **kind)
    outcome = run_sweep(config, str(tmp_path / "run"), INLINE)
    assert (outcome.exit_code, outcome.failed) == (0, 0)
    assert outcome.champion is not None
    assert all(check.ok for check in verify_paths([outcome.location]))


def test_a_target_without_spread_in_one_part_has_no_r2_but_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.reports.page.write_report", lambda folder, trial: None)
    config = targets_config(tmp_path, widths=[4], beta={"fractions": [0.2]})
    table = table_of(tmp_path)
    held = prepare(config).split.test_rows
    # The mean of twelve of these is not one of them: rounding errors are no spread.
    table.loc[held, "c"] = 0.7
    table.to_csv(tmp_path / "targets.csv", index=False)
    again = config.model_copy(update={"name": "flat"})
    whole, _ = split_rows(run_sweep(again, str(tmp_path / "run"), INLINE).results.to_pylist())
    assert all(row["test_r2"] is None and row["test_rmse"] > 0 for row in whole)
    assert all(row["train_r2"] is not None for row in whole)


def test_the_report_and_the_pages_name_the_targets(run):
    results = read_results(run)
    page = render_report(collect(run))
    assert "Its 3 outputs" in page
    assert "Each target is a problem of its own" in page
    assert "3, one a target" in page
    assert "training RMSE, in units of the target" in page
    assert "test RMSE, in units of the target" in page
    row = summary.champion_row(summary.frame(results))
    assert row is not None
    parts = parts_of(results, NetworkRow.of(row))
    assert len(parts) == 3
    for part in parts:
        assert f"{part.fit.test_rmse:.4g} (R² {part.fit.test_r2:.3f})" in page
    # The whole's errors are in no target's units.
    assert page.count("RMSE in each target&#39;s scale") > 3
    assert "each divided by its target's" in page
    assert "a&lt;b</th>" in page
    assert "a<b" not in page.replace("a<br", "")
    shown = summary.champion_of(summary.frame(results))
    assert shown is not None
    row = shown.row
    parts = parts_of(results, row)
    assert f"{parts[1].fit.train_rmse:.4g} (R² {parts[1].fit.train_r2:.3f})" in page
    page = render_outputs(row, parts, run.read(row.fit.network))
    assert "3 outputs, one for each target ·" in page
    assert "b &amp; c</th>" in page
    one = parts[2]
    files = run.read(one.bounds.certificate), run.read(one.fit.network)
    assert "output, one target" in render_certificate(one, *files)


def test_a_network_of_one_target_is_no_output_on_its_page(tmp_path):
    config = small_config(tmp_path, task="regression", seeds=[0], widths=[4], rounding=["refined"])
    folder = run_small(config, tmp_path / "run")
    shown = summary.champion_of(summary.frame(read_results(folder)))
    assert shown is not None
    row = shown.row
    files = folder.read(row.bounds.certificate), folder.read(row.fit.network)
    assert "<dt>output" not in render_certificate(row, *files)


def test_the_logged_model_predicts_every_target(run, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    config = targets_config(tmp_path, tracking={"top": 0})
    results = read_results(run)
    choice = choose(results, "fractions", "regression")
    champion = best_refit(results, next(row["path"] for row in results.to_pylist()
                          if row["shard"] == "all" and row["output"] is None))  # fmt: skip
    assert champion is not None
    tracking.start(config, run).finish(results, choice, champion.identity.trial)
    store = open_store(config, run)
    (logged,) = runs_of(store, "champion")
    assert logged.data.metrics["test_rmse"] == champion.fit.test_rmse
    assert logged.data.metrics["test_r2"] == champion.fit.test_r2
    with pointed_at(store):
        model = mlflow.pyfunc.load_model(f"models:/{logged.data.tags['qnn.model_id']}")
    rows = table_of(tmp_path).drop(columns=list(TARGETS)).iloc[:5]
    said = model.predict(rows)
    np.testing.assert_array_equal(said, network_of(run, champion.columns).predict(rows))
    assert said.shape == (5, 3)
    (output,) = model.metadata.signature.outputs.inputs
    assert output.shape == (-1, 3)


def test_exports_predict_the_same_and_name_the_targets(run, tmp_path, monkeypatch):
    row = split_rows(read_results(run).to_pylist())[0][0]
    network = network_of(run, row)
    target = tmp_path / "network.onnx"
    file = f"{run.location}/{row['network']}"
    assert qnn(monkeypatch, "export", file, "--format", "onnx", "--out", str(target)) == 0
    rows = table_of(tmp_path).drop(columns=list(TARGETS))
    session = onnxruntime.InferenceSession(target.read_bytes())
    (said,) = session.run(["prediction"], {"numbers": rows.to_numpy(dtype=np.float64)})
    np.testing.assert_allclose(said, network.predict(rows), rtol=1e-12)
    told = json.loads(to_json(network))["preprocessing"]["target"]
    assert told["names"] == list(TARGETS)
    assert qnn(monkeypatch, "export", file, "--format", "c", "--out", str(tmp_path / "n.h")) == 0
    assert "#define QNN_OUTPUTS 3" in (tmp_path / "n.h").read_text()


@pytest.mark.parametrize("target", TARGETS)
def test_one_target_is_exported_alone(run, tmp_path, monkeypatch, target):
    """Of the joined network by its name, and as the file of its own part: the same values."""
    rows = read_results(run)
    whole = split_rows(rows.to_pylist())[0][0]
    joined = next(row for row in network_rows(rows) if row.identity.trial == whole["trial"])
    part = parts_of(rows, joined)[TARGETS.index(target)]
    table = table_of(tmp_path).drop(columns=list(TARGETS))
    table.to_csv(tmp_path / "rows.csv", index=False)
    want = network_of(run, whole).predict(table)[:, TARGETS.index(target)]
    for file, chosen in ((whole["network"], ["--output", target]), (part.fit.network, [])):
        given = (f"{run.location}/{file}", "--format")
        onnx = ("onnx", "--out", str(tmp_path / "one.onnx"))
        assert qnn(monkeypatch, "export", *given, *onnx, *chosen) == 0
        session = onnxruntime.InferenceSession((tmp_path / "one.onnx").read_bytes())
        (said,) = session.run(["prediction"], {"numbers": table.to_numpy(dtype=np.float64)})
        np.testing.assert_allclose(said, want, rtol=1e-9)
        assert (
            qnn(monkeypatch, "export", *given, "c", "--out", str(tmp_path / "one.h"), *chosen) == 0
        )
        main_c, program = str(tmp_path / "one_main.c"), str(tmp_path / "one")
        subprocess.run(["gcc", *FLAGS, "-o", program, main_c, "-lm"], check=True)
        printed = subprocess.run([program], stdin=(tmp_path / "rows.csv").open(),
                                 capture_output=True, text=True, check=True)  # fmt: skip
        np.testing.assert_allclose(np.array(printed.stdout.split(), float), want, rtol=1e-9)


def test_one_output_of_several_is_coded_as_its_target_alone():
    coding = TargetCoding(None, (1.0, 20.0), (0.5, 4.0), ("u", "v"))
    assert coding.outputs == ("u", "v")
    assert coding.output(1) == TargetCoding(None, 20.0, 4.0)
    assert TargetCoding(classes=("a", "b", "c")).output(2) == TargetCoding(classes=(False, True))
    assert TargetCoding(classes=("a", "b")).outputs == ()
