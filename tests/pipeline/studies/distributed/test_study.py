"""A distributed sweep in this process: plan, run, resume, verify; and what it refuses."""

import re
import shutil
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.configuration.reading import load_config
from pipeline.plans.studies import study_of, study_of_file, study_of_folder
from pipeline.results.folder import RunFolder, StoreError
from pipeline.studies.distributed import path as unit
from pipeline.studies.distributed.checks import WORKERS, verify
from pipeline.studies.distributed.config import DistributedConfig
from pipeline.sweeps.driver import SweepOptions, SweepOutcome, run_sweep
from qnn.errors import InputError
from qnn.networks.quantized import QuantizedNetwork

INLINE = SweepOptions(inline=True)
N = 600


def table() -> pa.Table:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 4))
    f = X[:, 0] * X[:, 1] - X[:, 2] ** 2 + 0.3 * rng.normal(size=N) + 0.7
    columns = {f"x{j}": X[:, j] for j in range(4)}
    labels = np.where(f > 0.0, "yes", "no")
    return pa.table({**columns, "c": rng.choice(list("ab"), N), "y": f, "label": labels})


TABLE = table()


def config(folder: Path, source: str = "rows.parquet", **changes: str) -> DistributedConfig:
    lines = {
        "name": "name: rows",
        "data": f"data: {{source: {source}, target: y, exclude: [label]}}",
        "task": "task: regression",
        "beta": "beta: {fractions: [0.5, 0.2, 0.1]}",
        "distributed": "distributed: {blocks: 5, actors: 2}",
        **changes,
    }
    if not (folder / source).exists():
        pq.write_table(TABLE, folder / source)
    (folder / "sweep.yaml").write_text("\n".join(lines.values()))
    assert study_of_file(folder / "sweep.yaml").name == "distributed"
    return load_config(folder / "sweep.yaml", (), DistributedConfig)


def swept(made: DistributedConfig, out: Path) -> SweepOutcome:
    return run_sweep(made, str(out), INLINE)


def test_one_line_makes_a_sweep_distributed(tmp_path):
    made = config(tmp_path)
    assert study_of(made).name == "distributed"
    plan = study_of(made).prepare(made).describe()
    assert "600, in 1 files" in plan
    assert "5, shared by 2 actors" in plan
    outcome = swept(made, tmp_path / "out")
    assert outcome.exit_code == 0
    rows = outcome.results.to_pylist()
    assert [row["beta_fraction"] for row in rows] == [0.5, 0.2, 0.1]
    for row in rows:
        assert 0.0 < row["lower_bound"] <= row["relaxation"] <= row["upper_bound"] * (1 + 1e-2)
        assert row["relaxation_gap"] <= 1e-2
    assert rows[-1]["gap"] <= 0.2
    assert "rows in blocks" in (tmp_path / "out" / "report.html").read_text()
    folder = RunFolder.open(str(tmp_path / "out"))
    assert study_of_folder(folder).name == "distributed"
    checks = list(verify(str(tmp_path / "out")))
    assert len(checks) == 4
    assert all(check.ok for check in checks), checks
    network = QuantizedNetwork.load(tmp_path / "out" / rows[-1]["network"])
    features = {name: TABLE[name].to_numpy() for name in TABLE.column_names}
    error = network.predict(features) - features["y"]
    assert float(error @ error) < 0.5 * float(np.var(features["y"])) * N


@pytest.mark.parametrize("loss", ["logistic", "hinge"])
def test_classes(tmp_path, loss):
    made = config(
        tmp_path,
        data="data: {source: rows.parquet, target: label, positive: 'yes', exclude: [y]}",
        task="task: classification",
        loss=f"loss: {loss}",
        beta="beta: {fractions: [0.1]}",
    )
    (row,) = swept(made, tmp_path / "out").results.to_pylist()
    assert row["status"] == "ok"
    assert row["gap"] <= 0.2
    (check,) = verify(str(tmp_path / "out" / row["certificate"]))
    assert check.ok, check
    network = QuantizedNetwork.load(tmp_path / "out" / row["network"])
    features = {name: TABLE[name].to_numpy() for name in TABLE.column_names}
    said = network.predict(features)
    assert np.mean(said == (np.asarray(TABLE["label"].to_pylist()) == "yes")) > 0.8


