"""A sweep of three classes that takes two seconds; their names want escaping."""

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.configuration.reading import SweepConfig, parse_config
from pipeline.configuration.yaml_text import dump_yaml

LABELS = ("a<b", "b & c", "c")
SWEEP: dict[str, Any] = {
    "name": "classes",
    "shards": {"kind": "kfold", "count": 2},
    "beta": {"fractions": [0.3, 0.05]},
    "seeds": [0],
    "widths": [4, 8],
    "rounding": ["refined"],
}
# What SWEEP makes: whole networks, parts of them, and those of the final refit.
JOINED, PARTS = 2 * 2 * 2, 3 * 2 * 2 * 2


def write_classes(folder: Path, rows: int = 60) -> Path:
    rng = np.random.default_rng(5)
    X = rng.standard_normal((rows, 4))
    scores = np.column_stack([X[:, 0] * X[:, 1], X[:, 2], 0.5 * X[:, 3] - X[:, 2]])
    labels = np.argmax(scores + 0.2 * rng.standard_normal(scores.shape), axis=1)
    lines = ["p,q,r,s,target"]
    lines += [
        ",".join([*(f"{v:.6f}" for v in x), LABELS[k]]) for x, k in zip(X, labels, strict=True)
    ]
    file = folder / "classes.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def classes_config(folder: Path, **changes: Any) -> SweepConfig:
    data = {"source": str(write_classes(folder)), **changes.pop("data", {})}
    return parse_config(dump_yaml({**SWEEP, "data": data, **changes}), "classes.yaml")
