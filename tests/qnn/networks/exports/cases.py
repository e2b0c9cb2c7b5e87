"""Networks of every kind over a table with numbers, categories, ties and gaps."""

from itertools import product
from typing import Any

import numpy as np

from qnn.features.preprocessing import FeatureLayout
from qnn.networks.alphabets import get_alphabet
from qnn.networks.quantized import QuantizedNetwork

ROWS = 40
SCALINGS = (
    "standardize", "weighted", "none", "quantile", "thermometer",
    "standardize compact", "weighted compact", "thermometer compact",
)  # fmt: skip
KINDS = tuple(product(("bilinear", "polynomial"), ("binary", "ternary", "3")))


def table(gaps: bool = True) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    number = np.round(rng.standard_normal(ROWS), 3)
    site = rng.choice(np.array(["a", "b,c", 'say "x"', "naïve??=", ""][:4], dtype=object), ROWS)
    if gaps:
        number[[3, 8]] = np.nan
        site[[2, 8]] = None
    return {
        "number": number,
        "site": site,
        "count": rng.integers(0, 3, ROWS).astype(float),
        "long, name": np.exp(3.0 * rng.standard_normal(ROWS)),
    }


def target(classes: tuple[Any, ...] | None, outputs: int | None = None) -> np.ndarray:
    rng = np.random.default_rng(6)
    values = rng.standard_normal(ROWS)
    if classes is None:
        return values if outputs is None else rng.normal(3.0, 2.0, (ROWS, outputs))
    cuts = np.linspace(-1.0, 1.0, len(classes) + 1)[1:-1]
    return np.array(classes, dtype=object)[np.digitize(values, cuts)]


def scaled(scaling: Any) -> dict[str, Any]:
    """What `FeatureLayout.from_table` takes for one of `SCALINGS`."""
    name, _, compact = str(scaling).partition(" ")
    return {"scaling": name, "compact": bool(compact)}


def random_network(
    d: int, activation: str, alphabet: str, alpha: np.ndarray, preprocessing: Any = None
) -> QuantizedNetwork:
    rng = np.random.default_rng(7)
    U, V = rng.choice(get_alphabet(alphabet).levels, (2, d, len(alpha)))
    polynomial = (0.5, -0.75, 0.25) if activation == "polynomial" else None
    return QuantizedNetwork(
        U, None if polynomial else V, alpha, activation, alphabet, preprocessing,
        polynomial=polynomial, loss="squared", beta=1.5,
    )  # fmt: skip


def network(
    scaling: Any,
    activation: str = "bilinear",
    alphabet: str = "binary",
    classes: tuple[Any, ...] | None = ("no", "yes"),
    alpha: np.ndarray | None = None,
    outputs: int | None = None,
    **options: Any,
) -> QuantizedNetwork:
    options = {"missing": "impute", **options}
    rows = table(options["missing"] == "impute")
    layout = FeatureLayout.from_table(rows, **scaled(scaling), **options)
    prepared = layout.fit(rows, target(classes, outputs), classes)
    if alpha is None:
        alpha = np.random.default_rng(8).standard_normal((7, *prepared.target.shape))
        if prepared.target.shape:
            # Few neurons serve several outputs.
            alpha[1:4, 1:] = 0.0
    return random_network(layout.d, activation, alphabet, alpha, prepared)


def unseen() -> dict[str, np.ndarray]:
    """Rows with a category never seen, numbers outside of the training range and exact ties."""
    known = table()
    rows = {name: np.concatenate([column, column[:4]]) for name, column in known.items()}
    rows["site"][-4:] = ["elsewhere", None, "a", "b,c"]
    rows["number"][-4:] = [1e6, -1e6, np.nan, known["number"][0]]
    return rows


def tolerance(net: QuantizedNetwork, rows: Any) -> float:
    """What the order of summation may change: rounding units of the sum of sizes."""
    X = rows if net.preprocessing is None else net.preprocessing.transform(rows)
    size = np.abs(X).sum(axis=1).max() ** 2 * np.abs(net.alpha).sum()
    return 1e-14 * float(size + 1.0)