def test_missing_values_and_bits_at_quantiles(tmp_path):
    values = TABLE["x0"].to_numpy().copy()
    values[::7] = np.nan
    gaps = TABLE.set_column(0, "x0", pa.array(values, from_pandas=True))
    pq.write_table(gaps, tmp_path / "gaps.parquet")
    made = config(
        tmp_path,
        "gaps.parquet",
        data="data: {source: gaps.parquet, target: y, exclude: [label], missing: impute}",
        preprocessing="preprocessing: {scaling: thermometer, thresholds: 4}",
        beta="beta: {fractions: [0.1]}",
    )
    (row,) = swept(made, tmp_path / "out").results.to_pylist()
    assert row["status"] == "ok"
    assert row["gap"] <= 0.3
    assert all(check.ok for check in verify(str(tmp_path / "out")))
    network = QuantizedNetwork.load(tmp_path / "out" / row["network"])
    assert network.preprocessing is not None
    assert network.preprocessing.layout.d == 4 * 4 + 2 + 1
    features = {name: gaps[name].to_numpy() for name in gaps.column_names}
    assert set(np.unique(network.preprocessing.transform(features))) == {-1.0, 1.0}
    (tmp_path / "many").mkdir()
    for k in range(30):
        pq.write_table(gaps.slice(20 * k, 20), tmp_path / "many" / f"{k:02d}.parquet")
    many = made.model_copy(
        update={"data": made.data.model_copy(update={"source": str(tmp_path / "many")})}
    )
    swept(many, tmp_path / "other")
    assert kept(tmp_path / "out") == kept(tmp_path / "other")


def test_quantiles_without_their_package_are_refused_before_anything_is_read(tmp_path, monkeypatch):
    made = config(tmp_path, preprocessing="preprocessing: {scaling: quantile}")
    monkeypatch.setitem(sys.modules, "datasketches", None)
    with pytest.raises(InputError, match=r"preprocessing.scaling: quantile needs .*qnn-sdp"):
        study_of(made).prepare(made)


def test_weighted_columns_are_refused(tmp_path):
    with pytest.raises(InputError, match="distributed sweeps weight no columns"):
        config(tmp_path, preprocessing="preprocessing: {scaling: weighted}")


def test_rounded_numbers_are_refused(tmp_path):
    with pytest.raises(InputError, match="round no means and thresholds"):
        config(tmp_path, preprocessing="preprocessing: {compact: true}")


def kept(out: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(out)): file.read_bytes()
        for folder in ("certificates", "networks")
        for file in sorted((out / folder).iterdir())
    }


def test_a_driver_that_dies_goes_on_from_the_last_beta(tmp_path, monkeypatch):
    made = config(tmp_path)
    swept(made, tmp_path / "whole")
    real, calls = unit.solve_blocks, []

    def dies(*arguments):
        calls.append(arguments[1])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(unit, "solve_blocks", dies)
    with pytest.raises(KeyboardInterrupt):
        swept(made, tmp_path / "out")
    monkeypatch.setattr(unit, "first_pass", None)
    outcome = swept(made, tmp_path / "out")
    assert outcome.exit_code == 0
    assert len(calls) == 4
    assert kept(tmp_path / "out") == kept(tmp_path / "whole")


@pytest.mark.slow
def test_a_sweep_on_ray_has_the_bits_of_one_in_this_process(tmp_path):
    made = config(tmp_path)
    swept(made, tmp_path / "alone")
    outcome = run_sweep(made, str(tmp_path / "out"), SweepOptions(cpus=2))
    assert outcome.exit_code == 0
    for row in outcome.results.to_pylist():
        assert row["actors"] == 2
        assert row["received"] > 0
    assert kept(tmp_path / "out") == kept(tmp_path / "alone")
    assert all(check.ok for check in verify(str(tmp_path / "out")))


