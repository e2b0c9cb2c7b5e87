"""The outputs of a joined network, among the rows of a run."""

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.results.record import NetworkRow, rows_of


def parts_of(results: pa.Table, row: NetworkRow) -> list[NetworkRow]:
    """The rows of a joined network's outputs, in their order; none where it has one output."""
    if not row.bounds.is_sum:
        return []
    wanted = pc.is_in(results["certificate"], pa.array(row.bounds.files))
    found = [one for one in rows_of(results.filter(wanted)) if _beside(one) == _beside(row)]
    return sorted(found, key=lambda one: one.identity.output or 0)


def _beside(row: NetworkRow) -> tuple[int | None, int | None, str]:
    """What the parts of one network share, beside its problem."""
    return row.axes.seed, row.axes.width, row.axes.rounding
