"""Every loss, activation, alphabet and second layer through a path, its files and their checks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.datasets.shards import shard_data
from pipeline.plans.units import PathSpec
from pipeline.results.folder import RunFolder
from pipeline.results.verification import verify_run
from pipeline.sweeps.driver import prepare
from pipeline.sweeps.worker.path import run_path
from qnn.certificates import Certificate
from qnn.networks.quantized import QuantizedNetwork
from tests.pipeline.small import small_config

RELU = {"polynomial": {"a": 0.0937, "b": 0.5, "c": 0.4688}}
KINDS = [
    {"loss": "logistic"},
    {"loss": "huber"},
    {"loss": "squared_hinge", "activation": RELU},
    {"loss": "huber", "loss_parameter": 0.7, "activation": RELU, "alphabet": "ternary"},
    {"loss": "hinge", "alphabet": 2, "second_layer": 3},
    {"loss": "absolute", "activation": RELU, "alphabet": 2, "second_layer": "common"},
]


def first_path(folder: Path, **changes) -> tuple[list[dict], RunFolder, PathSpec]:
    """The first path of a small sweep, computed: its rows, its folder and its spec."""
    config = small_config(folder, rounding=["refined"], seeds=[0], **changes)
    prepared = prepare(config)
    spec = prepared.plan.paths[0]
    data = shard_data(
        prepared.table, prepared.layout, prepared.split.shard(spec.shard), prepared.split
    )
    run = RunFolder.open(folder / "run")
    run.create()
    for _ in run_path(spec, data, run):
        pass
    return run.read_table(f"results/{spec.id}.parquet").to_pylist(), run, spec


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind.values()))[:30])
def test_a_kind_of_network_goes_through_files_and_verifies(kind, tmp_path):
    rows, *_ = first_path(tmp_path, **kind)
    checks = list(verify_run(str(tmp_path / "run")))
    assert len(checks) == 2 + 4 + 1  # No manifest: a path alone, without its sweep.
    assert all(check.ok for check in checks), [check.line for check in checks]
    for row in rows:
        assert row["status"] == "ok", row["error"]
        network = QuantizedNetwork.load(tmp_path / "run" / row["network"])
        certificate = Certificate.load(tmp_path / "run" / row["certificate"])
        # Without one of its own huber has δ = 1.
        parameter = kind.get("loss_parameter", 1.0 if kind["loss"] == "huber" else None)
        expected = (kind["loss"], parameter, str(kind.get("alphabet", "binary")))
        assert (network.loss, network.loss_parameter, network.alphabet) == expected
        assert (certificate.loss, certificate.loss_parameter, certificate.alphabet) == expected
        assert (row["loss"], row["loss_parameter"], row["alphabet"]) == expected
        assert row["second_layer"] == network.second_layer == str(kind.get("second_layer", "float"))
        if "activation" in kind:
            assert network.polynomial == tuple(certificate.polynomial) == (0.0937, 0.5, 0.4688)
            assert [float(x) for x in row["polynomial"].split(",")] == list(network.polynomial)
            assert network.V is None
        else:
            assert row["activation"] == network.activation == certificate.activation == "bilinear"
            assert row["polynomial"] is None
        assert row["lower_bound"] <= row["upper_bound"]
        assert row["neurons"] <= row["width"]
        if network.second_layer == "common":
            assert len(np.unique(np.abs(network.alpha))) <= 1


def test_a_network_of_another_kind_than_its_row_is_found(tmp_path):
    rows, run, _ = first_path(tmp_path, loss="huber", loss_parameter=0.7)
    network = QuantizedNetwork.load(tmp_path / "run" / rows[0]["network"])
    run.write(rows[0]["network"], replace(network, loss_parameter=0.8).to_bytes())
    (bad,) = [check for check in verify_run(str(tmp_path / "run")) if not check.ok]
    assert bad.text == "its loss_parameter is 0.8, its row says 0.7"


def test_rows_of_earlier_versions_leave_out_a_parameter_that_was_not_given(tmp_path):
    rows, run, spec = first_path(tmp_path, loss="huber")
    file = f"results/{spec.id}.parquet"
    schema = run.read_table(file).schema
    old = [{**row, "loss_parameter": None} for row in rows]
    run.write_table(file, pa.Table.from_pylist(old, schema=schema))
    assert all(check.ok for check in verify_run(str(tmp_path / "run")))
    network = QuantizedNetwork.load(tmp_path / "run" / rows[0]["network"])
    run.write(rows[0]["network"], replace(network, loss_parameter=0.8).to_bytes())
    (bad,) = [check for check in verify_run(str(tmp_path / "run")) if not check.ok]
    assert bad.text == "its loss_parameter is 0.8, its row says 1.0"


def test_each_choice_has_ids_of_its_own_and_the_usual_one_keeps_its_old_ids(tmp_path):
    choices = [
        {},
        {"loss": "huber"},
        {"loss": "huber", "loss_parameter": 0.5},
        {"activation": RELU},
        {"activation": {"polynomial": {"a": 1.0}}},
        {"alphabet": "ternary"},
        {"alphabet": 2},
        {"second_layer": "common"},
        {"second_layer": 4},
    ]
    specs = [
        prepare(small_config(tmp_path, rounding=["refined"], **choice)).plan.paths[0]
        for choice in choices
    ]
    assert len({spec.id for spec in specs}) == len(specs)
    assert len({spec.trial_id(next(spec.trials())) for spec in specs}) == len(specs)
    beta = specs[0].betas[0]
    # One certificate serves every second layer.
    assert len({spec.problem_id(spec.betas[0]) for spec in specs}) == len(specs) - 2
    assert specs[0].problem_id(beta) == specs[-1].problem_id(beta)
    assert specs[0].describe_problem() == "squared loss, bilinear, binary weights"
    assert specs[2].describe_problem() == "huber (0.5) loss, bilinear, binary weights"
    assert specs[3].describe_problem().startswith("squared loss, polynomial (0.0937, 0.5, 0.4688)")
    assert specs[-1].describe_problem().endswith("binary weights, second layer 4")
