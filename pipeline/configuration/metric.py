"""The numbers by which networks are compared: what `metric:` may name, and how each is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

MetricName = Literal[
    "accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc", "log_loss",
    "brier", "rmse", "mae", "r2",
]  # fmt: skip

# From this share on a class is so common that its share alone makes an accuracy look good.
COMMON = 0.8


@dataclass(frozen=True)
class Metric:
    """A number by which networks are compared.

    `label`: its name for axes and table heads; `share`: it is shown in percent.
    """

    name: str
    higher_is_better: bool
    label: str
    task: Literal["classification", "regression"]
    share: bool = False

    def column(self, part: str) -> str:
        """Column of this metric on `part` ("train", "validation" or "test")."""
        return f"{part}_{self.name}"

    @property
    def unit(self) -> str:
        """What stands after its numbers on an axis."""
        return " %" if self.share else ""

    def shown(self, values: np.ndarray) -> np.ndarray:
        """Values as an axis has them: shares in percent."""
        return 100 * values if self.share else values

    def text(self, value: float | None) -> str:
        """A value for people: `97.4 %`, `0.412`, or an en dash where there is none."""
        if value is None or not np.isfinite(value):
            return "–"
        return f"{100 * value:.1f} %" if self.share else f"{value:.4g}"

    def interval_text(self, interval: Sequence[float | None]) -> str:
        """The ends of an interval: `95.1 to 98.7 %`; nothing where there is none."""
        low, high = interval
        if low is None or high is None or not np.isfinite([low, high]).all():
            return ""
        if self.share:
            return f"{100 * low:.1f} to {100 * high:.1f} %"
        return f"{low:.4g} to {high:.4g}"


METRICS = {
    one.name: one
    for one in (
        Metric("accuracy", True, "accuracy", "classification", share=True),
        Metric("balanced_accuracy", True, "balanced accuracy", "classification", share=True),
        Metric("precision", True, "precision", "classification", share=True),
        Metric("recall", True, "recall", "classification", share=True),
        Metric("f1", True, "F1", "classification"),
        Metric("roc_auc", True, "ROC AUC", "classification"),
        Metric("log_loss", False, "log loss", "classification"),
        Metric("brier", False, "Brier score", "classification"),
        Metric("rmse", False, "RMSE", "regression"),
        Metric("mae", False, "MAE", "regression"),
        Metric("r2", True, "R²", "regression"),
    )
}


def metric_for(task: str, name: str | None = None) -> Metric:
    """The metric of a name; without one accuracy for classes, RMSE for numbers."""
    return METRICS[name or ("accuracy" if task == "classification" else "rmse")]
