"""The outputs of a joined network, as pages show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.logs.redact import redact
from pipeline.reports.cells import Column, formatted, table_of, whole, words
from pipeline.results.record import Fit, NetworkRow
from pipeline.results.summary import percent


def outputs_table(
    joined: NetworkRow, parts: Sequence[NetworkRow], names: Sequence[Any]
) -> dict[str, Any]:
    """A row an output of a joined row; `names` are their classes, pairs or targets.

    Objective and neurons are those of the output's own network: where outputs share neurons, the
    joined network has fewer of them than the sum.
    """
    labels = dict(enumerate(redact(str(name)) for name in names))
    kind = kind_of_outputs(joined, parts)
    fit = {
        "class": "training accuracy, class or not",
        "pair": "training accuracy, one or the other",
        "target": "training RMSE, in units of the target",
    }[kind]
    columns: list[Column[NetworkRow]] = [
        words(kind, lambda one: labels.get(one.identity.output or 0, "") or None, wrap=True),
        Column("lower bound", lambda one: one.bounds.lower_bound, formatted(".6g")),
        Column("objective", lambda one: one.fit.upper_bound, formatted(".6g")),
        Column("gap", lambda one: one.fit.gap, percent),
        Column("neurons", lambda one: one.fit.neurons, whole),
        words(fit, lambda one: _fit(one.fit)),
        *([words("test RMSE, in units of the target", lambda one: _test(one.fit))]
          if kind == "target" else []),
        Column("output", lambda one: one.identity.output, whole),
        words("certificate", lambda one: str(one.bounds.certificate),
              link=lambda one: one.bounds.certificate),
    ]  # fmt: skip
    return table_of(columns, parts)


def _fit(fit: Fit) -> str:
    """How an output fits its training rows: accuracy of a class, RMSE and R² of a target."""
    if fit.train_accuracy is not None:
        return f"{100 * fit.train_accuracy:.1f} %"
    share = fit.train_r2
    return f"{fit.train_rmse:.4g}" + ("" if share is None else f" (R² {share:.3f})")


def _test(fit: Fit) -> str | None:
    """RMSE and R² of a target on the rows of the test; None where there are none."""
    if fit.test_rmse is None:
        return None
    share = fit.test_r2
    return f"{fit.test_rmse:.4g}" + ("" if share is None else f" (R² {share:.3f})")


def kind_of_outputs(joined: NetworkRow, parts: Sequence[NetworkRow]) -> str:
    """What an output of a joined row stands for: "class", "pair" (of fewer rows) or "target"."""
    if any(part.fit.train_accuracy is None for part in parts):
        return "target"
    fewer = any((part.identity.n or 0) < (joined.identity.n or 0) for part in parts)
    return "pair" if fewer else "class"
