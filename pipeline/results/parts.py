"""The outputs of a joined network, among the rows of a run."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

Row = Mapping[str, Any]

_AXES = ("seed", "width", "rounding")


def is_joined(row: Row) -> bool:
    """Whether a row is a network of several outputs (from a table or from a data frame)."""
    return row["certificates"] is not None


def certificates_of(row: Row) -> list[str]:
    """The certificate files that a network's bound comes from."""
    return list(row["certificates"]) if is_joined(row) else [str(row["certificate"])]


def parts_of(results: pa.Table, row: Row) -> list[dict[str, Any]]:
    """The rows of a joined network's outputs, in their order; none where it has one output."""
    if not is_joined(row):
        return []
    wanted = pc.is_in(results["certificate"], pa.array(list(row["certificates"])))
    found = [
        one
        for one in results.filter(wanted).to_pylist()
        if all(one[axis] == row[axis] for axis in _AXES)
    ]
    return sorted(found, key=lambda one: int(one["output"]))
