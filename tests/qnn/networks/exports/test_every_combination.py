"""Every scaling × alphabet × second layer × activation × kind of target, and their ties.

Many headers go into one C program, each under a prefix of its own instead of `qnn_`.
"""

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qnn.features.preprocessing import FeatureLayout, Preprocessing
from qnn.networks.alphabets import ALPHABETS
from qnn.networks.exports import to_c, to_onnx
from qnn.networks.exports.c_text import text_literal
from qnn.networks.quantized import QuantizedNetwork
from qnn.networks.second_layers import SECOND_LAYERS, largest_step
from tests.qnn.networks.exports.cases import (
    SCALINGS,
    random_network,
    scaled,
    table,
    target,
    tolerance,
    unseen,
)
from tests.qnn.networks.exports.test_c_header import FLAGS
from tests.qnn.networks.exports.test_onnx import run as run_onnx

TARGETS: dict[str, tuple[tuple[str, ...] | None, int | None]] = {
    "two classes": (("no", "yes"), None),
    "three classes": (("a", "b,c", 'say "x"'), None),
    "a number": (None, None),
    "two numbers": (None, 2),
}
NEURONS = 3
# Known rows with gaps and ties of thresholds, then those of no training row.
ROWS = {name: column[[0, 2, 3, 5, -4, -3, -2, -1]] for name, column in unseen().items()}


@cache
def prepared(scaling: Any, kind: str) -> Preprocessing:
    classes, outputs = TARGETS[kind]
    layout = FeatureLayout.from_table(table(), **scaled(scaling), missing="impute")
    return layout.fit(table(), target(classes, outputs), classes)


def second_layers(shape: tuple[int, ...], name: str | int) -> np.ndarray:
    """Random ones (NEURONS, *shape) on the grid of that name."""
    rng = np.random.default_rng(len(shape) + 10 * list(SECOND_LAYERS).index(name))
    top = largest_step(name)
    if top is None:
        return rng.standard_normal((NEURONS, *shape))
    steps = rng.integers(-top, top + 1, (NEURONS, *shape)).astype(float)
    steps[0] = top
    return 0.37 * steps if name != "common" else 0.37 * np.where(steps < 0, -1.0, 1.0)


def of_everything(scaling: str, kind: str) -> Iterator[QuantizedNetwork]:
    """A network of each alphabet, second layer and activation; of classes some that tie."""
    coding = prepared(scaling, kind)
    for alphabet, name, activation in product(ALPHABETS, SECOND_LAYERS, ("bilinear", "polynomial")):
        alpha = second_layers(coding.target.shape, name)
        net = random_network(coding.layout.d, activation, str(alphabet), alpha, coding)
        net = replace(net, second_layer=str(name))
        yield net
        # What a tie's label is depends on the second layer, or on the alphabet, if on any.
        if coding.classes is not None and (alphabet == "binary" or name == "common"):
            # A score of exactly 0, and of three the first two equal.
            tied = alpha * (np.arange(max(alpha.ndim * 3 - 3, 1)) > 1)
            yield replace(net, alpha=tied if alpha.ndim == 2 else np.zeros_like(alpha))


SHOW = """
static void qnn_show(void)
{
    int r, c;
    for (r = 0; r < ROWS; r++) {
        double values[QNN_COLUMNS], score[3] = {0.0, 0.0, 0.0};
        for (c = 0; c < QNN_COLUMNS; c++)
            if (!qnn_parse(c, cells[r][c], &values[c]))
                exit(3);
#ifdef QNN_OUTPUTS
        qnn_scores(values, score);
#else
        score[0] = qnn_score(values);
#endif
        printf("%.17g %.17g %.17g ", score[0], score[1], score[2]);
#if QNN_CLASSES && defined QNN_OUTPUTS
        puts(qnn_label(score));
#elif QNN_CLASSES
        puts(qnn_label(score[0]));
#elif defined QNN_OUTPUTS
        printf("%.17g %.17g\\n", qnn_number(score[0], 0), qnn_number(score[1], 1));
#else
        printf("%.17g\\n", qnn_number(score[0]));
#endif
    }
}
"""


