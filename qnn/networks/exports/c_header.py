"""A network as one C99 header without dependencies, and an example program that reads CSV.

First-layer weights are packed bits. On thermometer bits a neuron is XOR and popcount, an exact
integer up to the one multiplication by alpha; on other features it is additions and subtractions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np

from qnn.errors import InputError
from qnn.features.encoders import QuantileToNormal, Thermometer
from qnn.features.preprocessing import Preprocessing
from qnn.features.scalings import SCALINGS
from qnn.features.tables import MISSING_WORDS
from qnn.networks.exports.planes import Planes, planes_of
from qnn.networks.quantized import QuantizedNetwork

LINE = 100
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
        _template("head"),
        _dimensions(network, planes["u"]),
        _columns(network),
        _network(network, planes),
        _template("rows"),
        _encoding(network, bits),
        _template("bits" if bits else "numbers"),
        _neurons(network, bits, planes["u"].divisor),
        _target(network),
        "#endif\n",
    ]
    return "\n".join(part for part in parts if part)


def to_main(header: str) -> str:
    """The example program for a header of this file name: CSV rows in, a prediction a line out."""
    return _template("main").replace("@HEADER@", header)


def _template(name: str) -> str:
    return (
        resources.files("qnn.networks.exports")
        .joinpath("c", f"{name}.c")
        .read_text(encoding="utf-8")
    )


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
            _array("char *const", "qnn_column_names[QNN_COLUMNS]", map(_text, names)),
            "/* Number of categories of a column, 0 where it is a number. */\n",
            _array("int", "qnn_category_counts[QNN_COLUMNS]", [len(c or ()) for c in categories]),
            "/* All categories, column after column. */\n",
            _array(
                "char *const", f"qnn_categories[{max(len(texts), 1)}]", map(_text, texts or [""])
            ),
            "/* Text that says that a value is missing, where it is no category. */\n",
            f"#define QNN_MISSING_WORDS {len(words)}\n",
            _array("char *const", "qnn_missing_words[QNN_MISSING_WORDS]", map(_text, words)),
            "/* What stands for a missing value: a number, or the index of a category. */\n",
            _array("double", "qnn_fill[QNN_COLUMNS]", map(_number, fill)),
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
            "{" + ", ".join("{" + ", ".join(map(_word, plane)) + "}" for plane in neuron) + "}"
            for neuron in weights.words().transpose(1, 0, 2)
        ]
        arrays.append(_array("uint64_t", f"qnn_{name}{shape}", blocks))
    return "".join(
        [
            "/* First-layer weights: bit k % 64 of word k / 64 is set where a plane adds\n"
            "   feature k, clear where it subtracts it; a weight is the sum of its planes\n"
            "   times their scales, over QNN_DIVISOR. */\n",
            *arrays,
            _array("int", "qnn_scales[QNN_PLANES]", planes["u"].scales),
            _second_layer(network.alpha),
        ]
    )


def _second_layer(alpha: np.ndarray) -> str:
    if alpha.ndim == 1:
        values = _array(
            "double", "qnn_alpha[QNN_NEURONS]", map(_number, alpha if alpha.size else [0.0])
        )
        return "/* The second layer. */\n" + values
    used = np.zeros((max(len(alpha), 1), -(-alpha.shape[1] // 64) * 64), dtype=bool)
    used[: len(alpha), : alpha.shape[1]] = alpha != 0.0
    words = np.packbits(used, axis=1, bitorder="little").view("<u8")
    rows = ["{" + ", ".join(map(_word, row)) + "}" for row in words]
    entries = alpha[alpha != 0.0]
    listed = entries if entries.size else np.zeros(1)
    return "".join(
        [
            "/* The second layer: bit c % 64 of word c / 64 is set where output c uses a neuron;\n"
            "   what it weighs there, neuron after neuron. */\n",
            _array("uint64_t", f"qnn_used[QNN_NEURONS][{words.shape[1]}]", rows),
            _array("double", f"qnn_alpha[{len(listed)}]", map(_number, listed)),
        ]
    )


def _encoding(network: QuantizedNetwork, bits: bool) -> str:
    """The tables of the encoder, and what one column's number becomes."""
    preprocessing = network.preprocessing
    if preprocessing is None:
        return _template("plain") + _scaling([], [], None) + "#define QNN_BIAS 0\n"
    layout, encoder = preprocessing.layout, preprocessing.encoder
    bias = f"#define QNN_BIAS {int(layout.bias)}\n"
    numeric = [column.categories is None for column in layout.kept]
    if isinstance(encoder, Thermometer):
        tables = iter(encoder.thresholds)
        levels = [next(tables) if one else () for one in numeric]
        flat = [value for column in levels for value in column] or [0.0]
        return bias + "".join(
            [
                "/* Bit k of a column is set where its number is at least its threshold k. */\n",
                _array("int", "qnn_levels[QNN_COLUMNS]", map(len, levels)),
                _array("double", f"qnn_thresholds[{len(flat)}]", map(_number, flat)),
            ]
        )
    scaled = SCALINGS[layout.scaling].standardized
    means, scales = (preprocessing.means, preprocessing.scales) if scaled else ((), ())
    text = bias + _scaling(means, scales, layout.clip)
    if not isinstance(encoder, QuantileToNormal):
        return _template("plain") + text
    index = iter(range(len(encoder.knots)))
    own = [next(index) if one else None for one in numeric]
    starts = np.cumsum([0, *(len(encoder.knots[i]) if i is not None else 0 for i in own)])
    arrays = [
        _array("double", f"qnn_{name}[{max(int(starts[-1]), 1)}]",
               map(_number, [value for column in table for value in column] or [0.0]))
        for name, table in (
            ("knots", encoder.knots), ("normal_scores", encoder.scores),
            ("slopes", encoder.slopes),
        )
    ]  # fmt: skip
    note = "/* Normal scores: linear between knots, constant outside of them. */\n"
    begins = _array("int", "qnn_table_starts[QNN_COLUMNS + 1]", starts)
    return note + begins + "".join(arrays) + _template("quantile") + text


