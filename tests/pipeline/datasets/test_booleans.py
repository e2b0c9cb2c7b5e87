"""A target that a source has as true and false keeps these names, and its ids those of 1 and 0."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.configuration.reading import parse_config
from pipeline.configuration.settings import SweepConfig
from pipeline.configuration.yaml_text import dump_yaml
from pipeline.datasets.sources import load_table
from pipeline.plans.plan import plan_of
from pipeline.results.verification import verify_paths
from pipeline.sweeps.driver import SweepOptions, run_sweep
from qnn.features.class_weights import class_weights
from qnn.networks.quantized import QuantizedNetwork
from tests.pipeline.small import TINY


def config(folder: Path, kind: pa.DataType, **data: Any) -> SweepConfig:
    X = np.random.default_rng(2).standard_normal((60, 3))
    columns: dict[str, Any] = dict(zip("abc", X.T, strict=True))
    target = pa.array(X[:, 0] * X[:, 1] > 0.0).cast(kind)
    pq.write_table(pa.table(columns | {"target": target}), folder / f"{kind}.parquet")
    told = {"source": str(folder / f"{kind}.parquet"), "target": "target", **data}
    return parse_config(dump_yaml({"name": "truths", **TINY, "data": told}), "truths.yaml")


def named(config: SweepConfig) -> list[str]:
    return [str(label) for label in load_table(config).classes or ()]


def test_ids_are_those_of_ones_and_zeros(tmp_path: Path) -> None:
    truths, numbers = config(tmp_path, pa.bool_()), config(tmp_path, pa.int8())
    assert (named(truths), named(numbers)) == (["False", "True"], ["0", "1"])
    assert load_table(truths).sha256 == load_table(numbers).sha256
    ids = [path.id for path in plan_of(truths).paths]
    assert ids == [path.id for path in plan_of(numbers).paths]


@pytest.mark.parametrize("positive", [False, "false", "False", 0, "0"])
def test_a_class_is_named_as_before_and_as_it_reads(tmp_path: Path, positive: Any) -> None:
    chosen = config(tmp_path, pa.bool_(), positive=positive)
    assert named(chosen) == ["True", "False"]
    assert class_weights({str(positive).lower(): 3.0}, load_table(chosen).classes) == (1.0, 3.0)


def test_a_network_answers_with_true_and_false(tmp_path: Path) -> None:
    sweep = config(tmp_path, pa.bool_())
    outcome = run_sweep(sweep, str(tmp_path / "out"), SweepOptions(inline=True))
    assert outcome.exit_code == 0
    assert all(check.ok for check in verify_paths([str(tmp_path / "out")]))
    assert outcome.champion is not None
    network = QuantizedNetwork.load(tmp_path / "out" / str(outcome.champion.fit.network))
    frame = pq.read_table(sweep.data.source).drop_columns(["target"]).to_pandas()
    said = network.predict(frame)
    assert said.dtype == bool
    assert set(said.tolist()) == {False, True}
