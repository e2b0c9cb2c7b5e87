"""A network as one C99 header without dependencies, and an example program that reads CSV.

First-layer weights are packed bits. On thermometer bits a neuron is XOR and popcount, an exact
integer, and so is their sum where alpha are steps of a grid; on other features it is additions and
subtractions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from qnn.errors import InputError
from qnn.features.preprocessing import Preprocessing
from qnn.features.tables import MISSING_WORDS
from qnn.networks.alphabets import get_alphabet
from qnn.networks.exports.c_encoding import encode_of, numbers_of
from qnn.networks.exports.c_text import array, number, template, text_literal, word
from qnn.networks.exports.planes import Planes, planes_of
from qnn.networks.quantized import QuantizedNetwork

# The nearest integer weights keep sums of products within int64 up to here.
MOST_FEATURES = 1 << 20


def to_c(network: QuantizedNetwork) -> str:
    """The header's text; its functions are described in it.

    Raises InputError for more than 2^20 features.
    """
    if network.d > MOST_FEATURES:
        raise InputError(f"the C header holds up to {MOST_FEATURES} features, not {network.d}")
    preprocessing = network.preprocessing
    bits = preprocessing is not None and preprocessing.layout.scaling == "thermometer"
    planes = planes_of(network)
    parts = [
        template("head"),
        _dimensions(network, planes["u"]),
        _columns(network),
        _network(network, planes),
        template("rows"),
        numbers_of(network),
        encode_of(network, bits),
        _neurons(network, bits, planes["u"].divisor),
        _target(network),
        "#endif\n",
    ]
    return "\n".join(part for part in parts if part)


def to_main(header: str) -> str:
    """The example program for a header of this file name: CSV rows in, a prediction a line out."""
    return template("main").replace("@HEADER@", header)


def _dimensions(network: QuantizedNetwork, planes: Planes) -> str:
    preprocessing = network.preprocessing
    impute = preprocessing is None or preprocessing.layout.missing == "impute"
    columns = network.d if preprocessing is None else len(preprocessing.layout.kept)
    numbers = {
        "QNN_COLUMNS": columns,
        "QNN_FEATURES": network.d,
        # An array of none is not C: the network that says 0 has one neuron of alpha 0.
        "QNN_NEURONS": max(network.neurons, 1),
        "QNN_PLANES": len(planes.scales),
        "QNN_DIVISOR": planes.divisor,
        "QNN_WORDS": -(-network.d // 64),
        "QNN_MISSING_ALLOWED": int(impute and preprocessing is not None),
    }
    if network.alpha.ndim == 2:
        numbers["QNN_OUTPUTS"] = network.alpha.shape[1]
    return "".join(f"#define {name} {value}\n" for name, value in numbers.items())


def _columns(network: QuantizedNetwork) -> str:
    preprocessing = network.preprocessing
    if preprocessing is None:
        names: Sequence[str] = [f"x{j}" for j in range(network.d)]
        categories: list[tuple[str, ...] | None] = [None] * network.d
        fill: list[float] = [0.0] * network.d
    else:
        kept = preprocessing.layout.kept
        names = [column.name for column in kept]
        categories = [column.categories for column in kept]
        fill = [
            _code(column.categories, value)
            for column, value in zip(kept, preprocessing.fill, strict=True)
        ]
    texts = [text for block in categories for text in block or ()]
    words = MISSING_WORDS if preprocessing is None else preprocessing.layout.missing_words
    return "".join(
        [
            array("char *const", "qnn_column_names[QNN_COLUMNS]", map(text_literal, names)),
            "/* Number of categories of a column, 0 where it is a number. */\n",
            array("int", "qnn_category_counts[QNN_COLUMNS]", [len(c or ()) for c in categories]),
            "/* All categories, column after column. */\n",
            array(
                "char *const",
                f"qnn_categories[{max(len(texts), 1)}]",
                map(text_literal, texts or [""]),
            ),
            "/* Text that says that a value is missing, where it is no category. */\n",
            f"#define QNN_MISSING_WORDS {len(words)}\n",
            array("char *const", "qnn_missing_words[QNN_MISSING_WORDS]", map(text_literal, words)),
            "/* What stands for a missing value: a number, or the index of a category. */\n",
            array("double", "qnn_fill[QNN_COLUMNS]", map(number, fill)),
        ]
    )


def _code(categories: tuple[str, ...] | None, value: float | str | None) -> float:
    if categories is None:
        return float(value or 0.0)
    return float(categories.index(value)) if isinstance(value, str) else -1.0


def _network(network: QuantizedNetwork, planes: Mapping[str, Planes]) -> str:
    arrays = []
    for name, weights in planes.items():
        shape = "[QNN_NEURONS][QNN_PLANES][QNN_WORDS]"
        blocks = [
            "{" + ", ".join("{" + ", ".join(map(word, plane)) + "}" for plane in neuron) + "}"
            for neuron in weights.words().transpose(1, 0, 2)
        ]
        arrays.append(array("uint64_t", f"qnn_{name}{shape}", blocks))
    return "".join(
        [
            "/* First-layer weights: bit k % 64 of word k / 64 is set where a plane adds\n"
            "   feature k, clear where it subtracts it; a weight is the sum of its planes\n"
            "   times their scales, over QNN_DIVISOR. */\n",
            *arrays,
            array("int", "qnn_scales[QNN_PLANES]", planes["u"].scales),
            _second_layer(*_summed(network, planes["u"].divisor)),
        ]
    )


def _second_layer(alpha: np.ndarray, factor: np.ndarray) -> str:
    """The parts of `QuantizedNetwork.summed`, and their factors of several outputs."""
    if alpha.ndim == 1:
        values = array(
            "double", "qnn_alpha[QNN_NEURONS]", map(number, alpha if alpha.size else [0.0])
        )
        return "/* The second layer, but for a factor. */\n" + values
    used = np.zeros((max(len(alpha), 1), -(-alpha.shape[1] // 64) * 64), dtype=bool)
    used[: len(alpha), : alpha.shape[1]] = alpha != 0.0
    words = np.packbits(used, axis=1, bitorder="little").view("<u8")
    rows = ["{" + ", ".join(map(word, row)) + "}" for row in words]
    entries = alpha[alpha != 0.0]
    listed = entries if entries.size else np.zeros(1)
    return "".join(
        [
            "/* The second layer: bit c % 64 of word c / 64 is set where output c uses a neuron;\n"
            "   what it weighs there, neuron after neuron. */\n",
            array("uint64_t", f"qnn_used[QNN_NEURONS][{words.shape[1]}]", rows),
            array("double", f"qnn_alpha[{len(listed)}]", map(number, listed)),
            "/* What the sums are multiplied by. */\n",
            array("double", "qnn_factors[QNN_OUTPUTS]", map(number, factor)),
        ]
    )


def _summed(network: QuantizedNetwork, divisor: int) -> tuple[np.ndarray, np.ndarray]:
    """`QuantizedNetwork.summed` where weights are counted in planes: powers of two of levels."""
    parts, factor = network.summed
    if network.V is None:
        return parts, factor
    return parts, factor * (get_alphabet(network.alphabet).divisor / divisor) ** 2


def _neurons(network: QuantizedNetwork, bits: bool, divisor: int) -> str:
    """`qnn_score`, or `qnn_scores` of several outputs: the sum over neurons."""
    integer = bits and network.V is not None
    product = "qnn_product(qnn_{}[j], x)"
    if network.V is not None:
        kind = "int64_t" if integer else "double"
        hidden = f"        {kind} h = {product.format('u')} * {product.format('v')};"
        output = "(double)h"
    else:
        a, b, c = (number(value) for value in network.polynomial or (0.0, 0.0, 0.0))
        hidden = f"        double t = (double){product.format('u')} / (double)QNN_DIVISOR;"
        output = f"({a} * t + {b}) * t + {c}"
    if network.alpha.ndim == 2:
        return _several(bits, hidden, output)
    parts, factor = _summed(network, divisor)
    sizes = np.unique(np.abs(parts))
    added = f"        score += qnn_alpha[j] * ({output});"
    inputs = "uint64_t x[QNN_WORDS]" if bits else "double x[QNN_FEATURES]"
    note = "/* The network's output for one row of values, see qnn_parse. */\n"
    total, last = "    double score = 0.0;", f"    return {number(float(factor))} * score;"
    if integer and len(sizes) == 1:
        note += "/* All alpha have one size: integers until the last line. */\n"
        total = "    int64_t total = 0;"
        added = "        total += qnn_alpha[j] < 0.0 ? -h : h;"
        last = f"    return {number(float(factor * sizes[0]))} * (double)total;"
    return (
        f"{note}static inline double qnn_score(const double values[QNN_COLUMNS])\n{{\n"
        f"    {inputs};\n{total}\n    int j;\n\n    qnn_encode(values, x);\n"
        f"    for (j = 0; j < QNN_NEURONS; j++) {{\n{hidden}\n{added}\n    }}\n{last}\n}}\n"
    )


def _several(bits: bool, hidden: str, output: str) -> str:
    inputs = "uint64_t x[QNN_WORDS]" if bits else "double x[QNN_FEATURES]"
    return (
        "/* The network's outputs for one row of values, see qnn_parse. */\n"
        "static inline void qnn_scores(const double values[QNN_COLUMNS],\n"
        "                              double scores[QNN_OUTPUTS])\n{\n"
        f"    {inputs};\n    int j, c, next = 0;\n\n    qnn_encode(values, x);\n"
        "    for (c = 0; c < QNN_OUTPUTS; c++)\n        scores[c] = 0.0;\n"
        f"    for (j = 0; j < QNN_NEURONS; j++) {{\n{hidden}\n        double output = {output};\n"
        "        for (c = 0; c < QNN_OUTPUTS; c++)\n"
        "            if (qnn_used[j][c / 64] >> (c % 64) & 1)\n"
        "                scores[c] += qnn_alpha[next++] * output;\n    }\n"
        "    for (c = 0; c < QNN_OUTPUTS; c++)\n        scores[c] *= qnn_factors[c];\n}\n"
    )


def _target(network: QuantizedNetwork) -> str:
    preprocessing = network.preprocessing
    if network.alpha.ndim == 2:
        return _targets(preprocessing, network.alpha.shape[1])
    if preprocessing is None or preprocessing.classes is None:
        (offset,), (scale,) = _units(preprocessing, 1)
        return (
            "#define QNN_CLASSES 0\n"
            "/* A score in units of the target. */\n"
            "static inline double qnn_number(double score)\n{\n"
            f"    return {offset} + {scale} * score;\n}}\n"
        )
    below, above = (text_literal(str(label)) for label in preprocessing.classes)
    return (
        "#define QNN_CLASSES 2\n"
        "/* The label of a score. */\n"
        "static inline const char *qnn_label(double score)\n{\n"
        f"    return score > 0.0 ? {above} : {below};\n}}\n"
    )


def _targets(preprocessing: Preprocessing | None, count: int) -> str:
    if preprocessing is None or preprocessing.classes is None:
        offsets, scales = _units(preprocessing, count)
        return "".join(
            [
                "#define QNN_CLASSES 0\n",
                array("double", "qnn_target_offsets[QNN_OUTPUTS]", offsets),
                array("double", "qnn_target_scales[QNN_OUTPUTS]", scales),
                "/* The score of output c in units of its target. */\n"
                "static inline double qnn_number(double score, int c)\n{\n"
                "    return qnn_target_offsets[c] + qnn_target_scales[c] * score;\n}\n",
            ]
        )
    labels = [text_literal(str(label)) for label in preprocessing.classes]
    if preprocessing.target.pairs:
        return _pairs(labels)
    return "".join(
        [
            "#define QNN_CLASSES QNN_OUTPUTS\n",
            array("char *const", "qnn_labels[QNN_OUTPUTS]", labels),
            "/* The label of the largest score, the first of equal ones. */\n"
            "static inline const char *qnn_label(const double scores[QNN_OUTPUTS])\n{\n"
            "    int c, best = 0;\n\n    for (c = 1; c < QNN_OUTPUTS; c++)\n"
            "        if (scores[c] > scores[best])\n            best = c;\n"
            "    return qnn_labels[best];\n}\n",
        ]
    )


def _pairs(labels: Sequence[str]) -> str:
    """`qnn_label` of scores of the pairs of classes: see `TargetCoding.class_scores`."""
    return "".join(
        [
            f"#define QNN_CLASSES {len(labels)}\n",
            array("char *const", "qnn_labels[QNN_CLASSES]", labels),
            "/* Scores are of the pairs of classes (0, 1), (0, 2), ...: below 0 the first wins,\n"
            "   above 0 the second. The label of the class that loses by the least in sum, the\n"
            "   first of equal ones. */\n"
            "static inline const char *qnn_label(const double scores[QNN_OUTPUTS])\n{\n"
            "    double lost[QNN_CLASSES] = {0.0};\n    int a, b, best = 0, pair = 0;\n\n"
            "    for (a = 0; a < QNN_CLASSES; a++)\n"
            "        for (b = a + 1; b < QNN_CLASSES; b++, pair++) {\n"
            "            if (scores[pair] > 0.0)\n                lost[a] += scores[pair];\n"
            "            else\n                lost[b] -= scores[pair];\n        }\n"
            "    for (a = 1; a < QNN_CLASSES; a++)\n"
            "        if (lost[a] < lost[best])\n            best = a;\n"
            "    return qnn_labels[best];\n}\n",
        ]
    )


def _units(preprocessing: Preprocessing | None, count: int) -> tuple[list[str], list[str]]:
    """Offset and scale of each of `count` regression targets, as C numbers."""
    if preprocessing is None:
        return [number(0.0)] * count, [number(1.0)] * count
    target = preprocessing.target
    offsets, scales = (np.atleast_1d(values).tolist() for values in (target.offset, target.scale))
    return list(map(number, offsets)), list(map(number, scales))
