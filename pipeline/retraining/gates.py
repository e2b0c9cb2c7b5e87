"""What a network must pass before it replaces the champion; each gate says what it found.

The comparison is paired: both networks predict the same rows, which neither was trained on. The
challenger is refused where it is worse by more than the tolerance *and* the test can tell that from
chance; with significance 1 the tolerance alone decides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.configuration.retraining import RetrainConfig, RobustnessGate
from pipeline.datasets.examples import examples_of
from pipeline.results.folder import RunFolder
from pipeline.results.record import NetworkRow
from pipeline.results.verification import verify_files
from pipeline.studies.robustness.asked import Asked, Asker
from pipeline.tracking.aliases import ROLLED_BACK
from qnn.errors import InputError, QnnError
from qnn.networks.quantized import QuantizedNetwork
from qnn.robustness import Limits

_EQUAL = 1e-12


@dataclass(frozen=True)
class Gate:
    """One gate's verdict: `text` is one line that says what was compared with what."""

    name: str
    passed: bool
    text: str


@dataclass(frozen=True)
class Comparison:
    """Champion and challenger on the same rows; `p_value` of "the challenger is no worse"."""

    metric: str
    champion: float
    challenger: float
    p_value: float
    worse: bool
    text: str


def certificate_gate(folder: RunFolder, row: NetworkRow) -> Gate:
    """The challenger's certificates and objective, proven again from the files alone."""
    files = [*row.bounds.files, str(row.fit.network)]
    checks = verify_files(folder.location, files)
    bad = [check for check in checks if not (check.ok and check.proven)]
    text = "; ".join(f"{name}: {check.text}" for name, check in zip(files, checks, strict=True))
    return Gate("certificate", not bad, text if not bad else f"{bad[0].file}: {bad[0].text}")


def size_gate(size: int, settings: RetrainConfig) -> Gate:
    """The network's bytes within the budget."""
    if settings.max_bytes is None:
        return Gate("size", True, f"{size:,} bytes; no budget is set")
    within = size <= settings.max_bytes
    return Gate("size", within, f"{size:,} bytes of {settings.max_bytes:,}")


def robustness_gate(
    network: QuantizedNetwork,
    rows: dict[str, np.ndarray],
    target: np.ndarray,
    wanted: RobustnessGate,
) -> tuple[Gate, float]:
    """The share of rows with labels `target` (n,) that are provably correct, whatever happens.

    Every proof is checked by the kernel. A row that cannot be asked about, as one outside its
    limits, is not proven; a network that cannot be asked, as one without a column that is named, is
    refused. Returns the gate and the share.
    """
    asked = Asked(wanted.radius, wanted.norm, wanted.unit, wanted.limits, wanted.flip)
    least = f"at least {wanted.certified_accuracy:g} is asked"
    try:
        examples = examples_of(rows, target, network, "target")
        asker = Asker(network, examples, asked, wanted.effort, Limits(nodes=wanted.nodes))
    except InputError as error:
        return Gate("robustness", False, f"it cannot be asked: {error}; {least}"), 0.0
    verdicts = [_verdict(asker, index) for index in range(examples.n)]
    share = verdicts.count("robust") / examples.n
    right = sum(asker.answers[i] == asker.label(i) for i in range(examples.n)) / examples.n
    text = (
        f"certified accuracy {share:.4f} whatever happens within {asked.words}, {least}; "
        f"{right:.4f} answered correctly, {verdicts.count('open')} open, on {examples.n} rows"
    )
    odd = sorted({one for one in verdicts if one not in ("robust", "vulnerable", "open")})
    text += f"; not asked: {odd[0]}" if odd else ""
    return Gate("robustness", share >= wanted.certified_accuracy, text), share


def _verdict(asker: Asker, index: int) -> str:
    """What a row's verdict is, or why it has none."""
    try:
        return asker.certify(index).verdict
    except QnnError as error:
        return str(error)


def use_gate(cautions: Sequence[str]) -> Gate:
    """Nothing speaks against the network's use: it has learned something, and every class is there.

    `cautions`: what its sweep found.
    """
    return Gate("use", not cautions, "; ".join(cautions) or "not constant; every class is there")


def rollback_gates(version: Any) -> tuple[Gate, ...]:
    """The gate that refuses a registered version that was rolled back, for any other none."""
    since = version.tags.get(ROLLED_BACK)
    if since is None:
        return ()
    text = f"version {version.version} was rolled back ({since}); it is not promoted a second time"
    return (Gate("rollback", False, text),)


