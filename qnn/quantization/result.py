"""The result of a quantization: model, allocation, certificates, and figures as text."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qnn.certificates.layers import LayerCertificate, save_rows
from qnn.certificates.layers.record import LAYER_SUFFIX, ROWS_SUFFIX
from qnn.numerics.archive import write_file
from qnn.quantization.allocation import Allocation
from qnn.quantization.graph.execution import ActivationGrid, run
from qnn.quantization.graph.export import QuantizedLayer
from qnn.quantization.graph.reading import Graph
from qnn.quantization.options import Options

if TYPE_CHECKING:
    import onnx

Array = np.ndarray

_HEAD = (
    f"{'layer':20} {'inputs':>6} {'neurons':>7} {'bits':>5} {'bytes':>8} {'damp':>7} "
    f"{'error %':>9} {'bound %':>9} {'optimal':>8} {'at step':>8} {'bounded':>8}"
)


@dataclass(frozen=True, eq=False)
class LayerReport:
    """One layer in figures: errors are relative, over the damped objective, before tuning.

    ``bytes`` are those of its codes in the file.
    """

    name: str
    inputs: int
    neurons: int
    rows: int
    mean_bits: float
    bytes: int
    damp: float
    error: float
    plain_error: float
    bound: float | None
    states: dict[str, int]


@dataclass(frozen=True, eq=False)
class Quantized:
    """The result of `quantize`: the model, its allocation, its certificates, and figures."""

    model: onnx.ModelProto
    allocation: Allocation
    certificates: dict[str, LayerCertificate]
    rows: dict[str, tuple[Array, Array | None]]
    layers: list[LayerReport]
    options: Options
    divergence: float
    divergence_untuned: float
    bytes_before: int
    notes: list[str] = field(default_factory=list)
    graph: Graph | None = None
    quantized: dict[str, QuantizedLayer] = field(default_factory=dict)
    grids: dict[str, ActivationGrid] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """The size of the model's file."""
        return int(self.model.ByteSize())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the ONNX file, under a temporary name first, then renamed."""
        write_file(path, self.model.SerializeToString(deterministic=True))

    def save_certificates(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write each certificate as NAME.layer.npz with its rows as NAME.rows.npz; their paths."""
        root = Path(folder)
        root.mkdir(parents=True, exist_ok=True)
        paths: list[Path] = []
        for name, certificate in self.certificates.items():
            safe = _file_name(name, {path.name.removesuffix(LAYER_SUFFIX) for path in paths})
            save_rows(root / f"{safe}{ROWS_SUFFIX}", *self.rows[name])
            certificate.save(root / f"{safe}{LAYER_SUFFIX}")
            paths.append(root / f"{safe}{LAYER_SUFFIX}")
        return paths

    def simulate(self, rows: Array) -> Array:
        """The quantized network's output on rows, by this package's own arithmetic."""
        assert self.graph is not None
        weights = {name: layer.weights for name, layer in self.quantized.items()}
        return run(self.graph, rows, weights, self.grids)[self.graph.output]

    def report(self) -> str:
        """A table of the layers, the allocation's gaps and the notes, as text."""
        return report_text(self)


def _file_name(layer: str, taken: set[str]) -> str:
    """The layer's name as a file may be called, with a number where another has it already."""
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in layer)
    made, count = safe, 2
    while made in taken:
        made, count = f"{safe}-{count}", count + 1
    return made


def report_text(made: Quantized) -> str:
    """The table of layers, sizes, both gaps of the allocation, the divergence, and the notes."""
    a = made.allocation
    unit = "neuron" if made.options.group == "neuron" else "layer"
    lines = [
        _HEAD,
        *[_row(layer) for layer in made.layers],
        "error, bound: of the damped objective of the layer, relative to w'Hw",
        f"bits by {unit}: predicted {a.value:.4g}, HiGHS's bound {a.bound:.4g} "
        f"(gap {a.gap:.1e}, {a.nodes} nodes), bound proven without it {a.proven:.4g} "
        f"(gap {a.proven_gap:.1e})",
        "divergence from the float network on the calibration rows: "
        f"{made.divergence_untuned:.4g}, "
        f"after tuning {made.divergence:.4g}",
        f"file: {made.bytes:,} bytes of {made.bytes_before:,} "
        f"({made.bytes / made.bytes_before:.1%}); {a.spent / a.budget:.1%} of the budget spent",
        *[f"note: {note}" for note in made.notes],
    ]
    return "\n".join(lines)


def _row(layer: LayerReport) -> str:
    bound = "-" if layer.bound is None else f"{100 * layer.bound:.4f}"
    states = [layer.states.get(name, 0) for name in ("optimal", "optimal_at_scale", "bounded")]
    counts = " ".join(f"{number:>8}" for number in states)
    return (
        f"{layer.name[:20]:20} {layer.inputs:>6} {layer.neurons:>7} {layer.mean_bits:>5.2f} "
        f"{layer.bytes:>8,} {layer.damp:>7.0e} {100 * layer.error:>9.4f} {bound:>9} {counts}"
    )
