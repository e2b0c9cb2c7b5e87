"""A study of robustness: rows, what verify refuses, resume, bad input, page, MLflow."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import qnn
from pipeline.configuration.reading import load_config
from pipeline.plans.studies import get_study, study_at
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_results
from pipeline.studies.robustness.config import NetworkConfig
from pipeline.studies.robustness.subjects import networks_of
from pipeline.studies.robustness.summary import choosables, finished, groups
from pipeline.studies.robustness.tracked import choice_metrics
from pipeline.sweeps.driver import run_sweep
from pipeline.tracking.store import open_store
from qnn.errors import InputError
from qnn.robustness import Prover
from tests.pipeline.classes import classes_config
from tests.pipeline.small import small_config
from tests.pipeline.studies.cases import CASES, INLINE, N, checks, copied, rows_of, run
from tests.pipeline.tracked import artifacts_of, runs_of
from tests.qnn.robustness.cases import layered

CASE = CASES["robustness"]


@pytest.fixture
def whole(finished: Callable[[str], Path]) -> Path:
    return finished("robustness")


def test_rows_are_what_the_prover_says(whole: Path) -> None:
    rows = rows_of(whole)
    assert [row["status"] for row in rows] == ["ok"] * 3 * N
    table = pq.read_table(whole.parent / "rows.parquet")
    raw = table.to_pylist()
    spans = {name: float(np.ptp(table[name].to_numpy())) for name in "ab"}
    network = qnn.QuantizedNetwork.load(whole.parent / "own.npz")
    prover = Prover(network)
    for row in rows:
        x = {name: raw[row["row"]][name] for name in "abc"}
        label = raw[row["row"]]["target"]
        radius = {name: row["radius"] * span for name, span in spans.items()}
        found = prover.certify(x, radius, label=label)
        assert (row["verdict"], row["proven"]) == (found.verdict, found.lower_bound)
        assert row["attack"] == found.upper_bound
        assert row["correct"] == (row["row"] != 0)
    found = groups(finished(pa.Table.from_pylist([{**row, "cpu_seconds": 0.0} for row in rows])))
    assert [group.correct for group in found] == [N - 1] * 3
    assert found[0].proven == found[0].held == N - 1
    assert found[0].proven > found[-1].proven


def test_verify_proves_everything_again(whole: Path) -> None:
    found = checks(whole)
    assert len(found) == 6 + 3 * N + 1
    assert all(check.ok and check.proven for check in found.values())
    certificate = str(whole / next(file for file in found if file.startswith("certificates/")))
    (single,) = study_at(certificate).verify(certificate)
    assert single.ok
    assert single.text.startswith("margin ")


def test_a_single_file_is_the_one_that_is_checked(whole: Path, tmp_path: Path) -> None:
    out = copied(whole, tmp_path / "out")
    row = next(row for row in rows_of(out) if row["verdict"] == "robust")
    name = row["certificate"].rpartition("/")[2]
    (out / "others").mkdir()
    (out / "others" / name).write_text("no certificate")
    other, network = str(out / "others" / name), str(out / row["network_file"])
    (single,) = study_at(other).verify(other)
    assert not single.ok
    (out / "others" / name).write_bytes((out / row["certificate"]).read_bytes())
    (single,) = study_at(other).verify(other, network)
    assert single.ok, single


def chosen(out: Path, verdict: str) -> dict[str, Any]:
    return next(row for row in rows_of(out) if row["verdict"] == verdict and row["radius"] > 0.0)


@pytest.mark.parametrize(
    ("verdict", "column", "value", "said"),
    [
        ("robust", "predicted", "maybe", "states predicted"),
        ("robust", "correct", False, "states correct"),
        ("robust", "label", "maybe", "knows no label"),
        ("robust", "verdict", "vulnerable", "its witness is no other answer"),
        ("robust", "verdict", "open", "its bounds do not say open"),
        ("robust", "attack", -1e9, "its bounds are crossed"),
        ("robust", "radii", "[99.0, 99.0]", "about another question"),
        ("robust", "proven", 1e-3, "proves"),
        ("robust", "norm", "l2", "about another question"),
        ("robust", "example", '[[1.0, 1.0], ["x"]]', ""),
        ("robust", "network_file", "networks/other.npz", "missing"),
        ("robust", "certificate", None, "has no certificate"),
        ("vulnerable", "verdict", "robust", "its bounds do not say robust"),
        ("vulnerable", "witness", None, "its witness is no other answer"),
        ("vulnerable", "witness", '[[1e9, 1e9], ["x"]]', "its witness is no other answer"),
        ("vulnerable", "witness", "[[1e9], []]", "its witness is no other answer"),
    ],
)
def test_what_is_tampered_with_is_refused(
    whole: Path, tmp_path: Path, verdict: str, column: str, value: Any, said: str
) -> None:
    out = copied(whole, tmp_path / "out")
    row = chosen(out, verdict)
    changed(out, row, column, value)
    bad = [check for check in checks(out).values() if not check.ok]
    assert bad
    assert any(said in check.text for check in bad), [check.text for check in bad]


def changed(out: Path, row: dict[str, Any], column: str, value: Any) -> None:
    folder, name = RunFolder.open(out), f"results/{row['path']}.parquet"
    table = folder.read_table(name)
    values = table[column].to_pylist()
    values[table["trial"].to_pylist().index(row["trial"])] = value
    place = table.column_names.index(column)
    kind = table.schema.field(column).type
    folder.write_table(name, table.set_column(place, column, pa.array(values, kind)))


def test_foreign_and_missing_files_are_refused(whole: Path, tmp_path: Path) -> None:
    out = copied(whole, tmp_path / "out")
    first, second = (row["certificate"] for row in rows_of(out)[:2])
    (out / first).write_bytes((out / second).read_bytes())
    (out / second).unlink()
    found = checks(out)
    assert not found[first].ok
    assert not found[second].ok
    assert "missing" in found[second].text
    (network,) = (out / "networks").iterdir()
    layered(np.random.default_rng(0), [4, 3, 2]).save(network)
    assert all(not check.ok for check in checks(out).values())


def test_a_rerun_takes_up_what_is_there(whole: Path, tmp_path: Path) -> None:
    out = copied(whole, tmp_path / "out")
    before = rows_of(out)
    (out / "results" / f"{before[0]['path']}.parquet").unlink()
    (out / before[-1]["certificate"]).unlink()
    outcome = run(CASE.file(whole.parent), out)
    assert (outcome.exit_code, outcome.reused_paths) == (0, 4)
    assert rows_of(out) == before
    assert all(check.ok for check in checks(out).values())


def test_a_layered_network_without_labels_in_both_norms(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    layered(rng, [3, 4, 3]).save(tmp_path / "net.npz")
    columns = {f"c{j}": rng.normal(size=4) for j in range(3)}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    file = CASE.file(
        tmp_path, networks=[{"name": "relu", "source": "net.npz"}],
        data={"source": "x.parquet", "limit": 3}, norms=["linf", "l2"], unit="raw", radii=[0.05],
    )  # fmt: skip
    assert run(file, tmp_path / "out").exit_code == 0
    rows = rows_of(tmp_path / "out")
    assert [row["norm"] for row in rows].count("l2") == 3 == len(rows) // 2
    assert all(row["correct"] and not row["labelled"] for row in rows)
    assert [json.loads(row["radii"]) for row in rows] == [[0.05] * 3] * 6
    assert all(check.ok for check in checks(tmp_path / "out").values())


def test_the_best_refit_of_a_sweep_is_taken(tmp_path: Path) -> None:
    config = small_config(tmp_path)
    run_sweep(config, str(tmp_path / "trained"), INLINE)
    rows = read_results(RunFolder.open(tmp_path / "trained")).to_pylist()
    best = min((row for row in rows if row["shard"] == "all"), key=lambda row: row["upper_bound"])
    file = CASE.file(
        tmp_path, networks=[{"name": "best", "source": "trained"}],
        data={"source": config.data.source, "target": config.data.target, "limit": 2},
    )  # fmt: skip
    assert run(file, tmp_path / "out").exit_code == 0
    (network,) = (tmp_path / "out" / "networks").iterdir()
    assert network.read_bytes() == (tmp_path / "trained" / best["network"]).read_bytes()


def test_of_several_outputs_and_beside_arms_our_whole_networks_are_taken(tmp_path: Path) -> None:
    config = classes_config(tmp_path, baselines=["annealing"], baseline_seconds=0.01)
    run_sweep(config, str(tmp_path / "trained"), INLINE)
    trained = read_results(RunFolder.open(tmp_path / "trained")).to_pylist()
    ours = [row for row in trained if row["rounding"] == "refined" and row["output"] is None]
    assert len(ours) < len([row for row in trained if row["network"] is not None])
    for each, count in ((False, 1), (True, 4)):
        one = NetworkConfig(name="n", source=str(tmp_path / "trained"), each=each)
        found = [network.to_bytes() for _, network, _ in networks_of(one)]
        known = [row for row in ours if (row["shard"] == "all") != each]
        files = [(tmp_path / "trained" / row["network"]).read_bytes() for row in known]
        assert len(found) == count
        assert all(content in files for content in found)


def test_every_setting_of_a_sweep_in_one_table(tmp_path: Path) -> None:
    config = small_config(tmp_path)
    run_sweep(config, str(tmp_path / "trained"), INLINE)
    trained = read_results(RunFolder.open(tmp_path / "trained")).to_pylist()
    first = [row for row in trained if row["shard"] != "all"]
    first = [row for row in first if row["shard"] == min(one["shard"] for one in first)]
    file = CASE.file(
        tmp_path, networks=[{"name": "small", "source": "trained", "each": True}],
        data={"source": config.data.source, "target": config.data.target, "limit": 8},
        radii=[0.0, 0.02], largest=True,
    )  # fmt: skip
    assert run(file, tmp_path / "out").exit_code == 0
    rows = read_results(RunFolder.open(tmp_path / "out"), get_study("robustness").rows).to_pylist()
    assert len(rows) == 4 * 3 * 8
    for row in rows:
        same = [one for one in first if (one["beta"], one["width"]) == (row["beta"], row["width"])]
        best = min(same, key=lambda one: (one["upper_bound"], one["trial"]))
        assert (row["beta_fraction"], row["alphabet"]) == (best["beta_fraction"], best["alphabet"])
        own = (tmp_path / "out" / row["network_file"]).read_bytes()
        assert own == (tmp_path / "trained" / best["network"]).read_bytes()
    listed = choosables(finished(pa.Table.from_pylist(rows)))
    assert {(one.beta_fraction, one.width) for one in listed} == {
        (beta, width) for beta in (0.3, 0.05) for width in (4, 8)
    }
    shares = [one.proven[0.02] for one in listed]
    assert shares == sorted(shares, reverse=True)
    for one in listed:
        own = [row for row in rows if row["network"] == one.network and not row["largest"]]
        some = [row["verdict"] == "robust" for row in own if row["radius"] == 0.02]
        assert one.proven[0.02] == np.mean(some)
        assert one.certified is not None
    best = choice_metrics(rows)
    assert best["best_setting/linf/0.02/proven"] == shares[0]
    assert "Which setting is robust" in (tmp_path / "out" / "report.html").read_text()
    assert [check.text for check in checks(tmp_path / "out").values() if not check.ok] == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"networks": [{"name": "own", "source": "own.npz", "each": True}]}, "a sweep's folder"),
        ({"radii": []}, "radii: must not be empty"),
        ({"radii": [-1.0]}, "radii[0]: must be at least 0"),
        ({"norms": ["l1"]}, "norms[0]: must be"),
        ({"unit": "percent"}, "unit: must be"),
        ({"learned": 1}, "learned: unknown key"),
        ({"networks": [{"name": "own", "source": "gone.npz"}]}, "gone.npz"),
        ({"networks": [{"name": "own", "source": "own.npz"}] * 2}, "two have the same name"),
        ({"networks": [{"name": "own", "source": "."}]}, "no refitted network"),
        ({"data": {"source": "gone.parquet"}}, "gone.parquet: no such file"),
        ({"data": {"source": "rows.parquet", "target": "z"}}, "no column 'z'"),
    ],
)
def test_bad_input_is_a_line(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    CASE.write(tmp_path)
    with pytest.raises(InputError) as error:
        run(CASE.file(tmp_path, **changes), tmp_path / "out")
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_the_page_and_the_tracked_run(whole: Path) -> None:
    page = (whole / "report.html").read_text()
    assert page.count("<figure") == 1
    assert "provably correct" in page
    folder = RunFolder.open(whole)
    config = load_config(CASE.file(whole.parent), [], get_study("robustness").config)
    store = open_store(config, folder)
    (tracked,) = runs_of(store, "sweep")
    assert tracked.info.status == "FINISHED"
    rows = finished(read_results(folder, get_study("robustness").rows))
    for group in groups(rows):
        name = f"own/linf/{group.radius:g}/proven"
        assert tracked.data.metrics[name] == group.proven / N
    artifacts = artifacts_of(store, tracked.info.run_id)
    assert {"report.html", "sweep.yaml", "figures/curves.png"} <= artifacts
