"""More networks quantized beside their peers: ``python -m tests.benchmarks.quantized_networks``.

A 784-128-10 MLP and a ResNet-20 (`residual`) on Fashion-MNIST, a foreign pretrained CNN (PP-OCR's
classifier of a text's direction, from the wheel of rapidocr-onnxruntime, on lines drawn here), and
onnxsim's AdaRound, GPTQ and AdaQuant. The two packages: ``pip install --no-deps onnxsim
rapidocr-onnxruntime``; a section without its package says so. One thread; seconds are of processor
time.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from threadpoolctl import threadpool_limits

from qnn.quantization import quantize
from qnn.quantization.graph.execution import run
from qnn.quantization.graph.reading import read_model
from qnn.quantization.layers.adaquant import adaquant_best
from qnn.quantization.layers.beams import decoded_alone
from qnn.quantization.layers.grids import errors
from qnn.quantization.layers.lattice import (
    _one_round,
    factor_in_order,
    gptq,
    kbest,
    vblast_order,
)
from qnn.quantization.layers.objective import layer_objective
from qnn.quantization.tuning import divergence
from tests.benchmarks.fashion import FASHION, as_onnx, images, trained
from tests.benchmarks.measure import machine
from tests.benchmarks.quantization import by_onnxruntime
from tests.benchmarks.residual import SIDE, Residual

Array = np.ndarray
SECTIONS = ("wide", "peers", "residual", "foreign")
# Biases by distillation and a matrix H by neuron (Fisher) take minutes for a CNN.
_CHEAP: dict[str, Any] = {"damp": 1e-2, "beam": 16, "weighting": "none", "tune": "statistics"}
# Steps in blocks mean a matrix H by neuron: so many are compared.
_NEURONS = 12
_TEXTS = (
    "Invoice 2024",
    "total due",
    "chapter seven",
    "Platform 9",
    "open daily",
    "net weight 5 kg",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=FASHION)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--residual", type=Path, help="a ResNet-20 trained before")
    arguments = parser.parse_args()
    print(machine(), "- one thread", flush=True)
    with threadpool_limits(1):
        if "wide" in arguments.sections or "peers" in arguments.sections:
            whole = images(arguments.data, whole=True)
            model = trained(whole[0], whole[1], (whole[0].shape[1], 128, 10), 1500)
        if "wide" in arguments.sections:
            print("784-128-10 MLP")
            compare(model, *_split(whole, arguments.rows), damp=1e-2, beam=64)
        if "peers" in arguments.sections:
            print("784-128-10 MLP")
            peers(model, *_split(whole, arguments.rows))
            print("196-64-32-10 MLP")
            small = images(arguments.data)
            sizes = (small[0].shape[1], 64, 32, 10)
            peers(trained(small[0], small[1], sizes), *_split(small, arguments.rows))
        if "residual" in arguments.sections:
            residual(arguments.data, arguments.rows // 2, arguments.residual)
        if "foreign" in arguments.sections:
            foreign()


def _split(parts: tuple[Array, ...], rows: int) -> tuple[Array, Array, Array]:
    X, _, Xt, yt = parts
    return X[np.random.default_rng(1).permutation(len(X))[:rows]], Xt[:2000], yt[:2000]


def compare(
    model: onnx.ModelProto,
    rows: Array,
    X: Array,
    y: Array | None,
    methods: tuple[str, ...] = ("gptq", "adaquant", "kbest"),
    **options: Any,
) -> None:
    """W8A8 and W4A8 by our methods and by onnxruntime's static quantization."""
    reference = scores(model, X)
    _say("float", model, reference, reference, y, 0.0)
    for bits in (8, 4):
        for method in methods:
            started = time.process_time()
            made = quantize(model, rows, float(bits), (bits,), method, certify="none", **options)
            used = time.process_time() - started
            _say(f"{method}, {bits} bits", made.model, scores(made.model, X), reference, y, used)
        for note in made.notes:
            print(f"    note: {note[:110]}")
        try:
            started = time.process_time()
            peer = onnx.load_from_string(by_onnxruntime(model, rows, bits))
            used = time.process_time() - started
            found = scores(peer, X)
        except Exception as error:
            print(f"  onnxruntime static, {bits} bits: {' '.join(str(error).split())[:120]}")
            continue
        _say(f"onnxruntime static, {bits} bits", peer, found, reference, y, used)