def metric_gate(
    target: np.ndarray,
    champion: np.ndarray,
    challenger: np.ndarray,
    task: str,
    settings: RetrainConfig,
    scale: float | Sequence[float] = 1.0,
) -> tuple[Gate, Comparison]:
    """Compare predictions of the two on a hold-out with labels or numbers `target` (n,).

    Of several targets all are (n, C), and a row's error is its mean over them, each in units of its
    target's `scale` (C,).
    """
    tolerance, significance = settings.tolerance, settings.significance
    if task == "classification":
        found = compare_labels(champion == target, challenger == target, tolerance, significance)
    else:
        errors = [_squared_errors(one, target, scale) for one in (champion, challenger)]
        found = compare_errors(errors[0], errors[1], tolerance, significance)
    return Gate("metric", not found.worse, f"{found.text}, on {len(target)} rows"), found


def _squared_errors(
    predicted: np.ndarray, target: np.ndarray, scale: float | Sequence[float]
) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        if target.ndim == 1:
            return np.asarray((predicted - target) ** 2)
        return np.asarray(np.mean(((predicted - target) / scale) ** 2, axis=1))


def compare_labels(
    champion: Sequence[bool] | np.ndarray,
    challenger: Sequence[bool] | np.ndarray,
    tolerance: float,
    significance: float,
) -> Comparison:
    """Accuracy by the exact one-sided McNemar test.

    Args:
        champion: (n,) whether the champion is right on a row; `challenger` likewise.
        tolerance: how much accuracy may be lost.
        significance: the p-value up to which a loss counts.

    Of the b + c rows on which just one of the two is right, b are the champion's. Were the
    challenger no worse, b would be at most Binomial(b + c, ½): p = P(B ≥ b). (Q. McNemar,
    Psychometrika 12, 1947, in its exact form.)
    """
    from scipy.stats import binomtest

    old, new = np.asarray(champion, dtype=bool), np.asarray(challenger, dtype=bool)
    lost, won = int(np.sum(old & ~new)), int(np.sum(~old & new))
    p = float(binomtest(lost, lost + won, 0.5, "greater").pvalue) if lost + won else 1.0
    before, after = float(old.mean()), float(new.mean())
    worse = before - after > tolerance + _EQUAL and p <= significance
    text = (
        f"accuracy {after:.4f} against the champion's {before:.4f} (tolerance {tolerance:g}; exact "
        f"McNemar: {lost} lost, {won} won, p = {p:.3g}, significant up to {significance:g})"
    )
    return Comparison("accuracy", before, after, p, worse, text)


def compare_errors(
    champion: np.ndarray, challenger: np.ndarray, tolerance: float, significance: float
) -> Comparison:
    """RMSE by a paired one-sided t test on squared errors.

    Args:
        champion: (n,) squared errors of the champion; `challenger` likewise.
        tolerance: by what share the RMSE may grow.
        significance: the p-value up to which a loss counts.

    The test is whether the mean of `challenger − (1 + tolerance)² champion` is above 0 (Student's t
    with n − 1 degrees of freedom). A challenger whose mean error is not finite is worse than any
    champion, and no other is worse than a champion whose mean error is not finite.
    """
    before, after = (_root_mean(errors) for errors in (champion, challenger))
    if math.isfinite(before) and math.isfinite(after):
        mean, p = _paired(challenger - (1.0 + tolerance) ** 2 * champion)
    else:
        mean, p = (-math.inf, 1.0) if math.isfinite(after) else (math.inf, 0.0)
    # What is not a number counts against the challenger.
    worse = not (mean <= 0.0 or p > significance)
    text = (
        f"RMSE {after:.6g} against the champion's {before:.6g} (tolerance {100 * tolerance:g} %; "
        f"paired t test on squared errors, p = {p:.3g}, significant up to {significance:g})"
    )
    return Comparison("rmse", before, after, p, worse, text)


def _paired(over: np.ndarray) -> tuple[float, float]:
    """The mean of differences (n,), and the p-value of "it is at most 0"."""
    from scipy.stats import ttest_1samp

    mean = float(over.mean())
    if len(over) < 2 or np.ptp(over) <= _EQUAL * max(1.0, float(np.abs(over).max())):
        return mean, 0.0 if mean > 0.0 else 1.0
    return mean, float(ttest_1samp(over, 0.0, alternative="greater").pvalue)


def _root_mean(errors: np.ndarray) -> float:
    """Infinite where an error is not finite, or their sum too large."""
    with np.errstate(over="ignore"):
        mean = float(errors.mean())
    return math.sqrt(mean) if math.isfinite(mean) else math.inf