def _scaling(means: Iterable[float], scales: Iterable[float], clip: float | None) -> str:
    """`qnn_scaled`: one feature, standardized and clipped where the network was trained so."""
    lines, body = [], ["    (void)feature;"]
    if listed := list(means):
        count = len(listed)
        lines.append(_array("double", f"qnn_means[{count}]", map(_number, listed)))
        lines.append(_array("double", f"qnn_deviations[{count}]", map(_number, scales)))
        body = ["    value = (value - qnn_means[feature]) / qnn_deviations[feature];"]
    if clip is not None:
        body += [
            f"    if (value > {_number(clip)}) value = {_number(clip)};",
            f"    if (value < {_number(-clip)}) value = {_number(-clip)};",
        ]
    head = "static inline double qnn_scaled(double value, int feature)\n{\n"
    return "".join(lines) + head + "\n".join(body) + "\n    return value;\n}\n"


def _neurons(network: QuantizedNetwork, bits: bool, divisor: int) -> str:
    """`qnn_score`, or `qnn_scores` of several outputs: the sum over neurons."""
    integer = bits and network.V is not None
    product = "qnn_product(qnn_{}[j], x)"
    if network.V is not None:
        kind = "int64_t" if integer else "double"
        hidden = f"        {kind} h = {product.format('u')} * {product.format('v')};"
        over = f" / {_number(float(divisor**2))}" if integer and divisor != 1 else ""
        output = "(double)h" + over
    else:
        a, b, c = (_number(value) for value in network.polynomial or (0.0, 0.0, 0.0))
        over = " / (double)QNN_DIVISOR" if bits else ""
        hidden = f"        double t = (double){product.format('u')}{over};"
        output = f"({a} * t + {b}) * t + {c}"
    if network.alpha.ndim == 2:
        return _several(bits, hidden, output)
    added = f"        score += qnn_alpha[j] * ({output});"
    common = _common_size(network.alpha) if integer else None
    inputs = "uint64_t x[QNN_WORDS]" if bits else "double x[QNN_FEATURES]"
    note = "/* The network's output for one row of values, see qnn_parse. */\n"
    total = "    double score = 0.0;"
    last = "    return score;"
    if common is not None:
        note += "/* All alpha have one size: integers until the last line. */\n"
        total = "    int64_t total = 0;"
        added = "        total += qnn_alpha[j] < 0.0 ? -h : h;"
        over = f" / {_number(float(divisor**2))}" if divisor != 1 else ""
        last = f"    return {_number(common)} * ((double)total{over});"
    return (
        f"{note}static inline double qnn_score(const double values[QNN_COLUMNS])\n{{\n"
        f"    {inputs};\n{total}\n    int j;\n\n    qnn_encode(values, x);\n"
        f"    for (j = 0; j < QNN_NEURONS; j++) {{\n{hidden}\n{added}\n    }}\n{last}\n}}\n"
    )


