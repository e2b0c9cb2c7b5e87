"""A sweep of three regression targets that takes two seconds; their names want escaping."""

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.configuration.reading import SweepConfig, parse_config
from pipeline.configuration.yaml_text import dump_yaml

TARGETS = ("a<b", "b & c", "c")
SWEEP: dict[str, Any] = {
    "name": "targets",
    "task": "regression",
    "shards": {"kind": "kfold", "count": 2},
    "beta": {"fractions": [0.3, 0.05]},
    "seeds": [0],
    "widths": [4, 8],
    "rounding": ["refined"],
}
# What SWEEP makes: whole networks, parts of them, and those of the final refit.
JOINED, PARTS = 2 * 2 * 2, 3 * 2 * 2 * 2


def write_targets(folder: Path, rows: int = 60) -> Path:
    """Targets of very different sizes."""
    rng = np.random.default_rng(5)
    X = rng.standard_normal((rows, 4))
    noise = 0.2 * rng.standard_normal((rows, 3))
    values = np.column_stack([X[:, 0] * X[:, 1], X[:, 2], 0.5 * X[:, 3] - X[:, 2]]) + noise
    values = values * [1.0, 1000.0, 0.01] + [0.0, 5000.0, 3.0]
    lines = [",".join(("p", "q", "r", "s", *TARGETS))]
    lines += [",".join(f"{v:.6f}" for v in row) for row in np.column_stack([X, values])]
    file = folder / "targets.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def targets_text(folder: Path, **changes: Any) -> str:
    """The sweep as YAML, its data written into `folder`."""
    data = {"source": str(write_targets(folder)), "target": list(TARGETS)}
    return dump_yaml({**SWEEP, **changes, "data": {**data, **changes.get("data", {})}})


def targets_config(folder: Path, **changes: Any) -> SweepConfig:
    return parse_config(targets_text(folder, **changes), "targets.yaml")
