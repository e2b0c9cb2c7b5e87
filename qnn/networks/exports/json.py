"""A network as JSON: the weights as the integers they are, everything a predictor needs."""

from __future__ import annotations

import json
from typing import Any

from qnn.networks.alphabets import get_alphabet
from qnn.networks.quantized import QuantizedNetwork

VERSION = 1
FORMULAS = {
    "bilinear": "f(x) = sum_j alpha_j (x'u_j)(x'v_j)",
    "polynomial": "f(x) = sum_j alpha_j sigma(x'u_j), sigma(t) = a t^2 + b t + c",
}

PAIRS = (
    "output k = 0, 1, ... is of classes a < b, in the order (0, 1), (0, 2), ...: below 0 it says "
    "a, above 0 b; the class with the largest -sum over its outputs of what it loses by"
)


def to_json(network: QuantizedNetwork) -> str:
    """JSON text of a network.

    `U`, `V`: one list of d integers a neuron, levels of the alphabet; the weights are these over
    `divisor`. `alpha`: the second layer (m, or m×C). `polynomial`: [a, b, c]. `preprocessing`: its
    own record (docs/formats.md). `missing_words`: text that says that a value of a raw row is
    missing, where it is no category. `decision`: of classes in pairs, how outputs tell one. Floats
    read back to the same bits.
    """
    record: dict[str, Any] = {
        "kind": "qnn-sdp network",
        "version": VERSION,
        "formula": FORMULAS[network.activation],
        "d": network.d,
        "neurons": network.neurons,
        "activation": network.activation,
        "polynomial": None if network.polynomial is None else list(network.polynomial),
        "alphabet": network.alphabet,
        "divisor": get_alphabet(network.alphabet).divisor,
        "U": network.U.T.tolist(),
        "V": None if network.V is None else network.V.T.tolist(),
        "alpha": network.alpha.tolist(),
        "loss": network.loss,
        "beta": network.beta,
        "preprocessing": None,
    }
    if network.preprocessing is not None:
        record["preprocessing"] = json.loads(network.preprocessing.to_json())
        if network.preprocessing.target.pairs:
            record["decision"] = PAIRS
        record["missing_words"] = list(network.preprocessing.layout.missing_words)
    members = [f" {json.dumps(key)}: {_member(key, record[key])}" for key in record]
    return "{\n" + ",\n".join(members) + "\n}\n"


def _member(key: str, value: Any) -> str:
    # One neuron a line: long files stay readable and comparable.
    if key in ("U", "V") and value:
        lines = ",\n".join("  " + json.dumps(row, separators=(",", ":")) for row in value)
        return f"[\n{lines}\n ]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
