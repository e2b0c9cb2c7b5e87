"""The study's tables for one small network: ``python -m tests.benchmarks.quantization_study OUT``.

An MLP 196-64-32-10 (``--data``: Fashion-MNIST at 14x14, else scikit-learn's digits) is trained and
quantized by every method after 512 rows, at 2, 3 and 4 bits throughout and with bits by neuron and
by layer, as sweeps of ``kind: quantization``; accuracy, divergence, bytes on the rows held out and
the layers' errors are printed. Models, rows and sweeps with their reports stay in the new folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from threadpoolctl import threadpool_limits

from pipeline.configuration.reading import load_config
from pipeline.plans.studies import get_study
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_results
from pipeline.studies.quantization.summary import Point, Row, finished, points
from pipeline.sweeps.driver import SweepOptions, run_sweep
from qnn.quantization import quantize
from tests.benchmarks.fashion import FASHION, images, trained
from tests.benchmarks.measure import Stopwatch, machine

METHODS = ["rtn_range", "rtn", "adaquant", "gptq", "descent", "kbest"]
SWEEPS: dict[str, dict[str, Any]] = {
    "bits-2": {"methods": METHODS, "budgets": [2], "bits": [2]},
    "bits-3": {"methods": METHODS, "budgets": [4], "bits": [3]},
    "bits-4": {"methods": METHODS, "budgets": [4], "bits": [4]},
    "by-layer": {"methods": ["kbest"], "budgets": [2.5, 3, 4], "bits": [2, 4, 8], "group": "layer"},
    "by-neuron": {"methods": METHODS, "budgets": [2, 2.5, 3, 4, 6, 8], "bits": [2, 4, 8]},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="a new folder")
    parser.add_argument("--data", type=Path, default=FASHION)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--seeds", type=int, default=1, help="draws of the calibration rows")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True)
    print(machine(), "- one thread", flush=True)
    watch = Stopwatch()
    with threadpool_limits(1):
        held_out = _written(arguments.out, arguments.data, arguments.rows)
        # What is compiled first counts for no method.
        few = np.load(arguments.out / "rows.npy")[:64]
        quantize(arguments.out / "net.onnx", few, 4.0, (4,), certify="none")
        for name, keys in SWEEPS.items():
            data = {"source": "rows.npy", "labels": {"source": "labels.npy"}, "held_out": held_out}
            config = {
                **{"kind": "quantization", "name": name, "models": [{"source": "net.onnx"}]},
                **{"data": {**data, "calibration": arguments.rows}, "certify": "none"},
                **{"seeds": list(range(arguments.seeds)), **keys},
            }
            _run(arguments.out, name, config)
    print(watch.read())


def _written(folder: Path, data: Path, count: int) -> float:
    """The network and rows that it was not trained on; the share of them to hold out."""
    X, y, Xt, yt = images(data)
    onnx.save(trained(X, y, (X.shape[1], 64, 32, 10)), folder / "net.onnx")
    np.save(folder / "rows.npy", Xt)
    np.save(folder / "labels.npy", yt)
    return 1.0 - min(0.5, 1.25 * count / len(Xt))


def _run(folder: Path, name: str, config: dict[str, Any]) -> None:
    study = get_study("quantization")
    file, out = folder / f"{name}.yaml", folder / name
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    run_sweep(load_config(str(file), [], study.config), str(out), SweepOptions(inline=True))
    rows = finished(read_results(RunFolder.open(str(out)), study.rows))
    print(f"{name}: test %, float's, KL held out, on calibration, bytes; layers' errors %; CPU s")
    for line in _lines(points(rows), rows):
        print(f"  {line}", flush=True)


def _lines(found: list[Point], rows: list[Row]) -> Iterator[str]:
    for p in found:
        layers: dict[int, list[float]] = {}
        for row in rows:
            if (row["method"], row["budget"]) == (p.method, p.budget):
                layers.setdefault(row["place"], []).append(100 * row["error_share"])
        errors = " / ".join(f"{np.mean(layers[k]):.3g}" for k in sorted(layers))
        yield (
            f"{p.method:10} budget {p.budget:g}: {100 * (p.accuracy or np.nan):.2f}, "
            f"{100 * (p.float_accuracy or np.nan):.2f}, {p.divergence:.5f}, "
            f"{p.calibration_divergence or np.nan:.5f}, {p.file_bytes:,.0f}; {errors}; "
            f"{p.cpu_seconds or np.nan:.1f}"
        )


if __name__ == "__main__":
    main()
