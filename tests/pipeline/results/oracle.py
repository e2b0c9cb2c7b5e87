"""What is false in the folder of a training sweep, by numpy alone and by brute force.

Nothing of the library is used but the reading of files: the formulas are those of docs/formats.md,
the dual norm is the largest over every neuron that the alphabet has, one by one.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from pipeline.results.folder import RunFolder

Arrays = dict[str, np.ndarray]


def members(path: str) -> Arrays:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def false_statements(location: str) -> Iterator[str]:
    """The names of what is not so, of every finished row with a certificate."""
    home = RunFolder.open(location)
    for file in home.files("results"):
        for row in home.read_table(file).to_pylist():
            if row["status"] == "ok":
                found = statements(home, location, row)
                yield from (f"{file}: {name}" for name, right in found.items() if not right)


def statements(home: RunFolder, location: str, row: dict[str, Any]) -> dict[str, bool]:
    table = home.read_table(f"data/{row['dataset']}/{row['shard']}.parquet")
    columns = table.to_pandas().to_numpy()
    X, Y = columns[:, : row["d"]], columns[:, row["d"] :]
    names = row["certificates"] or [row["certificate"]]
    certificates = [members(f"{location}/{name}") for name in names]
    outputs = list(range(Y.shape[1])) if row["certificates"] else [row["output"] or 0]
    network = members(f"{location}/{row['network']}")
    alpha = network["alpha"].reshape(len(network["alpha"]), -1)
    values = atoms(network, X) @ alpha
    targets = Y[:, outputs]
    parameter = certificates[0].get("loss_parameter")
    loss = losses(row["loss"], parameter, values, targets).sum()
    objective = loss + row["beta"] * X.shape[1] * np.abs(alpha).sum()
    bound = sum(
        true_bound(one, row, X, y, k)
        for one, y, k in zip(certificates, targets.T, outputs, strict=True)
    )
    polynomial = row["polynomial"] and tuple(float(part) for part in row["polynomial"].split(","))
    return {
        "lower_bound": row["lower_bound"] <= bound + 1e-9 * max(abs(bound), abs(objective)),
        "upper_bound": close(row["upper_bound"], objective),
        "loss_value": close(row["loss_value"], loss, objective),
        "gap": abs(row["gap"] * abs(objective) - (objective - row["lower_bound"]))
        <= 1e-8 * abs(objective),
        "train_accuracy": row["train_accuracy"] == accuracy(values, targets, Y),
        "neurons": row["neurons"] == len(alpha) <= row["width"] * len(outputs),
        "n, d": (row["n"], row["d"]) == X.shape,
        "proof": row["proof"] == weakest(certificates),
        "beta_fraction": close(row["beta_fraction"] * row["beta_max"], row["beta"]),
        "problem": all(same_problem(row, polynomial, one) for one in [*certificates, network]),
        "files": row["network"] == f"networks/{row['trial']}.npz",
    }


def close(said: float, found: float, scale: float | None = None) -> bool:
    return bool(abs(said - found) <= 1e-8 * abs(found if scale is None else scale))


def weakest(certificates: list[Arrays]) -> str:
    kinds = ["relaxation", "tightened", "exact"]
    return kinds[min(kinds.index(str(one["kind"])) for one in certificates)]


def accuracy(values: np.ndarray, targets: np.ndarray, Y: np.ndarray) -> float:
    if values.shape[1] == 1:
        return float(np.mean((values > 0) == (targets > 0)))
    return float(np.mean(values.argmax(axis=1) == Y.argmax(axis=1)))


def same_problem(row: dict[str, Any], polynomial: tuple | None, one: Arrays) -> bool:
    stated = tuple(one["polynomial"].tolist()) if "polynomial" in one else None
    names = ("loss", "activation", "alphabet")
    return stated == polynomial and all(str(one[name]) == row[name] for name in names)


def levels(alphabet: str) -> np.ndarray:
    """The values of a weight, the largest 1."""
    if alphabet in ("binary", "ternary"):
        return np.array([-1.0, 1.0] if alphabet == "binary" else [-1.0, 0.0, 1.0])
    top = 2 ** int(alphabet) - 1
    return np.arange(-top, top + 1, 2) / top


def activated(name: str, polynomial: np.ndarray | None, t: np.ndarray) -> np.ndarray:
    assert name == "polynomial"
    a, b, c = polynomial
    return a * t**2 + b * t + c


def atoms(network: Arrays, X: np.ndarray) -> np.ndarray:
    """(n, m): what each neuron makes of each row."""
    largest = levels(str(network["alphabet"])).size - 1
    unit = largest if str(network["alphabet"]) not in ("binary", "ternary") else 1
    U = network["U"] / unit
    if str(network["activation"]) == "bilinear":
        return (X @ U) * (X @ (network["V"] / unit))
    return activated("polynomial", network["polynomial"], X @ U)


def losses(name: str, parameter: Any, f: np.ndarray, y: np.ndarray) -> np.ndarray:
    r, t = np.abs(f - y), y * f
    return {
        "squared": lambda: r**2 / 2,
        "absolute": lambda: r,
        "huber": lambda: np.where(r <= parameter, r**2 / 2, parameter * (r - parameter / 2)),
        "logistic": lambda: np.logaddexp(0.0, -t),
        "hinge": lambda: np.maximum(1 - t, 0.0),
        "squared_hinge": lambda: np.maximum(1 - t, 0.0) ** 2 / 2,
    }[name]()


def true_bound(
    one: Arrays, row: dict[str, Any], X: np.ndarray, y: np.ndarray, output: int
) -> float:
    """The dual value of a certificate's nu where it is feasible, else minus infinity."""
    nu = one["nu"]
    if int(one["output"]) != output or float(one["beta"]) != row["beta"]:
        return -np.inf
    largest = max(np.abs(nu @ made) for made in every_neuron(one, X))
    if largest > row["beta"] * X.shape[1] * (1 + 1e-12):
        return -np.inf
    return conjugate_value(str(one["loss"]), one.get("loss_parameter"), nu, y)


def every_neuron(one: Arrays, X: np.ndarray) -> Iterator[np.ndarray]:
    weights = np.array([*product(levels(str(one["alphabet"])), repeat=X.shape[1])])
    inner = X @ weights.T
    if str(one["activation"]) == "polynomial":
        yield from activated("polynomial", one["polynomial"], inner).T
        return
    for column in inner.T:
        # All second factors of this first one at once: their largest weighted sum, either sign.
        sums = (one["nu"] * column) @ inner
        yield column * inner[:, np.abs(sums).argmax()]


def conjugate_value(name: str, parameter: Any, nu: np.ndarray, y: np.ndarray) -> float:
    w = y * nu
    inside = {
        "squared": True,
        "absolute": np.all(np.abs(nu) <= 1),
        "huber": parameter is not None and np.all(np.abs(nu) <= parameter),
        "squared_hinge": np.all(w >= 0),
    }.get(name, np.all((w >= 0) & (w <= 1)))
    if not inside:
        return -np.inf
    if name == "logistic":
        v = w[(w > 0) & (w < 1)]
        return float(-(v * np.log(v) + (1 - v) * np.log1p(-v)).sum())
    return float(w.sum() - (nu @ nu / 2 if name in ("squared", "huber", "squared_hinge") else 0))
