"""Networks of every kind, and the truth about them by means that share nothing with the room."""

import itertools

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from qnn.features.preprocessing import FeatureLayout
from qnn.networks.layered import LayeredNetwork
from qnn.networks.quantized import QuantizedNetwork

Array = np.ndarray
ALPHABETS = {"binary": (-1, 1), "ternary": (-1, 0, 1), "3": (-7, -5, -3, -1, 1, 3, 5, 7)}
KINDS = [
    (activation, alphabet, outputs)
    for activation in ("bilinear", "polynomial")
    for alphabet in ALPHABETS
    for outputs in (1, 3)
]


def quantized(
    rng: np.random.Generator, d: int, m: int, activation: str, alphabet: str, outputs: int
) -> QuantizedNetwork:
    levels = ALPHABETS[alphabet]
    bilinear = activation == "bilinear"
    return QuantizedNetwork(
        U=rng.choice(levels, (d, m)),
        V=rng.choice(levels, (d, m)) if bilinear else None,
        alpha=rng.normal(size=(m, outputs) if outputs > 1 else m),
        activation=activation,
        alphabet=alphabet,
        polynomial=None if bilinear else (0.3, 0.5, -0.2),
    )


def forms(network: QuantizedNetwork) -> list[tuple[float, Array, Array]]:
    """Constant, linear part and matrix of each output, by evaluating it at unit vectors."""
    d = network.d

    def at(rows: Array) -> Array:
        return network.decision_function(rows).reshape(len(rows), -1)

    eye = np.eye(d)
    zero, plus, minus = at(np.zeros((1, d)))[0], at(eye), at(-eye)
    found = []
    for c in range(len(zero)):
        A = np.diag((plus[:, c] + minus[:, c]) / 2 - zero[c])
        linear = (plus[:, c] - minus[:, c]) / 2
        for i, j in itertools.combinations(range(d), 2):
            both = at((eye[i] + eye[j])[None])[0, c]
            A[i, j] = A[j, i] = (both - plus[i, c] - plus[j, c] + zero[c]) / 2
        found.append((float(zero[c]), linear, A))
    return found


def least_on_box(c: float, g: Array, A: Array, low: Array, high: Array) -> float:
    """The exact minimum of ``c + g'x + x'Ax``: of every face the point where it is stationary."""
    best = np.inf
    for face in itertools.product((0, 1, 2), repeat=len(g)):
        face = np.array(face)
        x = np.where(face == 1, high, low)
        free = face == 2
        if free.any():
            rest = g[free] + 2.0 * A[np.ix_(free, ~free)] @ x[~free]
            x = x.copy()
            x[free] = np.linalg.lstsq(2.0 * A[np.ix_(free, free)], -rest, rcond=None)[0]
            if np.any(x < low - 1e-12) or np.any(x > high + 1e-12):
                continue
        best = min(best, c + float(g @ x + x @ A @ x))
    return best


def least_margin_on_box(network: QuantizedNetwork, label: int, low: Array, high: Array) -> float:
    parts = forms(network)
    if len(parts) == 1:
        c, g, A = parts[0]
        return least_on_box(label * c, label * g, label * A, low, high)
    own = parts[label]
    return min(
        least_on_box(own[0] - c, own[1] - g, own[2] - A, low, high)
        for k, (c, g, A) in enumerate(parts)
        if k != label
    )


def layered(rng: np.random.Generator, sizes: list[int]) -> LayeredNetwork:
    pairs = list(itertools.pairwise(sizes))
    return LayeredNetwork(
        tuple(rng.normal(size=pair) / np.sqrt(pair[0]) for pair in pairs),
        tuple(0.3 * rng.normal(size=b) for _, b in pairs),
    )


def milp_margin(network: LayeredNetwork, label: int, low: Array, high: Array) -> float:
    """The exact least margin by mixed-integer programming, with intervals for the big constants."""
    return min(
        _milp(network, np.eye(network.outputs)[label] - np.eye(network.outputs)[other], low, high)
        for other in range(network.outputs)
        if other != label
    )


def _milp(network: LayeredNetwork, row: Array, low: Array, high: Array) -> float:
    sizes = [network.d, *(len(b) for b in network.biases[:-1])]
    starts = np.cumsum([0, *sizes])
    hidden = starts[-1] - network.d
    total = int(starts[-1]) + hidden
    rows, least, most = [], [], []
    lb, ub = np.zeros(total), np.ones(total)
    lb[: network.d], ub[: network.d] = low, high
    for layer, (W, b) in enumerate(zip(network.weights[:-1], network.biases[:-1], strict=True)):
        m, r = (low + high) / 2, (high - low) / 2
        lo, u = m @ W + b - r @ abs(W) - 1e-9, m @ W + b + r @ abs(W) + 1e-9
        for i in range(len(b)):
            x, bit = int(starts[layer + 1]) + i, int(starts[-1] + starts[layer + 1]) + i - network.d
            ub[x] = max(u[i], 0.0)
            y = np.zeros(total)
            y[starts[layer] : starts[layer + 1]] = W[:, i]
            on = np.zeros(total)
            on[x] = 1.0
            switch = np.zeros(total)
            switch[bit] = 1.0
            # x >= y, x <= y - lo (1 - bit), x <= u bit.
            for coefficients, bound in (
                (y - on, -b[i]),
                (on - y - lo[i] * switch, b[i] - lo[i]),
                (on - max(u[i], 0.0) * switch, 0.0),
            ):
                rows.append(coefficients)
                least.append(-np.inf)
                most.append(bound)
        low, high = np.maximum(lo, 0.0), np.maximum(u, 0.0)
    objective = np.zeros(total)
    objective[starts[-2] : starts[-1]] = network.weights[-1] @ row
    integrality = np.concatenate([np.zeros(int(starts[-1])), np.ones(hidden)])
    done = milp(
        objective,
        constraints=LinearConstraint(np.array(rows), least, most) if rows else (),
        integrality=integrality,
        bounds=Bounds(lb, ub),
        options={"mip_rel_gap": 1e-9},
    )
    assert done.success
    return float(done.fun + network.biases[-1] @ row)


def table(rng: np.random.Generator, n: int = 80) -> dict[str, Array]:
    """Three numbers and two categories."""
    return {
        "age": rng.normal(40.0, 12.0, n).round(1),
        "site": rng.choice(["a", "b", "c"], n),
        "dose": rng.exponential(2.0, n).round(2),
        "sex": rng.choice(["f", "m"], n),
        "size": rng.normal(size=n),
    }


def prepared(
    rng: np.random.Generator,
    scaling: str,
    classes: tuple[str, ...] = ("no", "yes"),
    clip: float | None = None,
    activation: str = "bilinear",
    bias: int = True,
) -> tuple[QuantizedNetwork, dict[str, Array]]:
    """A random network behind a fitted preprocessing, and the table that it was fitted on."""
    rows = table(rng)
    layout = FeatureLayout.from_table(rows, scaling=scaling, clip=clip, bias=bias)
    fitted = layout.fit(rows, rng.choice(classes, 80), classes)
    outputs = 1 if len(classes) == 2 else len(classes)
    bare = quantized(rng, layout.d, 6, activation, "binary", outputs)
    network = QuantizedNetwork(
        bare.U, bare.V, bare.alpha, activation, "binary", fitted, polynomial=bare.polynomial
    )
    return network, rows


def row_of(rows: dict[str, Array], index: int) -> dict[str, object]:
    return {name: values[index] for name, values in rows.items()}
