"""One row a block of behaviours, and the table of a block's verdicts beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipeline.results.folder import KEPT
from pipeline.results.schema import RowSchema

if TYPE_CHECKING:
    # It brings the compiler.
    from qnn.moments.bell import Decision

Array = np.ndarray

VERDICTS_FOLDER = "verdicts"
# What stands for the set where a row tells of a network that was trained.
TRAINING, SHIPPED = "training", "shipped"
# What a finished run leaves for good.
LEFT = (*KEPT, VERDICTS_FOLDER)


@dataclass(frozen=True)
class BlockRow:
    """A block of behaviours decided; shares and counts of its verdicts, the processor time.

    `certified` verdicts, those nearest to the boundary, were proven again in rational arithmetic;
    `refused` of them failed. `content` is the digest of the behaviours' bytes. `cpu_seconds` is of
    deciding alone, `cpu_per_1000` behaviours.

    `model`: the network that foretold where the steps start, in words, "shipped" for the package's,
    None without one; `model_seed`: of its training; `model_file`: in the run's folder. The set
    "training" is the row of such a network: it has no behaviours.
    """

    trial: str
    path: str
    shard: str
    scenario: str
    level: str
    set: str
    seed: int | None
    steps: int
    fallback: str | None
    first: int
    count: int
    content: str | None = None
    inside: int | None = None
    outside: int | None = None
    inconclusive: int | None = None
    decided_share: float | None = None
    by_steps: int | None = None
    by_solver: int | None = None
    mean_steps: float | None = None
    certified: int | None = None
    refused: int | None = None
    cpu_seconds: float | None = None
    cpu_per_1000: float | None = None
    verdicts: str | None = None
    certificates: tuple[str, ...] | None = None
    status: str = "ok"
    error: str | None = None
    seconds: float = 0.0
    versions: str = "{}"
    model: str | None = None
    model_seed: int | None = None
    model_file: str | None = None


ROWS = RowSchema.of(
    BlockRow,
    later=("model", "model_seed", "model_file"),
    timings=("seconds", "cpu_seconds", "cpu_per_1000"),
)


def verdict_table(decision: Decision, first: int) -> pa.Table:
    """Verdicts as a table, a row a behaviour, the first of which is number `first`."""
    b = decision.behaviours
    flat = pa.array(b.reshape(-1))
    return pa.table(
        {
            "row": pa.array(np.arange(first, first + len(b))),
            "behaviour": pa.FixedSizeListArray.from_arrays(flat, b.shape[1]),
            "verdict": pa.array(decision.verdict.astype(object), pa.string()),
            "gauge_lower": pa.array(decision.gauge_lower),
            "gauge_upper": pa.array(decision.gauge_upper),
            "stage": pa.array(decision.stage.astype(object), pa.string()),
            "steps": pa.array(decision.steps),
        }
    )


def behaviours_of(table: pa.Table) -> Array:
    """The behaviours (N, p) of a table of verdicts. `ValueError` where it has none."""
    if "behaviour" not in table.column_names or not pa.types.is_fixed_size_list(
        table.schema.field("behaviour").type
    ):
        raise ValueError("no table of verdicts: it has no column behaviour")
    column = table["behaviour"].combine_chunks()
    values = column.flatten().to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(values.reshape(len(table), -1), dtype=np.float64)
