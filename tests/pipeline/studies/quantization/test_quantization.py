"""A study of quantization: plan, rows, resume, what verify refuses, bad input, page, MLflow."""

import hashlib
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pytest

from pipeline.configuration.reading import load_config
from pipeline.plans.studies import get_study, study_at, study_of_file
from pipeline.plans.study import Tools
from pipeline.reports.figures.chart import Line
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_results
from pipeline.studies.quantization.figures import divergence_figure, kept_figure
from pipeline.studies.quantization.summary import Point, finished, points
from pipeline.studies.quantization.units import STATES
from pipeline.tracking.store import open_store
from qnn.certificates.layers import LayerCertificate
from qnn.errors import InputError
from qnn.quantization.graph.export import packed_codes
from qnn.quantization.tuning import divergence
from tests.pipeline.studies.cases import CASES, checks, copied, rows_of, run
from tests.pipeline.tracked import artifacts_of, runs_of
from tests.qnn.quantization.networks import cnn, mlp, rows, silenced

CASE = CASES["quantization"]


@pytest.fixture
def whole(finished: Callable[[str], Path]) -> Path:
    return finished("quantization")


def test_the_frontier_joins_what_no_network_of_fewer_bytes_equals() -> None:
    places = [("gptq", 100, 0.5), ("gptq", 200, 0.2), ("kbest", 100, 0.4), ("kbest", 180, 0.3),
              ("kbest", 190, 0.35), ("rtn", 300, 0.1), ("rtn", 310, 0.1)]  # fmt: skip
    plain = {field.name: 0 for field in fields(Point)}
    found = [
        Point(**{**plain, "model": "net", "method": method, "file_bytes": size, "divergence": off,
                 "accuracy": 1.0 - off, "float_accuracy": 0.95})
        for method, size, off in places
    ]  # fmt: skip
    for figure, best in (
        (divergence_figure, [0.4, 0.3, 0.2, 0.1]),
        (kept_figure, [60, 70, 80, 90]),
    ):
        broad = figure(found).panels[0].marks[0]
        assert isinstance(broad, Line)
        assert (broad.name, broad.width) == ("", 11.0)
        assert list(broad.x) == [100, 180, 200, 300]
        np.testing.assert_allclose(np.asarray(broad.y), best)
        alone = figure([point for point in found if point.method == "kbest"]).panels[0]
        assert all(line.name for line in alone.lines())


def test_a_row_a_layer_and_a_network_that_runs(whole: Path) -> None:
    found = rows_of(whole)
    assert len(found) == 2 * 2 * 2
    assert {row["status"] for row in found} == {"ok"}
    for row in found:
        assert row["optimal"] + row["optimal_at_scale"] + row["bounded"] == row["neurons"]
        assert 0.0 <= row["bound_share"] <= row["error_share"] * (1 + 1e-9)
        assert row["float_accuracy"] == 1.0
        assert row["agreement"] == row["accuracy"]
        session = onnxruntime.InferenceSession(str(whole / row["network"]))
        assert session.run(None, {"x": rows(5, (8,))})[0].shape == (5, 3)
    study = get_study("quantization")
    shown = points(finished(read_results(RunFolder.open(whole), study.rows)))
    at = {(point.method, point.budget): point for point in shown}
    assert at["kbest", 4.0].divergence < at["kbest", 2.0].divergence
    assert at["kbest", 4.0].file_bytes > at["kbest", 2.0].file_bytes
    assert all(point.seeds == 1 for point in shown)
    assert all((point.cpu_seconds or 0.0) > 0.0 for point in shown)


