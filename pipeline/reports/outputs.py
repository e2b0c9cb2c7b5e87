"""The outputs of a joined network, as pages show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.logs.redact import redact
from pipeline.results.record import Fit, NetworkRow
from pipeline.results.summary import percent


def describe_outputs(parts: Sequence[NetworkRow], names: Sequence[Any]) -> list[dict[str, str]]:
    """The cells of a table of outputs; `names` are their classes or targets, output by output.

    Objective and neurons are those of the output's own network: where outputs share neurons, the
    joined network has fewer of them than the sum.
    """
    labels = dict(enumerate(redact(str(name)) for name in names))
    return [
        {
            "output": f"{part.identity.output}",
            "label": labels.get(part.identity.output or 0, ""),
            "lower": f"{part.bounds.lower_bound:.6g}",
            "upper": f"{part.fit.upper_bound:.6g}",
            "gap": percent(part.fit.gap),
            "neurons": f"{part.fit.neurons}",
            "fit": _fit(part.fit),
            "certificate": str(part.bounds.certificate),
        }
        for part in parts
    ]


def _fit(fit: Fit) -> str:
    """How an output fits its training rows: accuracy of a class, RMSE and R² of a target."""
    if fit.train_accuracy is not None:
        return f"{100 * fit.train_accuracy:.1f} %"
    share = fit.train_r2
    return f"{fit.train_rmse:.4g}" + ("" if share is None else f" (R² {share:.3f})")


def kind_of_outputs(parts: Sequence[NetworkRow]) -> str:
    """What an output stands for: "class" or "target"."""
    return "target" if any(part.fit.train_accuracy is None for part in parts) else "class"
