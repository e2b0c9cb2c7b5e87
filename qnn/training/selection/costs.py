"""What choosing costs, told before it begins: right to a factor of about four on one core."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qnn.training.selection.folds import fold_count, rows_used
from qnn.training.selection.kinds import AUTO, WIDTHS, Kind, Wanted

# Seconds of a cell: a fold's networks of one output at one β. Measured from 20 ms (300 rows, 31 to
# 241 columns) to 0.9 s (1,300 rows, 172 columns that hardly tell the classes apart).
OVERHEAD = 0.01
RATE = 1.5e8
# Times as long with the cells of fewer columns: 1.5 on five sets of 4 to 30 columns.
REDUCED = 1.5


def estimate_seconds(table: Any, rows: int, classes: Sequence[Any] | None, wanted: Wanted) -> float:
    """Rough seconds of `choose` on a table of so many rows."""
    if not wanted.chooses:
        return 0.0
    used = rows_used(rows)
    count = fold_count(used)
    outputs = len(classes) if classes is not None and len(classes) > 2 else 1
    fitted = used * (count - 1) / count
    seconds = 0.0
    kinds = wanted.kinds(table, classes)
    for kind in kinds:
        seconds += count * outputs * len(wanted.fractions) * _cell(kind, wanted, table, fitted)
    paired = [kind.paired(classes) for kind in kinds if wanted.multi_class == AUTO]
    # One kind's encoding is tried in pairs; which, is not known before: the most expensive.
    pairs = outputs * (outputs - 1) // 2
    tried = [_cell(kind, wanted, table, 2 * fitted / outputs) for kind in paired if kind]
    seconds += count * pairs * len(wanted.fractions) * max(tried, default=0.0)
    return seconds * (REDUCED if wanted.reduces else 1.0)


def _cell(kind: Kind, wanted: Wanted, table: Any, rows: float) -> float:
    d = wanted.layout_of(kind, table).d
    return OVERHEAD + rows * (d * d + 40 * WIDTHS[0]) / RATE
