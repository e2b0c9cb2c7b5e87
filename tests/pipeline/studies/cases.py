"""A tiny sweep of every study, and what all their tests do with one."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq

import qnn
from pipeline.configuration.reading import load_config
from pipeline.configuration.yaml_text import dump_yaml
from pipeline.plans.studies import get_study, study_at, study_of_file
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_results
from pipeline.sweeps.driver import SweepOptions, run_sweep
from qnn.features.preprocessing import FeatureLayout
from tests.pipeline.small import SWEEP, write_data
from tests.qnn.quantization.networks import mlp, rows
from tests.qnn.robustness.cases import quantized

INLINE = SweepOptions(inline=True)
# Rows of the robustness study.
N = 9


@dataclass(frozen=True)
class Case:
    """A study's tiny sweep: its config, what writes the files that it names, and its rows.

    `without`: a required key.
    """

    config: dict[str, Any]
    rows: int
    without: str
    write: Callable[[Path], Any] = lambda folder: None

    def file(self, folder: Path, **changes: Any) -> Path:
        """The config, without the files that it names."""
        file = folder / f"{self.config['kind']}.yaml"
        file.write_text(dump_yaml({**self.config, **changes}))
        return file

    def written(self, folder: Path, **changes: Any) -> Path:
        """The config with the files that it names."""
        self.write(folder)
        return self.file(folder, **changes)


def _robustness_files(folder: Path) -> None:
    """Rows with a category, a network of them with labels that it mostly answers."""
    rng = np.random.default_rng(0)
    table = {"a": rng.normal(50.0, 9.0, N), "b": rng.normal(size=N),
             "c": rng.choice(np.array(["x", "y"], dtype=object), N)}  # fmt: skip
    prepared = FeatureLayout.from_table(table).fit(
        table, np.array(["no", "yes"] * N, dtype=object)[:N], ("no", "yes")
    )
    plain = quantized(rng, prepared.layout.d, 4, "bilinear", "binary", 1)
    network = qnn.QuantizedNetwork(plain.U, plain.V, plain.alpha, preprocessing=prepared)
    network.save(folder / "own.npz")
    target = network.predict(table)
    target[0] = "no" if target[0] == "yes" else "yes"
    pq.write_table(pa.table({**table, "target": target}), folder / "rows.parquet")


def _quantization_files(folder: Path) -> None:
    """A small network, rows, their classes by it."""
    X, net = rows(120, (8,)), mlp((8, 6, 3))
    onnx.save(net, folder / "net.onnx")
    np.save(folder / "rows.npy", X)
    scores = onnxruntime.InferenceSession(net.SerializeToString()).run(None, {"x": X})[0]
    np.save(folder / "labels.npy", scores.argmax(axis=1))


def _blocks_of_rows(folder: Path) -> None:
    """Rows with a category, for five blocks."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    value = X[:, 0] * X[:, 1] - X[:, 2] ** 2 + 0.3 * rng.normal(size=300) + 0.7
    columns = {"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "d": rng.choice(list("xy"), 300)}
    pq.write_table(pa.table({**columns, "target": value}), folder / "blocks.parquet")


CASES = {
    "bell": Case(
        {
            "kind": "bell",
            "name": "small",
            "data": {"sets": ["N", "plane"], "count": 60, "points": 31},
            "levels": ["1", "1+AB"],
            "steps": [2, 30],
            "fallback": None,
            "block": 200,
            "certificates": 2,
        },
        rows=12,
        without="data",
    ),
    "csp": Case(
        {
            "kind": "csp",
            "name": "small",
            "instances": ["g05_20.3"],
            "planted": [{"n": 12, "k": 3, "degree": 5.0, "noise": 0.4, "seeds": [2]}],
            "rounds": [0, 2],
            "rules": ["auto", "random"],
            "cuts": "none",
        },
        rows=8,
        without="name",
    ),
    "distributed": Case(
        {
            "kind": "distributed",
            "name": "small",
            "data": {"source": "blocks.parquet"},
            "task": "regression",
            "beta": {"fractions": [0.5, 0.2]},
            "distributed": {"blocks": 5, "actors": 2},
        },
        rows=2,
        without="beta",
        write=_blocks_of_rows,
    ),
    "quantization": Case(
        {
            "kind": "quantization",
            "name": "small",
            "data": {"source": "rows.npy", "labels": {"source": "labels.npy"}, "held_out": 0.5},
            "models": [{"source": "net.onnx"}],
            "methods": ["rtn", "kbest"],
            "budgets": [2, 4],
            "certify": "scale",
        },
        rows=8,
        without="models",
        write=_quantization_files,
    ),
    "robustness": Case(
        {
            "kind": "robustness",
            "name": "small",
            "networks": [{"name": "own", "source": "own.npz"}],
            "data": {"source": "rows.parquet"},
            "radii": [0.0, 0.1, 0.4],
            "unit": "range",
            "block": 5,
        },
        rows=3 * N,
        without="networks",
        write=_robustness_files,
    ),
    # 3 folds × 2 β × 2 seeds × 2 widths × 2 roundings, and the refit of the best with both seeds.
    "training": Case(
        {"kind": "training", **SWEEP}, rows=48 + 2, without="shards", write=write_data
    ),
}


def run(file: Path, out: Path, track: bool = False) -> Any:
    """The sweep of a file, in this process."""
    study = study_of_file(file)
    config = load_config(file, [], study.config)
    start = study.start_tracking if track else None
    return run_sweep(config, str(out), INLINE, start_tracking=start)


def rows_of(out: Path) -> list[dict[str, Any]]:
    """All rows of a run's folder but their timings."""
    schema = study_at(str(out)).rows
    found = read_results(RunFolder.open(out), schema).drop_columns(list(schema.timings))
    return found.to_pylist()


def copied(whole: Path, target: Path) -> Path:
    """A copy of a run's folder, without MLflow's database."""
    for file in whole.rglob("*"):
        place = target / file.relative_to(whole)
        if file.is_file() and not file.name.endswith(".db"):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.read_bytes())
    return target


def checks(out: Path, fast: bool = False) -> dict[str, Any]:
    """What verify says of each file of a run's folder."""
    found = list(study_at(str(out)).verify(str(out), None, fast))
    return {check.file: check for check in found}


def refused(out: Path) -> list[Any]:
    """What verify refuses of a run's folder, fast, whoever says it."""
    return [check for check in study_at(str(out)).verify(str(out), None, True) if not check.ok]


def finished_run(name: str, folder: Path) -> Path:
    """A finished, tracked run of a study's tiny sweep, beside its files."""
    outcome = run(CASES[name].written(folder), folder / "out", track=True)
    assert (outcome.exit_code, outcome.failed, outcome.tracking_error) == (0, 0, None)
    assert get_study(name) is study_at(str(folder / "out"))
    return folder / "out"
