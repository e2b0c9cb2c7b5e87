"""The small data sets that scikit-learn ships, read from its files without importing it.

Importing scikit-learn takes longer than a whole dry run may. The files carry no column names: those
here are scikit-learn's. Where the files are not in the place known, and for `diabetes`, which
scikit-learn rescales as it loads it, its own loaders are asked.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from qnn.errors import InputError

_CELL = (
    "radius",
    "texture",
    "perimeter",
    "area",
    "smoothness",
    "compactness",
    "concavity",
    "concave points",
    "symmetry",
    "fractal dimension",
)
_FEATURES: dict[str, tuple[str, ...]] = {
    "breast_cancer": (
        *(f"mean {name}" for name in _CELL),
        *(f"{name} error" for name in _CELL),
        *(f"worst {name}" for name in _CELL),
    ),
    "iris": ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"),
    "wine": (
        "alcohol",
        "malic_acid",
        "ash",
        "alcalinity_of_ash",
        "magnesium",
        "total_phenols",
        "flavanoids",
        "nonflavanoid_phenols",
        "proanthocyanins",
        "color_intensity",
        "hue",
        "od280/od315_of_diluted_wines",
        "proline",
    ),
    "digits": tuple(f"pixel_{row}_{column}" for row in range(8) for column in range(8)),
}
_LABELS: dict[str, tuple[str, ...] | None] = {
    "breast_cancer": ("malignant", "benign"),
    "iris": ("setosa", "versicolor", "virginica"),
    "wine": ("class_0", "class_1", "class_2"),
    "digits": None,  # the digit itself
}
_FILES = {
    "breast_cancer": "breast_cancer.csv",
    "iris": "iris.csv",
    "wine": "wine_data.csv",
    "digits": "digits.csv.gz",
}
EMBEDDED = (*_FILES, "diabetes")


def read_embedded(name: str) -> dict[str, np.ndarray]:
    """The columns of an embedded set by name, its labels or numbers last as `target`.

    Class labels are names ("malignant") where the set has names.

    Raises:
        InputError: no embedded set of this name.
    """
    if name not in EMBEDDED:
        raise InputError(f"data.source: sklearn:{name} is not known (known: {', '.join(EMBEDDED)})")
    path = _path(name)
    if path is None:
        return _by_loader(name)
    header = 0 if name == "digits" else 1
    values = np.loadtxt(path, delimiter=",", skiprows=header, ndmin=2)
    return _named(_FEATURES[name], values[:, :-1], values[:, -1].astype(int), _LABELS[name])


def _path(name: str) -> Path | None:
    package = find_spec("sklearn")
    if name not in _FILES or package is None or package.origin is None:
        return None
    path = Path(package.origin).parent / "datasets" / "data" / _FILES[name]
    return path if path.is_file() else None


def _by_loader(name: str) -> dict[str, np.ndarray]:
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    labels = _LABELS.get(name)
    return _named(tuple(map(str, bunch.feature_names)), bunch.data, bunch.target, labels)


def _named(
    names: tuple[str, ...], data: np.ndarray, target: np.ndarray, labels: tuple[str, ...] | None
) -> dict[str, np.ndarray]:
    columns = {name: np.ascontiguousarray(data[:, j]) for j, name in enumerate(names)}
    columns["target"] = target if labels is None else np.array(labels, dtype=object)[target]
    return columns
