"""What a C header makes of a raw row: `qnn_encode`, and the numbers that it reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from qnn.features.block_floating_point import FLOAT, WIDTHS, Block
from qnn.features.encoders import QuantileToNormal, Thermometer
from qnn.features.scalings import SCALINGS
from qnn.networks.exports.c_text import array, number, template
from qnn.networks.quantized import QuantizedNetwork


def numbers_of(network: QuantizedNetwork) -> str:
    """The tables of the encoder, and what one column's number becomes."""
    preprocessing = network.preprocessing
    if preprocessing is None:
        return template("plain") + _scaling([], [], None) + "#define QNN_BIAS 0\n"
    layout, encoder = preprocessing.layout, preprocessing.encoder
    bias = f"#define QNN_BIAS {layout.bias:d}\n"
    numeric = [column.categories is None for column in layout.kept]
    if isinstance(encoder, Thermometer):
        tables = iter(encoder.thresholds)
        levels = [next(tables) if one else () for one in numeric]
        note = "/* Bit k of a column is set where its number is at least its threshold k. */\n"
        head = bias + note + array("int", "qnn_levels[QNN_COLUMNS]", map(len, levels))
        if layout.compact:
            return head + _blocks(preprocessing.blocks)
        flat = [value for column in levels for value in column] or [0.0]
        return head + array("double", f"qnn_thresholds[{len(flat)}]", map(number, flat))
    if layout.compact:
        return bias + _blocks(preprocessing.blocks) + template("plain") + _read_scaling(layout.clip)
    scaled = SCALINGS[layout.scaling].standardized
    means, scales = (preprocessing.means, preprocessing.scales) if scaled else ((), ())
    text = bias + _scaling(means, scales, layout.clip)
    if not isinstance(encoder, QuantileToNormal):
        return template("plain") + text
    index = iter(range(len(encoder.knots)))
    own = [next(index) if one else None for one in numeric]
    starts = np.cumsum([0, *(len(encoder.knots[i]) if i is not None else 0 for i in own)])
    arrays = [
        array("double", f"qnn_{name}[{max(int(starts[-1]), 1)}]",
               map(number, [value for column in table for value in column] or [0.0]))
        for name, table in (
            ("knots", encoder.knots), ("normal_scores", encoder.scores),
            ("slopes", encoder.slopes),
        )
    ]  # fmt: skip
    note = "/* Normal scores: linear between knots, constant outside of them. */\n"
    begins = array("int", "qnn_table_starts[QNN_COLUMNS + 1]", starts)
    return note + begins + "".join(arrays) + template("quantile") + text


def encode_of(network: QuantizedNetwork, bits: bool) -> str:
    """`qnn_encode`, which reads its numbers from arrays, or from blocks in few bits."""
    preprocessing = network.preprocessing
    compact = preprocessing is not None and preprocessing.layout.compact
    filled = {
        "@PLACE@": "    qnn_place place = {0, 0, {0, 0, 0, 0}, 0.0};\n" if compact else "",
        "@READ@": ", &place" if compact else "",
        "@OPEN@": "        if (qnn_levels[c])\n            qnn_open(&place);\n" if compact else "",
        "@THRESHOLD@": "qnn_next(&place)" if compact else "qnn_thresholds[threshold++]",
        "@COUNTER@": "" if compact else ", threshold = 0",
    }
    text = template("bits" if bits else "numbers")
    for mark, code in filled.items():
        text = text.replace(mark, code)
    return text


def _scaling(means: Iterable[float], scales: Iterable[float], clip: float | None) -> str:
    """`qnn_scaled`: one feature, standardized and clipped where the network was trained so."""
    lines, body = [], ["    (void)feature;"]
    if listed := list(means):
        count = len(listed)
        lines.append(array("double", f"qnn_means[{count}]", map(number, listed)))
        lines.append(array("double", f"qnn_deviations[{count}]", map(number, scales)))
        body = ["    value = (value - qnn_means[feature]) / qnn_deviations[feature];"]
    head = "static inline double qnn_scaled(double value, int feature)\n{\n"
    return "".join(lines) + head + "\n".join([*body, *_clipped(clip)]) + "\n    return value;\n}\n"


def _read_scaling(clip: float | None) -> str:
    """The same of the next feature's mean and scale, a block each."""
    body = [
        "static inline double qnn_scaled(double value, int feature, qnn_place *place)",
        "{",
        "    double mean;",
        "",
        "    (void)feature;",
        "    qnn_open(place);",
        "    mean = qnn_next(place);",
        "    value = (value - mean) / qnn_next(place);",
        *_clipped(clip),
        "    return value;",
        "}",
    ]
    return "\n".join(body) + "\n"


def _clipped(clip: float | None) -> list[str]:
    if clip is None:
        return []
    return [
        f"    if (value > {number(clip)}) value = {number(clip)};",
        f"    if (value < {number(-clip)}) value = {number(-clip)};",
    ]


def _blocks(blocks: Sequence[Block]) -> str:
    """Numbers in few bits, by their width, and what reads them in order."""
    codes = {width: code for code, width in enumerate((*WIDTHS, FLOAT))}
    words = [4 * block.exponent + codes[block.width] for block in blocks] or [0]
    by_width = {
        width: [v for b in blocks if b.width == width for v in b.numbers] for width in codes
    }
    note = (
        "/* Means and scales, or thresholds: blocks of whole numbers that share a power of two.\n"
        "   A block's word is 4 times the exponent, and which width: 8, 16, 32 bits, double. */\n"
    )
    kinds = {width: f"int{width}_t" for width in WIDTHS} | {FLOAT: "double"}
    arrays = [
        array(kinds[width], f"qnn_numbers_{width}[{len(numbers) or 1}]",
               map(number if width == FLOAT else int, numbers or [0.0]))
        for width, numbers in by_width.items()
    ]  # fmt: skip
    return (
        note + array("int16_t", f"qnn_blocks[{len(words)}]", words) + "".join(arrays)
        + template("blocks")
    )  # fmt: skip
