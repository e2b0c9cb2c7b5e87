"""A folder to which partitions come, and a sweep on it that takes a second."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.configuration.reading import SweepConfig, parse_config
from pipeline.configuration.yaml_text import dump_yaml
from tests.pipeline.tracked import new_folder

SWEEP: dict[str, Any] = {
    "name": "arriving",
    "shards": {"kind": "kfold", "count": 2},
    "beta": {"fractions": [0.05]},
    "seeds": [0],
    "widths": [8],
    "rounding": ["refined"],
    "tracking": {"top": 1},
}


def rows(count: int, seed: int, noise: float = 0.0, shift: float = 0.0) -> pa.Table:
    """Rows whose label is that of a product; `noise` is the share of flipped labels."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((count, 4)) + shift
    value = X[:, 0] * X[:, 1] - 0.5 * X[:, 2] + 0.1 * rng.standard_normal(count)
    flipped = rng.random(count) < noise
    columns = {name: np.round(X[:, j], 6) for j, name in enumerate("abcd")}
    return pa.table({**columns, "y": value, "target": np.where((value > 0) ^ flipped, "yes", "no")})


def arrive(
    data: Path, name: str, count: int = 60, seed: int = 0, noise: float = 0.0, shift: float = 0.0
) -> Path:
    """Write a partition, CSV or Parquet by its name."""
    data.mkdir(exist_ok=True)
    table = rows(count, seed, noise, shift)
    file = data / name
    if name.endswith(".csv"):
        table.to_pandas().to_csv(file, index=False)
    else:
        file.parent.mkdir(exist_ok=True)
        pq.write_table(table, file)
    return file


def text(data: Path | str, **changes: Any) -> str:
    """The sweep as YAML."""
    tree = copy.deepcopy(SWEEP)
    columns = changes.pop("columns", {"exclude": ["y"]})
    tree["data"] = {"source": str(data), **columns}
    return dump_yaml({**tree, **changes})


def config(data: Path | str, **changes: Any) -> SweepConfig:
    return parse_config(text(data, **changes), "arriving.yaml")


def home_with_store(where: Path) -> Path:
    """A retraining's folder with an empty migrated MLflow database, which takes seconds to make."""
    new_folder(where)
    return where
