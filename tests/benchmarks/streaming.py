"""Many more rows than columns squared, over Parquet: `python -m tests.benchmarks.streaming`.

The rows are planted, written to Parquet block by block first; that is not part of the times.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.datasets.batches import parquet_batches
from qnn.certificates.streaming import verify_stream
from qnn.training.relaxation.streaming.compression import compress
from qnn.training.relaxation.streaming.solve import solve_stream
from tests.benchmarks.measure import Stopwatch, gib, machine, peak_bytes

BLOCK = 50_000


def write(path: Path, rows: int, d: int, seed: int = 0) -> list[str]:
    """Planted rows: five bilinear neurons and noise, the last column constant."""
    rng = np.random.default_rng(seed)
    U, V = rng.choice([-1.0, 1.0], (2, d, 5))
    names = [f"x{j}" for j in range(d)]
    schema = pa.schema([(name, pa.float64()) for name in [*names, "y"]])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, BLOCK):
            m = min(BLOCK, rows - start)
            X = np.hstack([rng.standard_normal((m, d - 1)), np.ones((m, 1))])
            y = ((X @ U) * (X @ V)).sum(axis=1) / d + rng.standard_normal(m)
            columns = [*X.T, y]
            writer.write_table(pa.table([pa.array(column) for column in columns], schema=schema))
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=30)
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.1])
    parser.add_argument("--tol", type=float, default=1e-4)
    arguments = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        names = write(path, arguments.rows, arguments.columns)
        batches = parquet_batches(str(path), names, "y")
        before = peak_bytes()
        watch = Stopwatch()
        compression = compress(batches)
        first = watch.read()
        print(
            f"n = {arguments.rows}, d = {arguments.columns}: compressed in {first}, "
            f"beta_max {compression.beta_max:.6g}; file {path.stat().st_size / 2**20:.0f} MiB"
        )
        for fraction in arguments.fractions:
            watch = Stopwatch()
            relaxed = solve_stream(
                batches, fraction * compression.beta_max, arguments.tol, compression=compression
            )
            rest = watch.read()
            watch = Stopwatch()
            proven = verify_stream(relaxed.certificate, batches)
            print(
                f"beta {fraction:g} of beta_max: compression and solve together "
                f"{first.wall + rest.wall:.1f} s ({first.processor + rest.processor:.1f} s of "
                f"processor time), verified gap {relaxed.gap:.2e} in [{proven:.8g}, "
                f"{relaxed.upper_bound:.8g}], {relaxed.message}; checked again in {watch.read()}; "
                f"peak {gib(peak_bytes())} (before any solving {gib(before)}); {machine()}",
                flush=True,
            )


if __name__ == "__main__":
    main()