def test_rows_that_change_between_a_run_and_its_resume_are_found(tmp_path, monkeypatch):
    made = config(tmp_path)
    real = unit.first_pass

    def dies(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(unit, "first_pass", dies)
    with pytest.raises(KeyboardInterrupt):
        swept(made, tmp_path / "out")
    monkeypatch.setattr(unit, "first_pass", real)
    values = TABLE["x0"].to_numpy().copy()
    values[350] += 1e-9
    pq.write_table(TABLE.set_column(0, "x0", pa.array(values)), tmp_path / "rows.parquet")
    outcome = swept(made, tmp_path / "out")
    assert outcome.exit_code == 1
    assert "block 2 has changed since" in outcome.results.to_pylist()[0]["error"]
    assert not (tmp_path / "out" / "certificates").exists()


def test_many_files_give_the_same_networks_and_certificates(tmp_path):
    swept(config(tmp_path), tmp_path / "one")
    (tmp_path / "many").mkdir()
    for k in range(30):
        pq.write_table(TABLE.slice(20 * k, 20), tmp_path / "many" / f"{k:02d}.parquet")
    swept(config(tmp_path, "many"), tmp_path / "other")
    assert kept(tmp_path / "one") == kept(tmp_path / "other")


def test_what_is_changed_is_found(tmp_path, monkeypatch):
    made = config(tmp_path, beta="beta: {fractions: [0.1]}")
    (row,) = swept(made, tmp_path / "out").results.to_pylist()
    monkeypatch.setenv(WORKERS, "3")
    manifest, check = verify(str(tmp_path / "out"))
    assert manifest.ok
    assert check.ok
    values = TABLE["x0"].to_numpy().copy()
    values[350] += 1e-9
    pq.write_table(TABLE.set_column(0, "x0", pa.array(values)), tmp_path / "changed.parquet")
    _, check = verify(str(tmp_path / "out"), str(tmp_path / "changed.parquet"))
    assert not check.ok
    assert "block 2 has other rows" in check.text
    results = next((tmp_path / "out" / "results").iterdir())
    changes = {
        "upper_bound": 0.99, "lower_bound": 1.01, "beta": 1.1, "gap": 1e-6, "relaxation": 0.5,
        "relaxation_gap": 0.0, "n": 2, "blocks": 2, "beta_fraction": 2.0,
    }  # fmt: skip
    for name, value in changes.items():
        rows = pq.read_table(results).to_pylist()
        rows[0][name] *= value
        shutil.copytree(tmp_path / "out", tmp_path / name)
        place = tmp_path / name / "results" / results.name
        pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(results)), place)
        manifest, check = verify(str(tmp_path / name))
        assert not manifest.ok, name
        assert not check.ok, name
    (tmp_path / "out" / row["network"]).unlink()
    manifest, check = verify(str(tmp_path / "out"))
    assert not manifest.ok
    assert not check.ok


def test_files_that_no_row_names_and_files_of_two_rows_are_told(tmp_path):
    made, out = config(tmp_path), tmp_path / "out"
    rows = swept(made, out).results.to_pylist()
    (out / "manifest.json").unlink()
    junk = out / "certificates" / "junk.npz"
    junk.write_bytes(b"this is no certificate")
    with pytest.raises(InputError, match=r"certificates/junk\.npz: no row of the run names it"):
        list(verify(str(junk)))
    found = {check.file: check for check in verify(str(out))}
    assert not found["certificates/junk.npz"].ok
    for folder in ("certificates", "networks"):
        shutil.copy(out / rows[0][folder[:-1]], out / folder / "junk.npz")
    found = {check.file: check for check in verify(str(out))}
    assert all(check.ok for check in found.values())
    assert found["certificates/junk.npz"].text.endswith("no row names it")
    (out / "networks" / "junk.npz").unlink()
    junk.write_bytes((out / rows[1]["certificate"]).read_bytes())
    found = {check.file: check for check in verify(str(out))}
    assert "no row and no network names it" in found["certificates/junk.npz"].text
    junk.unlink()
    results = next((out / "results").iterdir())
    schema = pq.read_schema(results)
    twice = [rows[0], rows[0] | {"trial": rows[1]["trial"]}]
    pq.write_table(pa.Table.from_pylist(twice, schema), results)
    _, first, second, *_ = verify(str(out))
    assert first.ok
    assert "another row's too" in second.text