def test_both_divergences_are_those_of_the_file_in_onnxruntime(whole: Path) -> None:
    X = np.load(whole.parent / "rows.npy").astype(np.float32)
    config = load_config(CASE.written(whole.parent), [], get_study("quantization").config)
    units = {unit.id: unit for unit in get_study("quantization").prepare(config).units}
    for row in rows_of(whole):
        kept, out = units[row["path"]].split(len(X))
        for rows_used, column in ((kept, "calibration_divergence"), (out, "divergence")):
            found = [
                onnxruntime.InferenceSession(str(file)).run(None, {"x": X[rows_used]})[0]
                for file in (whole.parent / "net.onnx", whole / row["network"])
            ]
            # A tie between two codes may be rounded either way.
            assert row[column] == pytest.approx(divergence(*found), rel=1e-2)
    shown = points(finished(read_results(RunFolder.open(whole), get_study("quantization").rows)))
    assert all(point.calibration_divergence is not None for point in shown)
    assert "on calibration" in (whole / "report.html").read_text()


def test_rows_of_a_folder_from_before_the_column_are_read(whole: Path) -> None:
    table = read_results(RunFolder.open(whole), get_study("quantization").rows)
    earlier = table.drop_columns(["calibration_divergence"])
    again = get_study("quantization").rows.read(earlier)
    assert {point.calibration_divergence for point in points(finished(again))} == {None}


def test_labels_change_nothing_but_the_accuracy(whole: Path, tmp_path: Path) -> None:
    data = {"source": "rows.npy", "held_out": 0.5}
    file = CASE.written(tmp_path, data=data, methods=["rtn"], budgets=[4], certify="none")
    assert run(file, tmp_path / "out").exit_code == 0
    (bare, _) = rows_of(tmp_path / "out")
    labelled = next(r for r in rows_of(whole) if (r["method"], r["budget"]) == ("rtn", 4.0))
    assert all(check.ok for check in checks(tmp_path / "out").values())
    assert bare["accuracy"] is None
    assert bare["digest"] == labelled["digest"]
    assert bare["divergence"] == labelled["divergence"]


def test_verify_proves_everything_again(whole: Path) -> None:
    found = checks(whole)
    assert len(found) == 4 + 8 + 1
    assert all(check.ok and check.proven for check in found.values())
    assert sum("codes of its network are those of 2 certificates" in c.text
               for c in found.values()) == 4  # fmt: skip
    assert all("held out not checked" in found[f].text for f in found if f.startswith("results"))
    file = next(file for file in found if file.startswith("certificates/"))
    evidence = str(whole / file.replace("certificates/", "evidence/"))
    (single,) = study_at(str(whole / file)).verify(str(whole / file), evidence)
    assert single.ok
    quick = checks(whole, fast=True)
    assert all(check.ok for check in quick.values())
    assert {f for f, c in quick.items() if not c.proven} <= {f for f in found if "cert" in f}


@pytest.mark.parametrize(
    ("column", "factor", "said"),
    [
        ("value", 0.5, "states value"),
        ("proven", 2.0, "states proven"),
        ("proven", 1.0 + 5e-7, "states proven"),
        ("value", 1.0 - 5e-7, "states value"),
        ("inputs", 2, "inputs, its network has"),
        ("bound_share", 1.5, "do not fit its certificates"),
        ("error_share", 0.5, "do not fit its certificates"),
        ("bytes", 0, "bytes, its network has"),
        ("optimal_at_scale", -1, "states optimal_at_scale"),
        ("file_bytes", 0, "not the one that its rows state"),
        ("mean_bits", 0.5, "states mean_bits"),
    ],
)
def test_a_row_that_is_tampered_with_is_refused(
    whole: Path, tmp_path: Path, column: str, factor: float, said: str
) -> None:
    out = copied(whole, tmp_path / "out")
    folder = RunFolder.open(out)
    name = f"results/{rows_of(out)[0]['path']}.parquet"
    table = folder.read_table(name)
    values = table[column].to_pylist()
    values[0] = type(values[0])((values[0] or 1) * factor)
    kind, where = table.schema.field(column).type, table.column_names.index(column)
    folder.write_table(name, table.set_column(where, column, pa.array(values, kind)))
    check = checks(out, fast=True)[name]
    assert not check.ok
    assert said in check.text


