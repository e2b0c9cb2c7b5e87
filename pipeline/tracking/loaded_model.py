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
from qnn.features.tables import Table, column_names, get_columns, is_named
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

        `model_input` may also be a frame or table of polars or pyarrow, a mapping from names to
        columns or of one row, a list of such rows, or an array of all columns: MLflow warns of
        every hint but its own types. With `params={"output": "score"}` the raw network output; with
        `{"strict": True}` categories that were not seen in training are refused.

        Raises:
            InputError: another `output`, or rows that the preprocessing refuses.
        """
        table = self._complete(_as_table(model_input))
        output = (params or {}).get("output", "prediction")
        strict = bool((params or {}).get("strict", False))
        if output == "prediction":
            return self.network.predict(table, strict)
        if output == "score":
            return self.network.scores(table, strict)
        raise InputError(f"output must be 'prediction' or 'score', not {output!r}")

    def _complete(self, table: Table) -> Table:
        """With the columns that are left out, all values missing, where those are filled in."""
        preprocessing = self.network.preprocessing
        if preprocessing is None or preprocessing.layout.missing != "impute":
            return table
        if not is_named(table):
            return table
        names = [column.name for column in preprocessing.layout.kept]
        given = set(column_names(table))
        absent = [name for name in names if name not in given]
        if not absent or len(absent) == len(names):
            return table
        warnings.warn(f"columns left out, taken as missing: {', '.join(absent)}", stacklevel=3)
        present = get_columns(table, names, [name for name in names if name in given])
        rows = len(next(iter(present.values())))
        return {**present, **{name: np.full(rows, None, dtype=object) for name in absent}}


def _as_table(given: Any) -> Table:
    """Rows that are told one by one, as requests to a server are, as a frame; a table as it is."""
    if isinstance(given, dict) and all(
        np.isscalar(value) or value is None for value in given.values()
    ):
        return pd.DataFrame([given])
    if isinstance(given, list) and given and all(isinstance(row, dict) for row in given):
        return pd.DataFrame(given)
    return given


mlflow.models.set_model(NetworkModel())
