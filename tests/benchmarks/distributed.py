"""One problem in blocks on Ray actors, over Parquet: `python -m tests.benchmarks.distributed`.

The rows are planted and written to Parquet first, or are Fashion-MNIST's (`--images`); that is not
part of the times. Wall times mean little on a machine that is shared, so processor seconds of each
actor are stated, and the critical path: of each pass those of the actor that needed most.
`--record FILE` keeps the constants from which `tests.benchmarks.scaling` computes larger sizes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.datasets.blocks.reader import BlockTable, Reading
from pipeline.datasets.blocks.row_groups import RowGroups
from pipeline.datasets.blocks.statistics import (
    Asked,
    StatisticsPass,
    fit,
    merge_tables,
)
from pipeline.datasets.blocks.targets import TargetReading
from pipeline.sweeps.cluster.block_actors import ActorBlocks, TableBlocks, actor_blocks
from pipeline.sweeps.cluster.session import ray_session
from qnn.certificates.blockwise import verify_blocks
from qnn.losses import get_loss
from qnn.training.relaxation.blocks.compressed import Compressed
from qnn.training.relaxation.blocks.solve import first_pass, solve_blocks
from qnn.training.relaxation.streaming.moments import Fourth
from qnn.training.rounding.over_blocks import round_blocks
from tests.benchmarks.image_size import load
from tests.benchmarks.measure import Stopwatch, gib, machine, peak_bytes

GROUP = 100_000
UNSCALED = Asked(scaling="none")
CALLS = 200


def write(path: Path, rows: int, d: int, classes: bool) -> None:
    """Planted rows: five bilinear neurons and noise, the last column constant."""
    rng = np.random.default_rng(0)
    U, V = rng.choice([-1.0, 1.0], (2, d, 5))
    names = [*(f"x{j}" for j in range(d)), "y"]
    schema = pa.schema([(name, pa.float64()) for name in names])
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        for start in range(0, rows, GROUP):
            m = min(GROUP, rows - start)
            X = np.hstack([rng.standard_normal((m, d - 1)), np.ones((m, 1))])
            y = ((X @ U) * (X @ V)).sum(axis=1) / d + rng.standard_normal(m)
            y = np.where(y > 0.0, 1.0, -1.0) if classes else y
            writer.write_table(pa.table([pa.array(column) for column in [*X.T, y]], schema=schema))


def write_images(path: Path, rows: int, label: int) -> int:
    """Fashion-MNIST, a class against the rest; returns the number of columns."""
    X, y = load(rows, label, "unit")
    columns = {f"x{j}": X[:, j] for j in range(X.shape[1])}
    pq.write_table(pa.table({**columns, "y": y}), path, row_group_size=2000)
    return X.shape[1]


@contextlib.contextmanager
def holders(table: BlockTable, actors: int, keep: float) -> Iterator[TableBlocks | ActorBlocks]:
    """Blocks on so many actors; 0: in this process."""
    if actors == 0:
        yield TableBlocks(table, keep)
        return
    with actor_blocks(table, actors, keep) as blocks:
        yield blocks


def processor(blocks: TableBlocks | ActorBlocks, watch: Stopwatch) -> tuple[float, float]:
    """Processor seconds of all who hold blocks so far, and those of the critical path."""
    if isinstance(blocks, ActorBlocks):
        return blocks.traffic.total_seconds, blocks.traffic.critical
    return watch.read().processor, watch.read().processor


class EmptyPass:
    """No work on a block."""

    def __call__(self, index: int, batches: object) -> int:
        return 0


def seconds_of_a_call(blocks: ActorBlocks) -> float:
    """Processor seconds of this process for each actor that a pass asks, if they are many."""
    import ray

    shared = ray.put((EmptyPass(), max, None))
    asked = list(zip(blocks.actors, blocks.owned, strict=True)) * CALLS
    began = time.process_time()
    ray.get([actor.reduce.remote(shared, owned) for actor, owned in asked])
    return (time.process_time() - began) / len(asked)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=30)
    parser.add_argument("--images", type=int, nargs="+", help="classes, each against the rest")
    parser.add_argument("--loss", default="squared")
    parser.add_argument("--fraction", type=float, default=0.1)
    parser.add_argument("--tol", type=float, default=1e-2)
    parser.add_argument("--blocks", type=int, default=64)
    parser.add_argument("--actors", type=int, nargs="+", default=[1, 2], help="0: this process")
    parser.add_argument("--keep", type=float, default=0.0, help="GiB of rows an actor may keep")
    parser.add_argument("--network", action="store_true", help="round to a network too")
    parser.add_argument("--record", type=Path)
    arguments = parser.parse_args()
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        path = Path(folder) / "rows.parquet"
        if max(arguments.actors) > 0:
            stack.enter_context(ray_session(None, 2))
        for label in arguments.images or [None]:
            if label is None:
                write(path, arguments.rows, arguments.columns, arguments.loss != "squared")
            else:
                arguments.columns = write_images(path, arguments.rows, label)
            known: dict[str, float] = {}
            for actors in arguments.actors:
                known = measure(path, actors, arguments, known, label)


def measure(
    path: Path,
    actors: int,
    asked: argparse.Namespace,
    earlier: dict[str, float],
    label: int | None,
) -> dict[str, float]:
    """Solve with so many actors; print what it took."""
    groups = RowGroups.of(str(path))
    table = BlockTable.of(groups, groups.columns, asked.blocks)
    with holders(table, actors, asked.keep * 2**30) as blocks:
        watch = Stopwatch()
        found = blocks.reduce(StatisticsPass("y", False, UNSCALED), merge_tables)
        preprocessing = fit(found, "y", None, UNSCALED)
        target = TargetReading("y", preprocessing.target)
        blocks.reading = Reading(preprocessing, target, found.checksums)
        statistics, _ = processor(blocks, watch)
        first = first_pass(blocks, asked.loss, asked.tol)
        blocks.reading = replace(blocks.reading, checksums=())
        scanned, _ = processor(blocks, watch)
        beta = asked.fraction * first.beta_max
        relaxed = solve_blocks(blocks, beta, asked.tol, asked.loss, first=first)
        solved, critical = processor(blocks, watch)
        wall = watch.read().wall
        who = f"{actors} actors" if actors else "this process"
        who += "" if label is None else f", class {label}"
        print(
            f"n = {groups.rows}, d = {preprocessing.layout.d}, {asked.loss}, beta "
            f"{asked.fraction:g} of beta_max, {table.count} blocks, {who}: wall {wall:.1f} s; "
            f"processor: statistics {statistics:.1f} s, first pass {scanned - statistics:.1f} s, "
            f"solve and proof {solved - scanned:.1f} s, critical path {critical:.1f} s; "
            f"{relaxed.message}, {relaxed.passes} passes; verified gap {relaxed.gap:.2e} in "
            f"[{relaxed.lower_bound:.10g}, {relaxed.upper_bound:.10g}]; {machine()}",
            flush=True,
        )
        known = {
            "rows": groups.rows, "columns": preprocessing.layout.d, "actors": actors,
            "statistics": statistics, "first": scanned - statistics, "rest": solved - scanned,
            "passes": relaxed.passes, "critical": critical, "gap": relaxed.gap, "wall": wall,
            "rank": relaxed.statistics.get("rank", 0.0),
        }  # fmt: skip
        if isinstance(blocks, ActorBlocks):
            import ray

            peaks = [ray.get(actor.process.remote())[1] for actor in blocks.actors]
            sent, received = blocks.traffic.sent, blocks.traffic.received
            print(
                f"  peak of an actor {gib(max(peaks))}; sent {sent} bytes, received {received}",
                flush=True,
            )
            call = seconds_of_a_call(blocks)
            known |= {"peak": max(peaks), "sent": sent, "received": received, "call": call}
        else:
            print(f"  peak {gib(peak_bytes())}", flush=True)
            known |= {"peak": peak_bytes()}
        if earlier and earlier["actors"]:
            ratio = earlier["critical"] / critical
            print(
                f"  {actors} against {earlier['actors']:g}: critical path {ratio:.2f} times, "
                f"wall {earlier['wall'] / wall:.2f} times"
            )
            known |= {"speedup": ratio}
        if isinstance(first, Compressed):
            known |= {"moments": len(Fourth(preprocessing.layout.d).sums)}
        if asked.network:
            watch = Stopwatch()
            rounded = round_blocks(blocks, relaxed, get_loss(asked.loss), first)
            gap = 1.0 - relaxed.lower_bound / rounded.objective
            print(
                f"  network of {rounded.network.neurons} neurons, gap {gap:.2%}, in {watch.read()}",
                flush=True,
            )
        watch = Stopwatch()
        verify_blocks(relaxed.certificate, blocks)
        print(f"  verified again in {watch.read()}", flush=True)
    if asked.record is not None:
        key = f"{asked.loss} n={groups.rows} d={preprocessing.layout.d} actors={actors}"
        key += "" if label is None else f" class={label}"
        held = json.loads(asked.record.read_text()) if asked.record.exists() else {}
        asked.record.write_text(json.dumps(held | {key: known}, indent=1, sort_keys=True) + "\n")
    return known


if __name__ == "__main__":
    main()