def program(networks: list[QuantizedNetwork]) -> str:
    """A C header whose `show` prints what each network in turn says of each of ROWS."""
    preprocessing = networks[0].preprocessing
    assert preprocessing is not None
    columns = [ROWS[column.name] for column in preprocessing.layout.kept]
    rows = [
        ["" if v is None or v != v else str(v) for v in row] for row in zip(*columns, strict=True)
    ]
    texts = ",\n".join("{" + ", ".join(map(text_literal, row)) + "}" for row in rows)
    parts = [
        "#include <stdio.h>",
        f"#define ROWS {len(rows)}",
        f"static const char *const cells[ROWS][{len(columns)}] = {{\n{texts}\n}};",
    ]
    for k, net in enumerate(networks):
        text = to_c(net) + SHOW
        parts.append(text.replace("qnn_", f"net{k}_").replace("QNN_", f"NET{k}_"))
    calls = "\n".join(f"    net{k}_show();" for k in range(len(networks)))
    return "\n".join([*parts, f"static void show(void)\n{{\n{calls}\n}}\n"])


def said(networks: list[QuantizedNetwork], folder: Path) -> Iterator[list[list[str]]]:
    """Of each network the lines that its C program prints, cut at the three scores."""
    (folder / "all.h").write_text(program(networks))
    main = '#include "all.h"\n\nint main(void)\n{\n    show();\n    return 0;\n}\n'
    (folder / "all.c").write_text(main)
    built = subprocess.run(
        ["gcc", *FLAGS[:-1], "-O0", "-o", str(folder / "all"), str(folder / "all.c"), "-lm"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr[:2000]
    lines = subprocess.run([folder / "all"], capture_output=True, text=True, check=True).stdout
    found = [line.split(" ", 3) for line in lines.splitlines()]
    count = len(ROWS["number"])
    assert len(found) == count * len(networks)
    for start in range(0, len(found), count):
        yield found[start : start + count]


def labels(net: QuantizedNetwork) -> list[str]:
    return [str(label) for label in net.predict(ROWS)]


def is_tied(scores: np.ndarray) -> bool:
    """Whether every row has a score of exactly 0, or its first two equal ones."""
    return bool(np.all(scores == 0.0 if scores.ndim == 1 else scores[:, 0] == scores[:, 1]))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:categories that were not seen")
@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("scaling", SCALINGS)
def test_compiled_networks_say_what_predict_says(scaling: str, kind: str, tmp_path: Path) -> None:
    networks = list(of_everything(scaling, kind))
    ties = 0
    for net, lines in zip(networks, said(networks, tmp_path), strict=True):
        expected, near = net.scores(ROWS), tolerance(net, ROWS)
        score = np.array([line[:3] for line in lines], dtype=float)
        shown = score[:, : expected.shape[1]] if expected.ndim == 2 else score[:, 0]
        np.testing.assert_allclose(shown, expected, rtol=0, atol=near)
        if TARGETS[kind][0] is not None:
            ties += is_tied(shown)
            assert [line[3] for line in lines] == labels(net)
        else:
            numbers = np.array([line[3].split() for line in lines], dtype=float)
            predicted = net.predict(ROWS).reshape(numbers.shape)
            np.testing.assert_allclose(numbers, predicted, rtol=0, atol=3 * near)
    of_ties = 0 if TARGETS[kind][0] is None else 2 * (len(ALPHABETS) + len(SECOND_LAYERS) - 1)
    assert ties >= of_ties
    assert len(networks) == 2 * len(ALPHABETS) * len(SECOND_LAYERS) + of_ties


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:categories that were not seen")
@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("scaling", SCALINGS)
def test_onnxruntime_says_what_predict_says(scaling: str, kind: str) -> None:
    for net in of_everything(scaling, kind):
        score, prediction = run_onnx(to_onnx(net), ROWS)
        near = tolerance(net, ROWS)
        np.testing.assert_allclose(score, net.scores(ROWS), rtol=0, atol=near)
        if TARGETS[kind][0] is not None:
            assert [str(label) for label in prediction] == labels(net)
        else:
            np.testing.assert_allclose(prediction, net.predict(ROWS), rtol=0, atol=3 * near)