def test_damaged_results_are_a_verdict_beside_the_others(tmp_path):
    made, out = config(tmp_path, beta="beta: {fractions: [0.1]}"), tmp_path / "out"
    (row,) = swept(made, out).results.to_pylist()
    results = next((out / "results").iterdir())
    results.write_bytes(results.read_bytes()[:-100])
    name = f"results/{results.name}"
    found = {check.file: check for check in verify(str(out))}
    assert not found[name].ok
    assert found[row["certificate"]].ok
    (single,) = verify(str(out / row["certificate"]))
    assert (single.file, single.ok) == (name, False)


def test_a_network_of_another_problem_is_refused(tmp_path):
    made, out = config(tmp_path, beta="beta: {fractions: [0.1]}"), tmp_path / "out"
    (row,) = swept(made, out).results.to_pylist()
    network = QuantizedNetwork.load(out / row["network"])
    replace(network, loss="absolute").save(out / row["network"])
    _, check = (c for c in verify(str(out)) if c.file.endswith(".npz"))
    assert "was made for another loss" in check.text


def test_verification_takes_the_memory_of_a_block(tmp_path):
    peaks, rng = {}, np.random.default_rng(0)
    for blocks in (10, 40):
        n = 2000 * blocks
        X = rng.normal(size=(n, 6))
        columns = {**{f"x{j}": X[:, j] for j in range(6)}, "y": X[:, 0] * X[:, 1]}
        place = tmp_path / f"{blocks}"
        place.mkdir()
        pq.write_table(pa.table(columns), place / "rows.parquet", row_group_size=2000)
        made = config(
            place,
            data="data: {source: rows.parquet, target: y}",
            beta="beta: {fractions: [0.5]}",
            distributed=f"distributed: {{blocks: {blocks}, actors: 2}}",
        )
        swept(made, place / "out")
        tracemalloc.start()
        assert all(check.ok for check in verify(str(place / "out")))
        _, peaks[blocks] = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    rows_more = 30 * 2000 * 7 * 8
    assert peaks[40] - peaks[10] < 0.1 * rows_more


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"distributed": "distributed: {blocks: 0}"}, "blocks"),
        ({"shards": "shards: {kind: kfold, count: 3}"}, "shards"),
        ({"task": "task: regression\nloss: hinge"}, "takes two classes"),
        (
            {"data": "data: {source: rows.parquet, target: y, missing_target: drop}"},
            "refuse missing targets",
        ),
    ],
)
def test_bad_configs_are_one_line(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        config(tmp_path, **changes)


def test_absent_columns_are_named(tmp_path):
    made = config(tmp_path, data="data: {source: rows.parquet, target: z}")
    with pytest.raises(InputError, match="no column 'z'"):
        study_of(made).prepare(made)


def test_a_damaged_block_loses_the_path_and_leaves_nothing_half(tmp_path):
    made = config(tmp_path)
    prepared = study_of(made).prepare(made)
    source = tmp_path / "rows.parquet"
    content = bytearray(source.read_bytes())
    content[4:2000] = bytes(1996)
    source.write_bytes(bytes(content))
    outcome = swept(made, tmp_path / "out")
    assert outcome.exit_code == 1
    errors = {row["error"] for row in outcome.results.to_pylist()}
    assert len(errors) == 1
    # All blocks begin in that row group; which is met first is the threads' affair.
    assert re.search(r"block \d+: data\.source: row group 0 of", errors.pop())
    assert not (tmp_path / "out" / "certificates").exists()
    assert prepared.units[0].lost_rows("gone")[0]["error"] == "gone"


def test_a_full_disk_is_said_and_nothing_is_half_written(tmp_path, monkeypatch):
    made = config(tmp_path)
    real = RunFolder.write

    def full(self, relative, content):
        if relative.startswith("certificates/") and relative.endswith("-1.npz"):
            raise StoreError(f"{relative}: cannot be written: no space left on device")
        real(self, relative, content)

    monkeypatch.setattr(RunFolder, "write", full)
    swept(made, tmp_path / "out")
    assert not [
        file for file in (tmp_path / "out" / "results").glob("*") if "lost" not in str(file)
    ]
    monkeypatch.setattr(RunFolder, "write", real)
    outcome = swept(made, tmp_path / "out")
    assert outcome.exit_code == 0
    assert all(check.ok for check in verify(str(tmp_path / "out")))
