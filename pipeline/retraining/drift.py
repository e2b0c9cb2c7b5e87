"""How far the fresh rows are from those trained on, column by column.

PSI, the population stability index, is `Σ (q − p) ln(q / p)` over bins, p the shares of the
training rows and q those of the fresh ones: the symmetrized Kullback-Leibler divergence. Bins are
the deciles of the training rows (numbers) or the categories; missing values are a bin. Without any
drift its mean is about `(bins − 1)(1/n + 1/m)`, which is given beside it and taken off before the
threshold: few rows look like drift otherwise. For numbers the two-sample Kolmogorov-Smirnov
statistic and its p-value are given as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

_DECILES = np.linspace(0.1, 0.9, 9)


@dataclass(frozen=True)
class ColumnDrift:
    """One column: `psi`, its mean `expected` by chance, and the KS test of numbers."""

    name: str
    psi: float
    expected: float
    ks: float | None
    p_value: float | None

    @property
    def excess(self) -> float:
        """What of the PSI chance does not explain."""
        return self.psi - self.expected


@dataclass(frozen=True)
class Drift:
    """All features, the most drifted first, and the target: of several the most drifted."""

    features: tuple[ColumnDrift, ...]
    target: ColumnDrift
    threshold: float

    @property
    def over(self) -> tuple[str, ...]:
        """Names of the columns beyond the threshold, the target as `target`."""
        return tuple(
            one.name for one in (self.target, *self.features) if one.excess > self.threshold
        )

    @property
    def text(self) -> str:
        """One line."""
        top = self.features[0]
        line = f"largest PSI {top.psi:.3f} ({top.name}), target {self.target.psi:.3f}"
        if not self.over:
            return f"{line}; none beyond {self.threshold:g} and what few rows explain"
        return f"{line}; beyond {self.threshold:g}: {', '.join(self.over[:5])}"

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "threshold": self.threshold,
            "over": list(self.over),
            "target": asdict(self.target),
            "features": [asdict(one) for one in self.features],
        }


def measure_drift(
    columns: Mapping[str, np.ndarray],
    target: np.ndarray,
    reference: np.ndarray,
    fresh: np.ndarray,
    threshold: float,
) -> Drift:
    """Compare the rows `fresh` of a table with its rows `reference` (row numbers).

    `columns` and `target` are float64 with NaN for missing, or objects with None for missing;
    several targets are (n, C).
    """
    features = [column_drift(name, values, reference, fresh) for name, values in columns.items()]
    features.sort(key=lambda one: (-one.excess, one.name))
    targets = target.T if target.ndim == 2 else (target,)
    drifts = [column_drift("target", values, reference, fresh) for values in targets]
    return Drift(tuple(features), max(drifts, key=lambda one: one.excess), float(threshold))


def column_drift(
    name: str, values: np.ndarray, reference: np.ndarray, fresh: np.ndarray
) -> ColumnDrift:
    """The drift of one column."""
    from scipy.stats import ks_2samp

    if values.dtype == object:
        codes = np.unique([repr(value) for value in values], return_inverse=True)[1]
        ks = p_value = None
    else:
        known = values[reference][~np.isnan(values[reference])]
        edges = np.unique(np.quantile(known, _DECILES)) if len(known) else np.array([])
        codes = np.searchsorted(edges, values, side="left")
        codes[np.isnan(values)] = len(edges) + 1
        new = values[fresh][~np.isnan(values[fresh])]
        ks = p_value = None
        if len(known) and len(new):
            test = ks_2samp(known, new)
            ks, p_value = float(test.statistic), float(test.pvalue)
    psi, expected = stability_index(codes, reference, fresh)
    return ColumnDrift(name, psi, expected, ks, p_value)


def stability_index(
    codes: np.ndarray, reference: np.ndarray, fresh: np.ndarray
) -> tuple[float, float]:
    """PSI of bin numbers between two sets of rows, and its mean without drift.

    Half a row is added to each bin, so that an empty one is finite.
    """
    bins = np.unique(np.concatenate([codes[reference], codes[fresh]]))
    shares = []
    for rows in (reference, fresh):
        counts = np.array([np.sum(codes[rows] == one) for one in bins]) + 0.5
        shares.append(counts / counts.sum())
    p, q = shares
    psi = float(np.sum((q - p) * np.log(q / p)))
    return psi, (len(bins) - 1) * (1.0 / max(1, len(reference)) + 1.0 / max(1, len(fresh)))
