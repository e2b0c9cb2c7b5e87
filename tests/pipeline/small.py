"""A sweep that takes a second: two noisy classes, three folds, two β."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.configuration.reading import SweepConfig, parse_config
from pipeline.configuration.yaml_text import dump_yaml
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_results
from pipeline.results.record import TIMING_COLUMNS

SWEEP: dict[str, Any] = {
    "name": "small",
    "data": {"source": "small.csv"},
    "shards": {"kind": "kfold", "count": 3},
    "beta": {"fractions": [0.3, 0.05]},
    "seeds": [0, 1],
    "widths": [4, 8],
    "rounding": ["krivine", "refined"],
}

# Of that, two shards with one network each.
TINY: dict[str, Any] = {
    "shards": {"kind": "kfold", "count": 2},
    "beta": {"fractions": [0.1]},
    "seeds": [0],
    "widths": [6],
    "rounding": ["refined"],
}


def write_data(folder: Path, rows: int = 60, regression: bool = False) -> Path:
    rng = np.random.default_rng(3)
    X = rng.standard_normal((rows, 4))
    value = X[:, 0] * X[:, 1] - 0.5 * X[:, 2] + 0.2 * rng.standard_normal(rows)
    target = [f"{v:.6f}" for v in value] if regression else np.where(value > 0, "yes", "no")
    lines = ["a,b,c,d,target"]
    lines += [",".join([*(f"{v:.6f}" for v in x), t]) for x, t in zip(X, target, strict=True)]
    file = folder / "small.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def config_text(folder: Path, **changes: Any) -> str:
    """The sweep as YAML, its data written into `folder`."""
    regression = changes.get("task") == "regression"
    source = str(write_data(folder, regression=regression))
    return dump_yaml({**SWEEP, "data": {"source": source}, **changes})


def small_config(folder: Path, **changes: Any) -> SweepConfig:
    return parse_config(config_text(folder, **changes), "small.yaml")


def long_sweep(folder: Path, paths: int = 12, name: str = "long") -> Path:
    """A sweep's file: paths of a second or so each, so that a run can be hit in between."""
    file = folder / f"{name}.yaml"
    sweep = {
        "name": name,
        "data": {"source": "sklearn:breast_cancer", "positive": "malignant"},
        "shards": {"kind": "kfold", "count": paths},
        "beta": {"fractions": [0.1, 0.03, 0.01]},
        "seeds": [0],
        "widths": [16],
        "rounding": ["refined"],
    }
    file.write_text(dump_yaml(sweep))
    return file


def rows_of(location: Path | str) -> pa.Table:
    """All rows but their timings."""
    return read_results(RunFolder.open(location)).drop_columns(list(TIMING_COLUMNS))


def files_of(location: Path) -> dict[str, bytes]:
    """The files that do not depend on time, by name."""
    folder = RunFolder.open(location)
    names = [name for name in folder.files() if name.split("/")[0] not in ("results", "sweep.log")]
    return {name: folder.read(name) for name in names if name.endswith((".npz", "/all.parquet"))}


__all__ = ["TINY", "config_text", "files_of", "long_sweep", "rows_of", "small_config", "write_data"]
