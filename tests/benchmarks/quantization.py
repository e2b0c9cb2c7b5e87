"""Post-training quantization beside its peers: ``python -m tests.benchmarks.quantization``.

Fashion-MNIST at 14x14 from the folder ``--data`` (Debian's dataset-fashion-mnist), else
scikit-learn's digits. One thread; seconds are of processor time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from threadpoolctl import threadpool_limits

from qnn.certificates.layers import verify_layer
from qnn.quantization import Quantized, quantize
from qnn.quantization.graph.channels import leave_out_silent
from qnn.quantization.graph.execution import run
from qnn.quantization.graph.reading import read_model
from qnn.quantization.layers.adaquant import adaquant_best
from qnn.quantization.layers.certify import Effort, certify_layer
from qnn.quantization.layers.grids import errors
from qnn.quantization.layers.methods import METHODS, codes_of
from qnn.quantization.layers.objective import layer_objective
from qnn.quantization.tuning import divergence
from tests.benchmarks.fashion import FASHION, as_onnx, images, trained
from tests.benchmarks.measure import machine, recent_peak_bytes, restart_peak

Array = np.ndarray
SECTIONS = ("layers", "networks", "allocation", "proofs")
BUDGETS = (2.25, 2.5, 3.0, 4.0)
BITS = (2, 4, 8)
# Of bits by neuron: the widths, and whether in no more bytes than by layer.
Arms = dict[str, tuple[tuple[int, ...], bool]]
PLAIN: Arms = {"neuron, no more bytes": (BITS, True)}
ARMS: Arms = {
    "neuron": (BITS, False),
    **PLAIN,
    "neuron with 0, no more bytes": ((0, *BITS), True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=FASHION)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--bits", type=int, nargs="+", default=(2, 3, 4), help="of the proofs")
    parser.add_argument("--neurons", type=int, default=6, help="of a layer that are proven")
    arguments = parser.parse_args()
    print(machine(), "- one thread", flush=True)
    with threadpool_limits(1):
        X, y, Xt, yt = images(arguments.data)
        model = trained(X, y, (X.shape[1], 64, 32, 10))
        rows = X[np.random.default_rng(1).permutation(len(X))[: arguments.rows]]
        if "layers" in arguments.sections:
            layer_errors(model, rows)
        if "networks" in arguments.sections:
            networks(model, rows, Xt, yt)
        if "allocation" in arguments.sections:
            print("bits by layer and by neuron, 0 leaves silent neurons out; K-best, bits 2, 4, 8")
            allocations(model, rows, Xt, yt, ARMS)
            allocations(without_silent(model, rows), rows, Xt, yt, PLAIN)
        if "proofs" in arguments.sections:
            proofs(model, rows, arguments.bits, arguments.neurons)


def layer_errors(model: onnx.ModelProto, rows: Array) -> None:
    """Each layer's damped error (1e-3) by method, as a ratio to K-best's, on the same H."""
    print("layer errors over K-best's (geometric mean over layers), damping 1e-3, float inputs")
    graph = read_model(model)
    values = run(graph, rows)
    methods = {**METHODS, "adaquant at its best of 5 rates, 2 lengths": adaquant_best}
    for bits in (2, 3, 4):
        ratios: dict[str, list[float]] = {name: [] for name in methods}
        seconds = dict.fromkeys(methods, 0.0)
        for layer in graph.layers:
            x = values[layer.source]
            made = layer_objective(x, x @ layer.W.T, layer.W, 1e-3)
            for name, method in methods.items():
                started = time.process_time()
                codes = method(made.H, made.W, bits)
                seconds[name] += time.process_time() - started
                ratios[name].append(float(errors(made.H, codes.weights - made.W).sum()))
        best = np.array(ratios["kbest"])
        for name, found in ratios.items():
            ratio = np.exp(np.log(np.array(found) / best).mean())
            print(f"  {bits} bits {name:45} {ratio:8.3f} {seconds[name]:7.2f} s", flush=True)


def networks(model: onnx.ModelProto, rows: Array, X: Array, y: Array) -> None:
    """Accuracy, divergence from the float network on test rows, bytes, seconds, memory."""
    reference = scores(model.SerializeToString(), X)
    print(f"float: {100 * np.mean(reference.argmax(1) == y):.2f} %, {model.ByteSize():,} bytes")

    def say(name: str, content: bytes, seconds: float, peak: int) -> None:
        z = scores(content, X)
        print(
            f"  {name:42} {100 * np.mean(z.argmax(1) == y):6.2f} % "
            f"KL {divergence(reference, z):.5f} {len(content):7,} bytes "
            f"{seconds:6.1f} s, {peak >> 20} MiB more",
            flush=True,
        )

    settings: list[dict[str, Any]] = [
        {"method": m, "budget": float(b), "bits": (b,), "weighting": w}
        for b in (2, 4, 8)
        for m, w in (("rtn", "none"), ("gptq", "none"), ("adaquant", "none"), ("kbest", "none"))
    ]
    settings += [
        {"budget": float(b), "bits": (b,), "weighting": w}
        for b in (2, 4)
        for w in ("fisher", "coupled")
    ]
    settings += [
        {"budget": b, "bits": (2, 4, 8), "group": g}
        for b in (2.5, 3.0)
        for g in ("layer", "neuron")
    ]
    for setting in settings:
        base, started = restart_peak(), time.process_time()
        made = quantize(model, rows, certify="none", **setting)
        used = time.process_time() - started
        name = " ".join(f"{v}" for v in setting.values())
        say(name, made.model.SerializeToString(), used, recent_peak_bytes() - base)
    for bits in (4, 8):
        base, started = restart_peak(), time.process_time()
        content = by_onnxruntime(model, rows, bits)
        used = time.process_time() - started
        say(f"onnxruntime static, {bits} bits", content, used, recent_peak_bytes() - base)


def allocations(model: onnx.ModelProto, rows: Array, X: Array, y: Array, arms: Arms) -> None:
    """Bits by layer, and the arms beside them: each at that budget or in no more bytes."""
    reference = scores(model.SerializeToString(), X)
    ratios: dict[str, list[float]] = {name: [] for name in arms}
    for budget in BUDGETS:
        layer = _allocated(model, rows, budget, BITS, "layer")
        base = _say_allocated("layer", budget, layer, reference, X, y, None)
        for name, (bits, within) in arms.items():
            made = (
                _within(model, rows, layer, bits)
                if within
                else _allocated(model, rows, budget, bits, "neuron")
            )
            found = _say_allocated(name, budget, made, reference, X, y, base)
            ratios[name].append(found / base)
    for name, own in ratios.items():
        mean = np.exp(np.log(own).mean())
        print(f"  KL by {name} / by layer: geometric mean over budgets {mean:.2f}", flush=True)


def _say_allocated(
    name: str, budget: float, made: Quantized, reference: Array, X: Array, y: Array, base: Any
) -> float:
    z = scores(made.model.SerializeToString(), X)
    found = divergence(reference, z)
    print(
        f"  {budget:g} bits by {name:29} {made.bytes:7,} bytes, KL held out {found:.5f} "
        f"({found / (base or found):.2f}), calibration {made.divergence:.5f}, "
        f"predicted {made.allocation.value:.5f}, {100 * np.mean(z.argmax(1) == y):.2f} %, "
        f"gap {made.allocation.proven_gap:.1e}",
        flush=True,
    )
    return found


def _within(
    model: onnx.ModelProto, rows: Array, layer: Quantized, bits: tuple[int, ...]
) -> Quantized:
    """Bits by neuron at the largest budgets tried whose file has no more bytes than by layer.

    The budget counts what mixing takes in the file, but for names, lengths, and the step and the
    bias of a neuron that is left out.
    """
    weights = sum(one.W.size for one in read_model(model).layers)
    budget = layer.allocation.spent / weights
    made = _allocated(model, rows, budget, bits, "neuron")
    if 0 in bits:
        budget += 8 * (layer.bytes - made.bytes) / weights
        made = _allocated(model, rows, budget, bits, "neuron")
    while made.bytes > layer.bytes and budget > 1.0:
        budget -= 8 * (made.bytes - layer.bytes) / weights
        made = _allocated(model, rows, max(budget, 2.0 * (0 not in bits)), bits, "neuron")
    return made


def _allocated(
    model: onnx.ModelProto, rows: Array, budget: float, bits: tuple[int, ...], group: str
) -> Quantized:
    return quantize(model, rows, budget, bits, certify="none", group=group)


def without_silent(model: onnx.ModelProto, rows: Array) -> onnx.ModelProto:
    """The dense float network without the neurons that are 0 on all rows."""
    graph = read_model(model)
    gone = leave_out_silent(graph, run(graph, rows))
    print(f"without silent neurons in the float network, {gone or 'none'}, before bits by either")
    pairs = [(layer.W.astype(np.float32), layer.b.astype(np.float32)) for layer in graph.layers]
    return as_onnx([W for W, _ in pairs], [b for _, b in pairs])


def scores(content: bytes, X: Array) -> Array:
    output = onnxruntime.InferenceSession(content).run(None, {"x": X})[0]
    return np.asarray(output, dtype=np.float64)


def by_onnxruntime(model: onnx.ModelProto, rows: Array, bits: int) -> bytes:
    """onnxruntime's static quantization, QDQ, per channel, activations of 8 bits."""
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.rows = iter([{"x": rows}])

        def get_next(self) -> Any:
            return next(self.rows, None)

    kind = quantization.QuantType.QInt8 if bits == 8 else quantization.QuantType.QInt4
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.onnx", Path(folder) / "out.onnx"
        onnx.save(model, source)
        quantization.quantize_static(
            source,
            target,
            Reader(),
            per_channel=True,
            weight_type=kind,
            activation_type=quantization.QuantType.QUInt8,
        )
        return target.read_bytes()


