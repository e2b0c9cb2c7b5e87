"""The model that MLflow loads: a script beside the network file, so nothing is unpickled.

MLflow copies this file into the model and runs it at load time ("models from code"). It needs
mlflow, numpy and the few modules of `qnn` that travel with it, and no solver.
"""

from __future__ import annotations

import warnings
from typing import Any

import mlflow
import numpy as np
import pandas as pd

from qnn.errors import InputError
from qnn.networks.quantized import QuantizedNetwork


class NetworkModel(mlflow.pyfunc.PythonModel):
    """Predicts with the quantized network of the artifact `network`."""

    def load_context(self, context: Any) -> None:
        """Read the network; damaged files are refused."""
        self.network = QuantizedNetwork.load(context.artifacts["network"])

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> np.ndarray:
        """Labels or target units, (n,), or (n, C) for C targets.

        With `params={"output": "score"}` the raw network output; with `{"strict": True}` categories
        that were not seen in training are refused.

        Raises:
            InputError: another `output`, or rows that the preprocessing refuses.
        """
        model_input = self._complete(model_input)
        output = (params or {}).get("output", "prediction")
        strict = bool((params or {}).get("strict", False))
        if output == "prediction":
            return self.network.predict(model_input, strict)
        if output == "score":
            return self.network.scores(model_input, strict)
        raise InputError(f"output must be 'prediction' or 'score', not {output!r}")

    def _complete(self, model_input: pd.DataFrame) -> pd.DataFrame:
        """With the columns that are left out, all values missing, where those are filled in."""
        preprocessing = self.network.preprocessing
        if preprocessing is None or preprocessing.layout.missing != "impute":
            return model_input
        names = [column.name for column in preprocessing.layout.kept]
        absent = [name for name in names if name not in model_input]
        if not absent or len(absent) == len(names):
            return model_input
        warnings.warn(f"columns left out, taken as missing: {', '.join(absent)}", stacklevel=3)
        return model_input.assign(**dict.fromkeys(absent, None))


mlflow.models.set_model(NetworkModel())