def _common_size(alpha: np.ndarray) -> float | None:
    """The one size of all entries of alpha (m,); None where there are several, or none.

    A grid has one scalar, too, and several sizes all the same.
    """
    sizes = np.unique(np.abs(alpha))
    return float(sizes[0]) if len(sizes) == 1 else None


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
        "                scores[c] += qnn_alpha[next++] * output;\n    }\n}\n"
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
    below, above = (_text(str(label)) for label in preprocessing.classes)
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
                _array("double", "qnn_target_offsets[QNN_OUTPUTS]", offsets),
                _array("double", "qnn_target_scales[QNN_OUTPUTS]", scales),
                "/* The score of output c in units of its target. */\n"
                "static inline double qnn_number(double score, int c)\n{\n"
                "    return qnn_target_offsets[c] + qnn_target_scales[c] * score;\n}\n",
            ]
        )
    labels = [_text(str(label)) for label in preprocessing.classes]
    return "".join(
        [
            "#define QNN_CLASSES QNN_OUTPUTS\n",
            _array("char *const", "qnn_labels[QNN_OUTPUTS]", labels),
            "/* The label of the largest score, the first of equal ones. */\n"
            "static inline const char *qnn_label(const double scores[QNN_OUTPUTS])\n{\n"
            "    int c, best = 0;\n\n    for (c = 1; c < QNN_OUTPUTS; c++)\n"
            "        if (scores[c] > scores[best])\n            best = c;\n"
            "    return qnn_labels[best];\n}\n",
        ]
    )


def _units(preprocessing: Preprocessing | None, count: int) -> tuple[list[str], list[str]]:
    """Offset and scale of each of `count` regression targets, as C numbers."""
    if preprocessing is None:
        return [_number(0.0)] * count, [_number(1.0)] * count
    target = preprocessing.target
    offsets, scales = (np.atleast_1d(values).tolist() for values in (target.offset, target.scale))
    return list(map(_number, offsets)), list(map(_number, scales))


def _array(kind: str, name: str, values: Iterable[Any]) -> str:
    """A constant array, wrapped at commas."""
    lines, line = [], "   "
    for value in (str(value) for value in values):
        if len(line) + len(value) + 2 > LINE and line.strip():
            lines.append(line)
            line = "   "
        line += f" {value},"
    body = "\n".join([*lines, line]).rstrip(",")
    return f"static const {kind} {name} = {{\n{body}\n}};\n"


def _word(word: np.uint64) -> str:
    return f"UINT64_C(0x{int(word):016x})"


def _number(value: float) -> str:
    # Python's shortest text reads back to the same bits in any C compiler that rounds correctly.
    return repr(float(value))


def _text(text: str) -> str:
    """A string literal; what is not plain ASCII, and what trigraphs are made of, in octal."""
    plain = [
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}"
        for byte in text.encode()
    ]
    return '"' + "".join(plain) + '"'