def rewritten(out: Path, row: dict[str, Any], **changes: Any) -> str:
    """The results file of a row, in which it states something else."""
    folder, name = RunFolder.open(out), f"results/{row['path']}.parquet"
    table = folder.read_table(name)
    rows = [r | changes if r["place"] == row["place"] else r for r in table.to_pylist()]
    folder.write_table(name, pa.Table.from_pylist(rows, table.schema))
    return name


def test_a_layer_without_certificates_states_nothing_proven(whole: Path, tmp_path: Path) -> None:
    out = copied(whole, tmp_path / "out")
    row = rows_of(out)[0]
    none: dict[str, Any] = {"certificates": [], "evidence": [], "optimal": 7}
    name = rewritten(out, row, **none)
    check = checks(out, fast=True)[name]
    assert not check.ok
    assert "no certificate proves it" in check.text
    silent = dict.fromkeys(("value", "proven", "bound_share", *STATES))
    for column in silent:
        rewritten(out, row, **none | silent | {column: row[column] or 1})
        assert f"states {column}" in checks(out, fast=True)[name].text
    rewritten(out, row, **none | silent)
    check = checks(out, fast=True)[name]
    assert check.ok, check
    assert "(1 layers have none)" in check.text


def test_rows_of_one_network_fail_together(whole: Path, tmp_path: Path) -> None:
    out = copied(whole, tmp_path / "out")
    name = rewritten(out, rows_of(out)[0], status="failed", error="gone")
    assert "some of its rows failed" in checks(out, fast=True)[name].text


def test_certificates_are_of_their_own_layer_and_rows(whole: Path, tmp_path: Path) -> None:
    out = copied(whole, tmp_path / "out")
    row, other = (next(r for r in rows_of(out) if (r["method"], r["budget"], r["place"]) == key)
                  for key in (("kbest", 4.0, 0), ("kbest", 4.0, 1)))  # fmt: skip
    file = out / row["certificates"][0]
    replace(LayerCertificate.load(file), layer=other["layer"]).save(file)
    name = f"results/{row['path']}.parquet"
    assert f"speaks of {other['layer']}, not of {row['layer']}" in checks(out, True)[name].text
    replace(LayerCertificate.load(file), layer=row["layer"]).save(file)
    rewritten(out, row, rows=row["rows"] + 1)
    found = checks(out, fast=True)
    assert found[name].ok
    assert f"its row states {row['rows'] + 1} rows" in found[row["certificates"][0]].text
    rewritten(out, row, rows=row["rows"])
    rewritten(out, other, certificates=row["certificates"], evidence=row["evidence"])
    assert "is another's too" in checks(out, fast=True)[name].text


def test_codes_in_another_order_are_refused(whole: Path, tmp_path: Path) -> None:
    out = copied(whole, tmp_path / "out")
    row = next(r for r in rows_of(out) if (r["method"], r["budget"]) == ("kbest", 4.0))
    model = onnx.load(out / row["network"])
    place = next(k for k, t in enumerate(model.graph.initializer) if t.name == "_l0.w4")
    tensor = model.graph.initializer[place]
    q = onnx.numpy_helper.to_array(tensor).astype(np.int64)
    neuron = np.flatnonzero(q[:, 0] != q[:, 1])[0]
    moved = q.copy()
    moved[neuron, :2] = q[neuron, 1::-1]
    name = f"results/{row['path']}.parquet"
    for changed in (moved, q[:, [1, 0, *range(2, q.shape[1])]], q):
        raw = packed_codes(changed, 4)
        made = onnx.helper.make_tensor(tensor.name, tensor.data_type, q.shape, raw, raw=True)
        model.graph.initializer[place].CopyFrom(made)
        content = model.SerializeToString(deterministic=True)
        (out / row["network"]).write_bytes(content)
        for one in rows_of(out):
            if one["path"] == row["path"]:
                digest = hashlib.sha256(content).hexdigest()
                rewritten(out, one, digest=digest, file_bytes=len(content))
        check = checks(out, fast=True)[name]
        assert check.ok == (changed is q), check


