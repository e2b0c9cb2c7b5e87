"""A quantized network as onnxruntime computes it, beside our own arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np

from qnn.errors import InputError
from qnn.quantization.result import Quantized

Array = np.ndarray

# An activation at a tie between two codes may be rounded either way, so a few rows may differ.
_MOST_ROWS = 256
_NEAR, _SHARE = 1e-2, 0.05


def require_onnxruntime() -> Any:
    """The package onnxruntime; InputError where it is not installed."""
    try:
        import onnxruntime
    except ImportError:
        raise InputError(
            "the package onnxruntime is not installed: pip install 'qnn-sdp[export]'"
        ) from None
    return onnxruntime


def check_in_runtime(made: Quantized, rows: Array) -> float:
    """The largest difference of onnxruntime's output from ours, relative to the largest output.

    rows (n, ...): of them at most 256 are run. Raises InputError where onnxruntime does not run
    the model, or where more than 5 % of the rows differ by more than 1 %.
    """
    assert made.graph is not None
    X = np.asarray(rows, dtype=np.float32)[:_MOST_ROWS]
    batch = made.graph.shape[0] or len(X)
    X = X[np.arange(max(len(X) // batch, 1) * batch) % len(X)]
    theirs, ours = _outputs(made, X, batch), made.simulate(X)
    if theirs.shape != ours.shape or not np.isfinite(theirs).all():
        raise InputError("onnxruntime's output of the quantized network is not as it must be")
    largest = max(float(np.abs(ours).max(initial=0.0)), np.finfo(np.float32).tiny)
    off = np.abs(theirs - ours).reshape(len(X), -1).max(axis=1, initial=0.0) / largest
    if np.mean(off > _NEAR) > _SHARE:
        raise InputError(
            f"onnxruntime differs from the quantized network by {off.max():.1%} of its largest "
            "output: report this"
        )
    return float(off.max())


def _outputs(made: Quantized, X: Array, batch: int) -> Array:
    runtime = require_onnxruntime()
    assert made.graph is not None
    name, wanted = made.graph.input, made.graph.output
    try:
        session = runtime.InferenceSession(
            made.model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        parts = [
            session.run([wanted], {name: X[first : first + batch]})[0]
            for first in range(0, len(X), batch)
        ]
    except Exception as error:  # onnxruntime raises kinds of its own, all plain Exceptions
        text = " ".join(str(error).split())[:160]
        raise InputError(f"onnxruntime does not run the quantized network ({text})") from None
    return np.concatenate(parts).astype(np.float64)