def proofs(model: onnx.ModelProto, rows: Array, widths: Sequence[int], most: int) -> None:
    """What is proven of at most so many drawn neurons of each layer, and what that costs.

    Float inputs, damping 1e-2, one H a layer: over all steps up to 32 inputs, at the step up to 64
    (200 million nodes), else by the SDP's diagonal.
    """
    graph = read_model(model)
    values = run(graph, rows)
    print(f"proofs of {most} drawn neurons a layer: state, bound over value, seconds a neuron")
    for bits in widths:
        for layer in graph.layers:
            x, (m, d) = values[layer.source], layer.W.shape
            drawn = np.sort(np.random.default_rng(0).permutation(m)[:most])
            level = "joint" if d <= 32 else "scale" if d <= 64 else "bound"
            made = layer_objective(x, x @ layer.W[drawn].T, layer.W[drawn], 1e-2)
            wide = np.full(len(drawn), bits)
            codes = codes_of("kbest", made.H, made.W, wide, 64)
            rho, ticks = np.full(len(drawn), made.rho), [time.process_time()]

            def tick(share: float, ticks: list[float] = ticks) -> None:
                ticks.append(time.process_time())

            effort = Effort(level, 200_000_000)
            given = (layer.name, x, made.W, rho, codes, wide, effort, None, tick)
            certificate, _ = certify_layer(*given)
            seconds = np.diff(ticks)
            started = time.process_time()
            proof = verify_layer(certificate, x)
            ratio = proof.bound / proof.value
            states = ", ".join(f"{n} {name}" for name, n in certificate.counts().items() if n)
            print(
                f"  {bits} bits {level:5} {layer.name} d={d:3} {len(drawn):2} of {m}: {states}; "
                f"{ratio.min():.3f}..{ratio.max():.3f}; mean {seconds.mean():.2f} s, slowest "
                f"{seconds.max():.1f} s, checked in {time.process_time() - started:.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