def test_files_that_are_swapped_or_gone_are_refused(whole: Path, tmp_path: Path) -> None:
    out = copied(whole, tmp_path / "out")
    one, other = (next(r for r in rows_of(out) if (r["method"], r["budget"], r["place"]) == key)
                  for key in (("kbest", 2.0, 0), ("kbest", 4.0, 0)))  # fmt: skip
    (out / one["network"]).write_bytes((out / other["network"]).read_bytes())
    (out / one["evidence"][0]).write_bytes((out / other["evidence"][0]).read_bytes()[:-1])
    first, second = other["certificates"][0], other["evidence"][0]
    (out / first).write_bytes((out / one["certificates"][0]).read_bytes())
    (out / second).unlink()
    found = checks(out, fast=True)
    for name in (f"results/{one['path']}.parquet", f"results/{other['path']}.parquet",
                 one["certificates"][0], first):  # fmt: skip
        assert not found[name].ok, name
    assert "missing" in found[first].text


def test_a_rerun_takes_up_what_is_there(whole: Path, tmp_path: Path) -> None:
    out = copied(whole, tmp_path / "out")
    before = rows_of(out)
    paths = sorted({row["path"] for row in before})
    (out / "results" / f"{paths[0]}.parquet").unlink()
    networks = [next(r for r in before if r["path"] == path)["network"] for path in paths]
    (out / networks[1]).unlink()
    (out / networks[2]).write_bytes((out / networks[2]).read_bytes()[:-100])
    outcome = run(whole.parent / "quantization.yaml", out)
    assert (outcome.exit_code, outcome.reused_paths) == (0, 1)
    assert rows_of(out) == before


def test_a_network_that_cannot_be_quantized_is_a_failed_row(tmp_path: Path) -> None:
    file = CASE.written(tmp_path, methods=["rtn"], budgets=[4])
    np.save(tmp_path / "rows.npy", np.ones((120, 8)))
    outcome = run(file, tmp_path / "out")
    assert outcome.failed == 2
    assert {row["status"] for row in rows_of(tmp_path / "out")} == {"failed"}
    assert all("singular" in row["error"] for row in rows_of(tmp_path / "out"))
    assert "singular" in (tmp_path / "out" / "report.html").read_text()


def test_flat_rows_of_images_and_grouped_convolutions(tmp_path: Path) -> None:
    data = {"source": "flat.npy", "held_out": 0.2}
    models = [{"source": "image.onnx"}]
    file = CASE.written(
        tmp_path, data=data, models=models, methods=["rtn"], budgets=[4], certify="bound"
    )
    onnx.save(cnn(), tmp_path / "image.onnx")
    np.save(tmp_path / "flat.npy", rows(50, (2, 8, 8)).reshape(50, -1))
    assert run(file, tmp_path / "out").exit_code == 0
    assert [len(row["certificates"]) for row in rows_of(tmp_path / "out")] == [1, 2, 1, 1]
    found = checks(tmp_path / "out")
    assert all(check.ok for check in found.values()), found


def test_models_of_flat_rows_and_of_images_share_the_rows(tmp_path: Path) -> None:
    models = [{"source": "image.onnx"}, {"source": "flat.onnx"}]
    data = {"source": "flat.npy", "held_out": 0.2}
    options = {"methods": ["rtn"], "budgets": [4], "certify": "none", "data": data}
    onnx.save(cnn(), tmp_path / "image.onnx")
    onnx.save(mlp((128, 6, 4)), tmp_path / "flat.onnx")
    np.save(tmp_path / "flat.npy", rows(50, (2, 8, 8)).reshape(50, -1))
    one = CASE.written(tmp_path, models=models[:1], **options)
    alone = study_of_file(one).prepare(load_config(one, [], study_of_file(one).config)).units
    for order in (models, models[::-1]):
        file = CASE.written(tmp_path, models=order, **options)
        study = study_of_file(file)
        plan = study.prepare(load_config(file, [], study.config))
        assert alone[0].id in {unit.id for unit in plan.units}
        folder = RunFolder.open(tmp_path / f"out-{order[0]['source']}")
        folder.create()
        for unit in plan.units:
            (step,) = unit.run(plan.data, folder, Tools())
            assert step.error is None


