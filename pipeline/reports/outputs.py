"""The outputs of a joined network, as pages show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from pipeline.logs.redact import redact
from pipeline.results.summary import percent

Row = Mapping[str, Any]


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