def scores(model: onnx.ModelProto, X: Array) -> Array:
    """The first output on rows, in batches; logarithms where it is probabilities."""
    session = onnxruntime.InferenceSession(model.SerializeToString())
    name = session.get_inputs()[0].name
    parts = [session.run(None, {name: X[k : k + 256]})[0] for k in range(0, len(X), 256)]
    z = np.concatenate(parts).astype(np.float64)
    likely = z.min() >= 0.0 and np.allclose(z.sum(axis=1), 1.0, atol=1e-3)
    return np.log(np.maximum(z, 1e-9)) if likely else z


def _say(
    name: str, model: onnx.ModelProto, z: Array, reference: Array, y: Array | None, used: float
) -> None:
    right = "" if y is None else f"{100 * np.mean(z.argmax(1) == y):6.2f} % right, "
    same = 100 * np.mean(z.argmax(1) == reference.argmax(1))
    print(
        f"  {name:26} {right}{same:6.2f} % as float, KL {divergence(reference, z):.5f}, "
        f"{model.ByteSize():,} bytes, {used:.1f} s",
        flush=True,
    )


def residual(folder: Path, count: int, file: Path | None) -> None:
    """The ResNet-20, its batch normalizations folded while it is read."""
    print("ResNet-20 with batch normalization, 14x14")
    X, y, Xt, yt = images(folder)
    shape = (-1, 1, SIDE, SIDE)
    if file is None:
        network = Residual(np.random.default_rng(0))
        network.train(X.reshape(-1, SIDE, SIDE, 1), y, 700)
        model = network.as_onnx()
    else:
        model = onnx.load(file)
    rows, X, y = _split((X, y, Xt, yt), count)
    compare(model, rows.reshape(shape), X.reshape(shape), y, ("gptq", "kbest"), **_CHEAP)


def foreign() -> None:
    """PP-OCR's classifier of direction on drawn lines of text, half of them upside down."""
    place = importlib.util.find_spec("rapidocr_onnxruntime")
    if place is None or not place.submodule_search_locations:
        print("PP-OCR's classifier: rapidocr-onnxruntime is not installed")
        return
    folder = Path(place.submodule_search_locations[0]) / "models"
    model = onnx.load(folder / "ch_ppocr_mobile_v2.0_cls_infer.onnx")
    print("PP-OCR's classifier of direction (35 batch normalizations, 53 convolutions)")
    X, y = lines_of_text(40)
    compare(model, X[:10], X[10:], y[10:], ("gptq", "kbest"), **_CHEAP)


def lines_of_text(count: int) -> tuple[Array, Array]:
    """Images (n, 3, 48, 192) in [-1, 1] and 1 for those turned by 180 degrees."""
    from matplotlib.figure import Figure
    from PIL import Image

    rng = np.random.default_rng(0)
    made, turned = [], rng.integers(0, 2, count)
    for k in range(count):
        figure = Figure(figsize=(1.92, 0.48), dpi=100)
        style = {"family": ["sans-serif", "serif", "monospace"][k % 3], "size": rng.uniform(9, 17)}
        text = f"{_TEXTS[rng.integers(len(_TEXTS))]} {rng.integers(100)}"
        figure.text(0.5, 0.5, text, ha="center", va="center", rotation=rng.uniform(-3, 3), **style)
        content = io.BytesIO()
        figure.savefig(content, format="png")
        pixels = np.asarray(Image.open(content).convert("RGB").resize((192, 48)), np.float32)
        made.append(pixels[::-1, ::-1] if turned[k] else pixels)
    return (np.stack(made).transpose(0, 3, 1, 2) / 127.5 - 1.0).astype(np.float32), turned


def peers(model: onnx.ModelProto, rows: Array, X: Array, y: Array) -> None:
    """onnxsim's methods: codes of 4 bits at its own steps (blocks of 32), and W8A8.

    Its steps want a multiple of 32 inputs: the images get columns of zeros.
    """
    if importlib.util.find_spec("onnxsim") is None:
        print("onnxsim is not installed")
        return
    import onnxsim

    wide = _padded(model)
    rows, X = (np.pad(part, ((0, 0), (0, -part.shape[1] % 32))) for part in (rows, X))
    data = [{"x": rows}]
    start = onnxsim.quantize_weight_only_int4(wide)
    static = onnxsim.quantize_static(wide, data)
    made = {
        "round to nearest, 4 bits": lambda: start,
        "AdaRound, 4 bits": lambda: onnxsim.apply_adaround(wide, start, data),
        "GPTQ, 4 bits": lambda: onnxsim.apply_gptq(wide, start, data),
        "static W8A8": lambda: static,
        "AdaQuant W8A8": lambda: onnxsim.apply_adaquant(wide, static, data),
    }
    print(f"onnxsim {onnxsim.__version__}; layer errors: {_NEURONS} neurons of the first layer")
    reference = scores(wide, X)
    for name, make in made.items():
        started = time.process_time()
        found = make()
        used = time.process_time() - started
        _say(f"onnxsim {name}", found, scores(found, X), reference, y, used)
        if name == "GPTQ, 4 bits":
            _at_its_steps(found, wide, rows, X)
    _layer_ratios(wide, rows)