def test_neurons_of_zero_bits_are_left_out_and_the_folder_verifies(tmp_path: Path) -> None:
    models = [{"source": "quiet.onnx"}]
    file = CASE.written(tmp_path, models=models, methods=["rtn"], budgets=[3], bits=[0, 2, 4])
    onnx.save(silenced(mlp((8, 10, 8, 4), 2), {0: [0, 7]}), tmp_path / "quiet.onnx")
    assert run(file, tmp_path / "out").exit_code == 0
    found = {row["layer"]: row["neurons"] for row in rows_of(tmp_path / "out")}
    assert found["Gemm0"] == 8
    assert all(check.ok for check in checks(tmp_path / "out").values())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"models": []}, "models: must not be empty"),
        ({"models": [{"source": "none.onnx"}]}, "none.onnx: cannot be read"),
        ({"models": [{"source": "rows.npy"}]}, "not an ONNX model"),
        ({"models": [{"source": "net.onnx"}] * 2}, "models: two are called net"),
        ({"methods": ["best"]}, "methods[0]: must be"),
        ({"budgets": [1.5]}, "smallest possible is 2"),
        ({"budgets": []}, "budgets: must not be empty"),
        ({"bits": [9]}, "whole numbers from 2 to 8"),
        ({"data": {"source": "none.npy"}}, "none.npy: no such file"),
        ({"data": {"source": "labels.npy"}}, "for net: the calibration rows have the shape"),
        ({"data": {"source": "rows.npy", "labels": {"source": "rows.npy"}}}, "the class, for each"),
        ({"data": {"source": "rows.npy", "held_out": 0.99}}, "leave fewer than 8"),
        ({"data": {"source": "rows.npy", "held_out": 1}}, "data.held_out"),
        ({"learned": 1}, "learned: unknown key"),
    ],
)
def test_bad_input_is_a_line(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        run(CASE.written(tmp_path, **changes), tmp_path / "out")
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_the_example_sweep_is_planned(tmp_path: Path) -> None:
    CASE.written(tmp_path)
    example = Path(__file__).parents[4] / "infra" / "sweeps" / "quantization.yaml"
    (tmp_path / "example.yaml").write_text(example.read_text())
    study = study_of_file(tmp_path / "example.yaml")
    plan = study.prepare(load_config(tmp_path / "example.yaml", [], study.config))
    assert len(plan.units) == 4 * 4 * 3
    assert len({unit.id for unit in plan.units}) == 48
    assert "48 networks of 96 layers" in plan.describe()


def test_the_page_and_the_tracked_run(whole: Path) -> None:
    page = (whole / "report.html").read_text()
    assert page.count("<figure") == 2
    assert "Gemm0" in page
    folder = RunFolder.open(whole)
    config = load_config(CASE.written(whole.parent), [], get_study("quantization").config)
    store = open_store(config, folder)
    (tracked,) = runs_of(store, "sweep")
    assert tracked.info.status == "FINISHED"
    assert tracked.data.metrics["layers_done"] == 8
    row = next(r for r in rows_of(whole) if (r["method"], r["budget"]) == ("kbest", 4.0))
    assert tracked.data.metrics["net/kbest/4/divergence"] == row["divergence"]
    assert {"report.html", "sweep.yaml", "figures/divergence.png", row["network"]} <= artifacts_of(
        store, tracked.info.run_id
    )
