"""What a quantization came to, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qnn.quantization.calibration import LayerReport, Quantized

_HEAD = (
    f"{'layer':20} {'inputs':>6} {'neurons':>7} {'bits':>5} {'damp':>7} {'error %':>9} "
    f"{'bound %':>9} {'optimal':>8} {'at step':>8} {'bounded':>8}"
)


def report_text(made: Quantized) -> str:
    """The table of layers, sizes, both gaps of the allocation, the divergence, and the notes."""
    a = made.allocation
    unit = "neuron" if made.options.group == "neuron" else "layer"
    lines = [
        _HEAD,
        *[_row(layer) for layer in made.layers],
        "error, bound: of the damped objective of the layer, relative to w'Hw",
        f"bits by {unit}: predicted {a.value:.4g}, HiGHS's bound {a.bound:.4g} "
        f"(gap {a.gap:.1e}, {a.nodes} nodes), Lagrangian bound proven in rationals "
        f"{a.lagrangian:.4g} (gap {a.lagrangian_gap:.1e})",
        f"divergence from the float network on the calibration rows: {made.divergence_untuned:.4g}, "
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
        f"{layer.damp:>7.0e} {100 * layer.error:>9.4f} {bound:>9} {counts}"
    )