def _at_its_steps(found: onnx.ModelProto, wide: onnx.ModelProto, rows: Array, X: Array) -> None:
    """K-best at the peer's steps by several dampings, its error over the peer's.

    Of the damped objective, undamped on the calibration rows, and on rows that neither saw. As the
    peer's GPTQ counts (its damping is 1e-2), no mean is taken off.
    """
    W = read_model(wide).layers[0].W[:_NEURONS]
    codes, steps = (part[:_NEURONS] for part in _blocks_of(found, wide))
    plain, unseen = (part.astype(float).T @ part / len(part) for part in (rows, X))
    for damp in (1e-3, 1e-2, 3e-2):
        H = plain + damp * np.diag(plain).mean() * np.eye(len(plain))
        started = time.process_time()
        ours = _kbest_at_steps(H, W, steps) * steps - W
        used = time.process_time() - started
        ratios = [
            float(errors(G, ours).sum() / errors(G, codes * steps - W).sum())
            for G in (H, plain, unseen)
        ]
        print(
            f"    K-best's error over its GPTQ's, damping {damp:g}: objective {ratios[0]:.2f}, "
            f"undamped {ratios[1]:.2f}, rows not seen {ratios[2]:.2f}; {used:.1f} s",
            flush=True,
        )


def _padded(model: onnx.ModelProto) -> onnx.ModelProto:
    layers = read_model(model).layers
    W = [layer.W.astype(np.float32) for layer in layers]
    W[0] = np.pad(W[0], ((0, 0), (0, -W[0].shape[1] % 32)))
    return as_onnx(W, [layer.b.astype(np.float32) for layer in layers])


def _blocks_of(model: onnx.ModelProto, wide: onnx.ModelProto) -> tuple[Array, Array]:
    """Codes and steps (m, d) of the first layer of a model in blocks of 32."""
    W = read_model(wide).layers[0].W
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear":
            arrays = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
            codes, steps = (arrays[name].astype(float) for name in node.input[:2])
            if codes.shape == W.shape:
                return codes, np.repeat(steps, 32, axis=1)
    raise ValueError("the first layer is not quantized")


def _kbest_at_steps(H: Array, W: Array, steps: Array) -> Array:
    """Codes (m, d) from -7 to 7, as the peer's, at steps (m, d)."""
    codes = []
    for w, s in zip(W, steps, strict=True):
        scaled = H * np.outer(s, s)
        order = vblast_order(scaled)
        R = factor_in_order(scaled, order)
        diagonal = np.diag(R).copy()
        q = np.empty(len(w), np.int8)
        q[order] = decoded_alone(R / diagonal[:, None], diagonal**2, (w / s)[order], -7, 7, 64)
        while _one_round(scaled, scaled @ (q - w / s), 1.0, q, -7, 7):
            pass
        codes.append(q.astype(float))
    return np.array(codes)


def _layer_ratios(model: onnx.ModelProto, rows: Array) -> None:
    """The first layer at a step a neuron, damping 1e-3: AdaQuant at its best, GPTQ, K-best.

    K-best's seconds are of the whole layer at beam 64, errors of some neurons: AdaQuant's ten runs
    of up to 5,000 steps take minutes on them all.
    """
    layer = read_model(model).layers[0]
    count = layer.W.shape[1]
    x = run(read_model(model), rows)[layer.source][:, :count]
    made = layer_objective(x, x @ layer.W.T, layer.W, 1e-3)
    started = time.process_time()
    best = kbest(made.H, made.W, 4, 64).weights
    print(f"  first layer, K-best, beam 64: {time.process_time() - started:.1f} s", flush=True)
    some = made.W[:_NEURONS]
    ours = float(errors(made.H, (best - made.W)[:_NEURONS]).sum())
    for name, method in (("gptq", gptq), ("adaquant, best of 5 rates", adaquant_best)):
        started = time.process_time()
        error = float(errors(made.H, method(made.H, some, 4).weights - some).sum())
        used = time.process_time() - started
        print(f"  K-best's error over that of {name}: {ours / error:.2f}, {used:.1f} s", flush=True)


if __name__ == "__main__":
    main()
