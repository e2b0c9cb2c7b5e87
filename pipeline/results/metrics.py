"""What predictions are worth on rows whose targets are known."""

import math
from collections.abc import Sequence

import numpy as np


def metrics(
    part: str,
    predicted: np.ndarray,
    target: np.ndarray,
    task: str,
    scale: float | Sequence[float] = 1.0,
) -> dict[str, float | None]:
    """Accuracy, or RMSE and R², of predictions against targets, (n,) or (n, C) for C targets.

    The RMSE of one target is in its own units; that of several is over all their entries, each in
    units of its target's `scale` (C,), else the target of the largest numbers would be all that
    counts. R² of several is the mean of theirs; None where one of them is constant.
    """
    if len(target) == 0:
        return {}
    if task == "classification":
        return {f"{part}_accuracy": float(np.mean(predicted == target))}
    if target.ndim == 1:
        rmse, r2 = _errors(predicted, target)
        return {f"{part}_rmse": rmse, f"{part}_r2": r2}
    found = [_errors(*columns) for columns in zip(predicted.T, target.T, strict=True)]
    errors = np.array([rmse for rmse, _ in found]) / scale
    shares = [r2 for _, r2 in found if r2 is not None]
    return {
        f"{part}_rmse": math.sqrt(float(np.mean(errors**2))),
        f"{part}_r2": math.fsum(shares) / len(found) if len(shares) == len(found) else None,
    }


def _errors(predicted: np.ndarray, target: np.ndarray) -> tuple[float, float | None]:
    """RMSE and R² of predictions (n,) of one target; no R² where it is constant."""
    residual = float(np.sum((predicted - target) ** 2))
    spread = float(np.sum((target - np.mean(target)) ** 2))
    # Of equal numbers the mean may be off by a rounding error, and the spread not be 0.
    known = np.ptp(target) > 0
    return math.sqrt(residual / len(target)), 1.0 - residual / spread if known else None
