"""The outputs of a joined network, as pages show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.redact import redact
from pipeline.summary import percent

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


def describe_outputs(parts: Sequence[Row], names: Sequence[Any]) -> list[dict[str, str]]:
    """The cells of a table of outputs; `names` are their classes or targets, output by output.

    Objective and neurons are those of the output's own network: where outputs share neurons, the
    joined network has fewer of them than the sum.
    """
    labels = [redact(str(name)) for name in names]
    return [
        {
            "output": f"{part['output']}",
            "label": labels[part["output"]] if part["output"] < len(labels) else "",
            "lower": f"{part['lower_bound']:.6g}",
            "upper": f"{part['upper_bound']:.6g}",
            "gap": percent(part["gap"]),
            "neurons": f"{part['neurons']}",
            "fit": _fit(part),
            "certificate": str(part["certificate"]),
        }
        for part in parts
    ]


def _fit(part: Row) -> str:
    """How an output fits its training rows: accuracy of a class, RMSE and R² of a target."""
    if not pd.isna(part["train_accuracy"]):
        return f"{100 * part['train_accuracy']:.1f} %"
    share = part["train_r2"]
    return f"{part['train_rmse']:.4g}" + ("" if share is None else f" (R² {share:.3f})")


def kind_of_outputs(parts: Sequence[Row]) -> str:
    """What an output stands for: "class" or "target"."""
    return "target" if any(pd.isna(part["train_accuracy"]) for part in parts) else "class"
