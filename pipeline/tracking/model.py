"""Packing a network as an MLflow model: signature, example, code, and how to load it."""

from __future__ import annotations

from importlib import metadata, resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from qnn.errors import InputError
from qnn.networks.quantized import QuantizedNetwork

# What loading and predicting import. The whole package would drag in the solvers' dependencies.
CODE = (
    "errors.py",
    "features",
    "networks/__init__.py",
    "networks/activations",
    "networks/alphabets.py",
    "networks/codec.py",
    "networks/packing.py",
    "networks/polarization.py",
    "networks/quantized.py",
    "networks/second_layers.py",
    "numerics/__init__.py",
    "numerics/archive.py",
    "numerics/arrays.py",
    "registry.py",
)
_INIT = '"""The part of qnn that predicts, without the solvers."""\n'


def copy_code(folder: Path) -> Path:
    """Copy the predicting part of `qnn` into `folder`; return the package's path there."""
    package = folder / "qnn"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(_INIT)
    for name in CODE:
        _copy(resources.files("qnn").joinpath(name), package / name)
    return package


def _copy(source: Traversable, target: Path) -> None:
    if source.is_file():
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(source.read_bytes())
        return
    target.mkdir(parents=True)
    for entry in source.iterdir():
        if entry.name.endswith(".py"):
            _copy(entry, target / entry.name)


def example_row(network: QuantizedNetwork) -> pd.DataFrame:
    """One typical row of the training data: medians and most frequent categories, raw columns.

    Raises:
        InputError: the network carries no preprocessing, so its columns have no names.
    """
    preprocessing = network.preprocessing
    if preprocessing is None:
        raise InputError("the network has no preprocessing; train it in a sweep to log it")
    columns = zip(preprocessing.layout.kept, preprocessing.fill, strict=True)
    return pd.DataFrame(
        {column.name: pd.Series([value], dtype=_dtype(value)) for column, value in columns}
    )


def _dtype(value: float | str | None) -> str:
    return "float64" if isinstance(value, float) else "object"


def described_columns(network: QuantizedNetwork) -> list[dict[str, Any]]:
    """The raw columns that the model reads, in order: name, what it holds, whether it is required.

    Where missing values are filled in, a column may be left out.
    """
    preprocessing = network.preprocessing
    assert preprocessing is not None, "its example row has been made"
    layout = preprocessing.layout
    return [
        {
            "name": column.name,
            "holds": "numbers" if column.categories is None else "categories",
            "required": layout.missing != "impute",
        }
        for column in layout.kept
    ]


def packed(network_file: Path, work: Path) -> dict[str, Any]:
    """What `mlflow.pyfunc.log_model` and `save_model` are to be given for the network.

    The signature names no inputs: MLflow's check of them knows pandas alone, refuses CSV where a
    column may hold any type, and prints the rows where a column is missing. Without, a frame of any
    library arrives as it is, and the preprocessing checks it, in messages of one line. The columns
    are in the model's metadata. `work`: an empty folder for the files on their way. Raises
    InputError for a file that is no network with preprocessing.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import DataType, ParamSchema, ParamSpec

    network = QuantizedNetwork.load(network_file)
    example = example_row(network)
    outputs = _output_schema(network.predict(example))
    params = ParamSchema(
        [
            ParamSpec("output", DataType.string, "prediction"),
            ParamSpec("strict", DataType.boolean, False),
        ]
    )
    return {
        "python_model": str(resources.files("pipeline.tracking").joinpath("loaded_model.py")),
        "artifacts": {"network": str(network_file)},
        "code_paths": [str(copy_code(work))],
        "signature": ModelSignature(outputs=outputs, params=params),
        "input_example": example,
        "metadata": {"columns": described_columns(network)},
        # Named here because finding them out takes MLflow a process of its own.
        "pip_requirements": [
            f"{package}=={metadata.version(package)}" for package in ("mlflow", "numpy", "pandas")
        ],
    }


def log_network(network_file: Path, name: str, *, tags: dict[str, str], work: Path) -> str:
    """Log the network as a pyfunc model of MLflow's active run; return the logged model's id.

    Raises InputError as `packed` does.
    """
    import mlflow

    logged: Any = mlflow.pyfunc.log_model(name=name, tags=tags, **packed(network_file, work))
    return str(logged.model_id)


def _output_schema(predictions: np.ndarray) -> Any:
    """The schema of predictions: a label or number a row, or a number for each target."""
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec

    if predictions.ndim == 2:
        return Schema([TensorSpec(predictions.dtype, (-1, predictions.shape[1]))])
    kinds = {"f": DataType.double, "i": DataType.long, "b": DataType.boolean}
    return Schema([ColSpec(kinds.get(predictions.dtype.kind, DataType.string))])
