"""A trained network and unlabelled rows in; a quantized network with its proofs out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from qnn.certificates.layers import LayerCertificate
from qnn.certificates.layers.allocation import Parts
from qnn.errors import InputError
from qnn.quantization.allocation import Allocation, allocate
from qnn.quantization.graph.channels import leave_out_silent
from qnn.quantization.graph.execution import (
    ActivationGrid,
    Weights,
    activation_grid,
    layer_rows,
    logits_of,
    quantized_input,
    run,
)
from qnn.quantization.graph.export import QuantizedLayer, export, mixing_bits, stored_bits
from qnn.quantization.graph.operators import known
from qnn.quantization.graph.reading import Graph, Layer, Node, read_model
from qnn.quantization.layers.blocks import (
    Block,
    QuantizedBlock,
    Settings,
    layer_costs,
    quantize_block,
)
from qnn.quantization.layers.certify import Effort
from qnn.quantization.layers.coupling import fisher_weights
from qnn.quantization.layers.grids import Codes
from qnn.quantization.options import Options, checked, checked_rows
from qnn.quantization.result import LayerReport, Quantized
from qnn.quantization.sensitivity import sensitivities
from qnn.quantization.tuning import divergence, match_statistics, tune_biases

if TYPE_CHECKING:
    import onnx

Array = np.ndarray

# Positions of a convolution that are looked at: rows of one image say much the same.
_MOST_ROWS = 8192
# Weights by neuron mean a matrix H by neuron: "auto" asks for it up to this many inputs.
_FISHER_INPUTS = 256


def quantize(
    model: str | os.PathLike[str] | bytes | onnx.ModelProto,
    rows: Array,
    budget: float = 3.0,
    bits: Sequence[int] = (2, 3, 4, 8),
    method: str = "kbest",
    certify: str = "scale",
    progress: Callable[[str, float], None] | None = None,
    **more: Any,
) -> Quantized:
    """Quantize a trained network after training, within a budget, with proofs.

    Parameters
    ----------
    model : a float ONNX network with one input, as a path, bytes or ModelProto.
    rows : unlabelled inputs (n, ...) of the network's shape; no label reaches this function.
    budget : mean stored bits a weight, over all layers; 3-bit codes take 4 in an ONNX file.
    bits : the widths that a neuron may get, of 2 to 8; with 0 beside them neurons that are 0 on all
        rows are left out of the file.
    method : "rtn_range", "rtn", "gptq", "descent", "adaquant" or "kbest".
    certify : "none"; "bound": the SDP's bound at a neuron's step; "scale": first the exact optimum
        at the step where it can be found; "joint": first that over all steps.
    progress : called with what is done and the share of it, 0 to 1.
    more : activation_bits (8 or 4); group "neuron" or "layer"; weighting "none", "fisher" (a row
        counts for a neuron by its effect there), "coupled" (dense layers' neurons are also decided
        against each other's errors, by K-best) or "auto" (that up to 256 inputs); damp "auto"
        (chosen on the ``holdout`` share of the rows) or a number; tune "bias", "statistics",
        "both" or "none"; beam; most_nodes of a search; seed.

    Raises
    ------
    InputError : a model, rows, option or budget that nothing can be made of; one line each.
    """
    options = checked(Options(float(budget), tuple(bits), method, certify, **more))
    graph = read_model(model)
    X = checked_rows(graph, rows)
    return _Calibration(graph, X, options, progress or (lambda what, share: None)).result()


class _Calibration:
    """One run: what the float network gives, then layer by layer the quantized one."""

    def __init__(
        self, graph: Graph, X: Array, options: Options, progress: Callable[[str, float], None]
    ) -> None:
        self.graph, self.X, self.options, self.progress = graph, X, options, progress
        self.weights_given = sum(layer.W.size for layer in graph.layers)
        progress("the float network's tensors", 0.0)
        self.values = _run_first(graph, X)
        silent = leave_out_silent(graph, self.values) if 0 in options.bits else {}
        if silent:
            self.values = _run_first(graph, X)
        self.reference = self.values[logits_of(graph)]
        if not np.isfinite(self.reference).all():
            raise InputError("the network gives NaN or infinity on the calibration rows")
        self.grids = {
            layer.source: activation_grid(self.values[layer.source], options.activation_bits)
            for layer in graph.layers
        }
        progress("sensitivities of the layers", 0.02)
        given = (graph, self.values, self.reference, options.seed, self._coupled())
        self.fisher, self.gradients = sensitivities(*given)
        self.notes = [
            *(f"layer {name}: {n} neurons left out, 0 on all rows" for name, n in silent.items()),
            *_notes(graph, self.fisher),
        ]
        self.settings = Settings(
            options.method,
            options.beam,
            options.damp,
            options.holdout,
            Effort(options.certify, options.most_nodes),
            options.seed,
        )
        self.weights: dict[str, Weights] = {}
        self.passed: dict[str, Array] = {}
        self.made: dict[str, QuantizedLayer] = {}
        self.certificates: dict[str, LayerCertificate] = {}
        self.rows: dict[str, tuple[Array, Array | None]] = {}
        self.reports: list[LayerReport] = []

    def result(self) -> Quantized:
        """Allocate, quantize in order, tune, export."""
        allocation = self._allocate()
        widths = self._widths(allocation)
        sizes = [layer.W.size for layer in self.graph.layers]
        # Large layers take longer.
        begins = 0.1 + 0.8 * np.cumsum([0, *sizes]) / sum(sizes)
        for layer, begin, end in zip(self.graph.layers, begins, begins[1:], strict=False):
            self._quantize(layer, widths[layer.name], float(begin), float(end))
        self.passed = {}
        untuned = self._divergence()
        self.progress("tuning", 0.9)
        self._tune()
        model = export(self.graph, self.made, self.grids)
        self.progress("done", 1.0)
        return Quantized(
            model,
            allocation,
            self.certificates,
            self.rows,
            self.reports,
            self.options,
            self._divergence(),
            untuned,
            self.graph.bytes,
            self.notes,
            self.graph,
            self.made,
            self.grids,
        )

    def _allocate(self) -> Allocation:
        options = np.array(sorted(set(self.options.bits) - {0}))
        costs, sizes = [], []
        for k, layer in enumerate(self.graph.layers):
            self.progress(f"costs of {layer.name}", 0.03 + 0.07 * k / len(self.graph.layers))
            costs.append(self._costs(layer, options))
            sizes.append(np.outer(np.full(len(layer.W), layer.W.shape[1]), stored_bits(options)))
        parts = None
        if self.options.group == "layer":
            costs = [c.sum(axis=0, keepdims=True) for c in costs]
            sizes = [s.sum(axis=0, keepdims=True) for s in sizes]
        else:
            kinds = np.unique(stored_bits(options), return_inverse=True)[1]
            of = np.repeat(np.arange(len(costs)), [len(c) for c in costs])
            parts = Parts(of, kinds, mixing_bits(self.graph))
        return allocate(
            np.concatenate(costs),
            np.concatenate(sizes).astype(np.float64),
            options,
            self.options.budget * self.weights_given,
            parts,
        )

    def _costs(self, layer: Layer, options: Array) -> Array:
        """Half of Fisher's diagonal times the squared error (m, K), summed over an output's places.

        Rows count as they do when the codes are found; errors at different places as independent.
        """
        weight = self.fisher.get(layer.name)
        sensitivity = np.ones(len(layer.W)) if weight is None else weight.mean(axis=0)
        with _named(layer.name):
            blocks = self._blocks(layer, False)
            errors = np.concatenate([layer_costs(block, options) for block in blocks])
        places = layer_rows(layer, self.values[layer.source]).shape[1] / len(self.X)
        return np.asarray(0.5 * places * sensitivity[:, None] * errors)

    def _widths(self, allocation: Allocation) -> dict[str, Array]:
        layers = self.graph.layers
        if self.options.group == "layer":
            pairs = zip(layers, allocation.bits, strict=True)
            return {layer.name: np.full(len(layer.W), b) for layer, b in pairs}
        ends = np.cumsum([len(layer.W) for layer in layers])[:-1]
        split = np.split(allocation.bits, ends)
        return {layer.name: bits for layer, bits in zip(layers, split, strict=True)}

    def _blocks(self, layer: Layer, quantized: bool) -> list[Block]:
        """The groups of a layer: rows of inputs, float and quantized, outputs, weights of rows."""
        floats = layer_rows(layer, self.values[layer.source])
        inputs = floats
        if quantized:
            # Up to here every layer has its codes: the pass goes on from where it was.
            run(self.graph, self.X, self.weights, self.grids, layer.source, self.passed)
            inputs = layer_rows(layer, quantized_input(self.passed, layer.source, self.grids))
        keep = self._kept(floats.shape[1])
        each = len(layer.W) // layer.groups
        fisher = self._row_weights(layer)
        blocks = []
        for g in range(layer.groups):
            own = slice(g * each, (g + 1) * each)
            name = layer.name if layer.groups == 1 else f"{layer.name}.{g}"
            outputs = floats[g][keep] @ layer.W[own].T
            weights = None if fisher is None else fisher[keep, own]
            gradients = self.gradients.get(layer.name) if weights is not None else None
            given = (name, inputs[g][keep], outputs, layer.W[own], weights, layer.groups > 1)
            blocks.append(Block(*given, None if gradients is None else gradients[:, keep]))
        return blocks

    def _kept(self, n: int) -> Array:
        if n <= _MOST_ROWS:
            return np.arange(n)
        rng = np.random.default_rng(self.options.seed)
        return np.sort(rng.choice(n, _MOST_ROWS, replace=False))

    def _row_weights(self, layer: Layer) -> Array | None:
        """Fisher's weights (rows, m), a tenth of their mean added; None where not asked for."""
        weight = self.fisher.get(layer.name)
        wanted = self.options.weighting in ("coupled", "fisher") or (
            self.options.weighting == "auto" and _small(layer) and layer.groups == 1
        )
        if weight is None or not wanted or not weight.any():
            return None
        return fisher_weights(weight)

    def _coupled(self) -> list[str]:
        """Names of the layers whose neurons are decided against each other's errors."""
        weighting = self.options.weighting
        if self.options.method != "kbest" or weighting not in ("auto", "coupled"):
            return []
        dense = [one for one in self.graph.layers if one.kind != "conv"]
        return [one.name for one in dense if weighting == "coupled" or _small(one)]

    def _quantize(self, layer: Layer, bits: Array, begin: float, end: float) -> None:
        each = len(layer.W) // layer.groups
        parts: list[QuantizedBlock] = []

        def say(share: float) -> None:
            done = (len(parts) + share) / layer.groups
            self.progress(f"layer {layer.name}", begin + (end - begin) * done)

        say(0.0)
        for g, block in enumerate(self._blocks(layer, True)):
            own = bits[g * each : (g + 1) * each]
            with _named(block.name):
                part = quantize_block(block, own, self.settings, say)
            parts.append(part)
            if part.certificate is not None:
                self.certificates[block.name] = part.certificate
                self.rows[block.name] = (block.X, block.row_weights)
        codes = Codes(
            np.concatenate([p.codes.s for p in parts]), np.concatenate([p.codes.q for p in parts])
        )
        bias = layer.b + np.concatenate([p.bias for p in parts])
        self.made[layer.name] = QuantizedLayer(codes, bias, bits)
        self.weights[layer.name] = self.made[layer.name].weights
        self._say(layer, parts, bits)

    def _say(self, layer: Layer, parts: list[Any], bits: Array) -> None:
        rows, d = parts[0].rows, layer.W.shape[1]
        if rows < 2 * d:
            self.notes.append(
                f"layer {layer.name} has {d} inputs and only {rows} calibration rows: fewer than "
                f"{2 * d} let its codes fit the rows' noise"
            )
        size = max(sum(p.size for p in parts), np.finfo(float).tiny)
        certified = [p.certificate for p in parts if p.certificate is not None]
        counts: dict[str, int] = {}
        for certificate in certified:
            for state, number in certificate.counts().items():
                counts[state] = counts.get(state, 0) + number
        error = sum(p.error for p in parts)
        bound = sum(float(c.bound.sum()) for c in certified) if certified else None
        self.reports.append(
            LayerReport(
                layer.name,
                d,
                len(layer.W),
                rows,
                float(bits.mean()),
                int(np.ceil(d * stored_bits(bits).sum() / 8)),
                parts[0].damp,
                error / size,
                sum(p.plain_error for p in parts) / sum(p.plain_size for p in parts),
                None if bound is None else bound / size,
                counts,
            )
        )

    def _tune(self) -> None:
        if self.options.tune in ("statistics", "both"):
            self.weights, factors = match_statistics(self.graph, self.X, self.weights, self.grids)
            for name, factor in factors.items():
                old = self.made[name]
                s = (old.codes.s * factor).astype(np.float32).astype(np.float64)
                codes = Codes(s, old.codes.q)
                self.made[name] = QuantizedLayer(codes, self.weights[name][1], old.bits)
        if self.options.tune in ("bias", "both"):
            pairs = {name: layer.weights for name, layer in self.made.items()}
            tuned = tune_biases(self.graph, self.X, self.reference, pairs, self.grids)
            for name, (_, b) in tuned.items():
                self.made[name] = QuantizedLayer(self.made[name].codes, b, self.made[name].bits)
        for layer in self.graph.layers:
            made = self.made[layer.name]
            b = _rounded_bias(made, self.grids[layer.source])
            self.made[layer.name] = QuantizedLayer(made.codes, b, made.bits)
            self.weights[layer.name] = self.made[layer.name].weights

    def _divergence(self) -> float:
        values = run(self.graph, self.X, self.weights, self.grids)
        return divergence(self.reference, values[logits_of(self.graph)])


def _small(layer: Layer) -> bool:
    return layer.W.shape[1] <= _FISHER_INPUTS


@contextmanager
def _named(layer: str) -> Iterator[None]:
    """InputError from within gets the layer's name in front."""
    try:
        yield
    except InputError as error:
        raise InputError(f"layer {layer}: {error}") from None


def _run_first(graph: Graph, X: Array) -> dict[str, Array]:
    """The float network's tensors; InputError where its nodes do not take such rows."""
    try:
        return run(graph, X)
    except (ValueError, IndexError, TypeError, KeyError, RuntimeError, ArithmeticError) as error:
        text = " ".join(str(error).split())[:120]
        raise InputError(
            f"the network cannot be run on rows of the shape {X.shape[1:]} ({text}): give rows of "
            "the shape that it was trained on, or export it again with simpler nodes"
        ) from None


def _rounded_bias(made: QuantizedLayer, grid: ActivationGrid) -> Array:
    """The biases at multiples of the input's step times the weights', as onnxruntime rounds."""
    unit = np.float32(grid.step) * made.codes.s.astype(np.float32)
    unit = np.maximum(unit, np.finfo(np.float32).tiny)
    counts = np.rint(made.bias.astype(np.float32) / unit)
    return (counts * unit).astype(np.float64)


def _notes(graph: Graph, fisher: dict[str, Array]) -> list[str]:
    notes = []
    nodes = [s for s in graph.steps if isinstance(s, Node) and s.outputs[0] not in graph.idle]
    odd = sorted({s.op for s in nodes if not known(s)})
    left = [s.proto.name or s.outputs[0] for s in nodes if s.op in ("Gemm", "MatMul", "Conv")]
    if odd:
        notes.append(f"passed through in float, without a derivative: {', '.join(odd)}")
    if left:
        notes.append(
            f"left in float: {', '.join(left)} (quantized are products of an input, not "
            "transposed, with constant 32-bit weights, and convolutions of images with known pads)"
        )
    blind = [layer.name for layer in graph.layers if layer.name not in fisher]
    if blind:
        notes.append(
            f"no gradient reaches {', '.join(blind)}: its rows count alike and its biases stay"
        )
    return notes
