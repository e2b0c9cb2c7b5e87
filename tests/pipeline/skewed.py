"""A sweep of two very unequal classes that takes a second: with plain weights it learns nothing."""

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.configuration.reading import SweepConfig, parse_config
from pipeline.configuration.yaml_text import dump_yaml

SWEEP: dict[str, Any] = {
    "name": "skewed",
    "shards": {"kind": "kfold", "count": 2},
    "beta": {"fractions": [0.3, 0.1]},
    "seeds": [0],
    "widths": [4],
    "rounding": ["refined"],
}


def write_skewed(folder: Path, rows: int = 240, rare: int = 8) -> Path:
    """`rare` rows of `rows` are of class "yes": those of the largest a·b."""
    X = np.random.default_rng(11).standard_normal((rows, 3))
    labels = np.full(rows, "no", dtype=object)
    labels[np.argsort(X[:, 0] * X[:, 1])[-rare:]] = "yes"
    lines = ["a,b,c,target"]
    lines += [",".join([*(f"{v:.6f}" for v in x), t]) for x, t in zip(X, labels, strict=True)]
    file = folder / "skewed.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def skewed_config(folder: Path, **changes: Any) -> SweepConfig:
    """The sweep, its data written into `folder`."""
    data = {"source": str(write_skewed(folder)), **changes.pop("data", {})}
    return parse_config(dump_yaml({**SWEEP, "data": data, **changes}), "skewed.yaml")
