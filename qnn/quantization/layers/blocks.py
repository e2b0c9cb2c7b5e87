"""One block of neurons that share their inputs: a dense layer, or one group of a convolution.

It is the unit of work that can be done by itself, somewhere else: rows in, codes and proofs out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from qnn.certificates.layers import LayerCertificate
from qnn.quantization.layers.certify import Effort, certify_layer
from qnn.quantization.layers.coupling import Coupled
from qnn.quantization.layers.grids import Codes, errors
from qnn.quantization.layers.lattice import descent
from qnn.quantization.layers.methods import codes_of
from qnn.quantization.layers.objective import Objective, choose_damp, layer_objective

Array = np.ndarray

# What finding codes takes of the time, about, where they are proven afterwards; of a wide layer,
# whose bounds share one diagonal, most.
_CODES_SHARE, _CODES_SHARE_WIDE = 0.2, 0.75
# Of that, what choosing the damping takes.
_DAMP_SHARE = 0.2
# Of the rest, what neurons one by one take where they are decided against each other afterwards.
_ALONE_SHARE = 0.4
# The damping where costs of bits are only estimated.
_COST_DAMP = 1e-3


@dataclass(frozen=True, eq=False)
class Block:
    """Inputs X (n, d) of the quantized network, float outputs without bias (n, m), W (m, d).

    row_weights: (n, m) or None where all rows count alike. ``still``: inputs that never vary are
    allowed, as one group of a convolution may have them: its codes are the nearest to W.
    gradients: (c, n, m), with them neurons are decided against each other's errors (`coupling`).
    """

    name: str
    X: Array
    outputs: Array
    W: Array
    row_weights: Array | None = None
    still: bool = False
    gradients: Array | None = None


@dataclass(frozen=True)
class Settings:
    """How a block is quantized: method, beam, damping ("auto" or a number), its held-out share."""

    method: str = "kbest"
    beam: int = 64
    damp: float | str = "auto"
    holdout: float = 0.25
    effort: Effort = field(default_factory=Effort)
    seed: int = 0


@dataclass(frozen=True, eq=False)
class QuantizedBlock:
    """Codes and the change of biases (m,); sums of damped errors and of ``w'Hw``, and undamped."""

    codes: Codes
    bias: Array
    certificate: LayerCertificate | None
    damp: float
    rows: int
    error: float
    size: float
    plain_error: float
    plain_size: float


def layer_costs(block: Block, options: Array) -> Array:
    """Damped errors (m, K) of the neurons at each of K widths, by GPTQ and descent, on all rows."""
    parts = []
    for objective in _objectives(block, _COST_DAMP):
        columns = []
        for bits in options:
            codes = descent(objective.H, objective.W, int(bits))
            columns.append(errors(objective.H, codes.weights - objective.W))
        parts.append(np.stack(columns, axis=1))
    return np.concatenate(parts)


def quantize_block(
    block: Block,
    bits: Array,
    settings: Settings,
    progress: Callable[[float], None] = lambda share: None,
) -> QuantizedBlock:
    """Codes of bits (m,), biases and the certificate; InputError where H is singular.

    progress is told the share that is done, from 0 to 1.
    """
    proven, wide = settings.effort.level != "none", block.X.shape[1] > settings.effort.newton_inputs
    found = (_CODES_SHARE_WIDE if wide else _CODES_SHARE) if proven else 1.0
    damp = _damp(block, bits, settings, lambda share: progress(_DAMP_SHARE * found * share))
    objectives = _objectives(block, damp)
    parts: list[Codes] = []
    alone = 1.0 if block.gradients is None else _ALONE_SHARE

    def told(done: float) -> None:
        progress(found * (_DAMP_SHARE + (1.0 - _DAMP_SHARE) * done))

    def say(share: float) -> None:
        told(alone * (len(parts) + share) / len(objectives))

    for o, b in zip(objectives, _split(bits, objectives), strict=True):
        parts.append(codes_of(settings.method, o.H, o.W, b, settings.beam, say))
    codes = Codes(np.concatenate([p.s for p in parts]), np.concatenate([p.q for p in parts]))
    targets = np.concatenate([o.W for o in objectives])
    if block.gradients is not None:
        given = (block.X, block.outputs, block.gradients, objectives, codes, bits)
        coupled = Coupled(*given)
        coupled.improve(lambda share: told(alone + (1.0 - alone) * share))
        targets = np.stack([coupled.target(j) for j in range(len(bits))])
    rho = np.concatenate([np.full(len(o.W), o.rho) for o in objectives])
    certificate = None
    if proven:
        certificate, codes = certify_layer(
            block.name,
            block.X,
            targets,
            rho,
            codes,
            bits,
            settings.effort,
            block.row_weights,
            lambda share: progress(found + (1.0 - found) * share),
        )
    return _finished(block, objectives, targets, codes, certificate, damp)


def _damp(
    block: Block, bits: Array, settings: Settings, progress: Callable[[float], None]
) -> float:
    if settings.damp != "auto":
        return float(settings.damp)
    width = int(np.rint(np.median(bits)))
    given = (block.X, block.outputs, block.W, width, settings.holdout, settings.seed)
    return choose_damp(*given, progress, block.still)


def _objectives(block: Block, damp: float) -> list[Objective]:
    """One for all neurons, or one a neuron where rows count differently."""
    if block.row_weights is None:
        return [layer_objective(block.X, block.outputs, block.W, damp, still=block.still)]
    made = []
    for j in range(len(block.W)):
        one = slice(j, j + 1)
        weights = block.row_weights[:, j]
        own = (block.X, block.outputs[:, one], block.W[one])
        made.append(layer_objective(*own, damp, weights, block.still))
    return made


def _split(bits: Array, objectives: list[Objective]) -> list[Array]:
    return list(np.split(bits, np.cumsum([len(o.W) for o in objectives])[:-1]))


def _finished(
    block: Block,
    objectives: list[Objective],
    targets: Array,
    codes: Codes,
    certificate: LayerCertificate | None,
    damp: float,
) -> QuantizedBlock:
    bias, error, size, start = [], 0.0, 0.0, 0
    for objective in objectives:
        rows = slice(start, start + len(objective.W))
        own = Codes(codes.s[rows], codes.q[rows])
        bias.append(objective.biases(own))
        error += float(errors(objective.H, own.weights - targets[rows]).sum())
        size += float(errors(objective.H, objective.W).sum())
        start += len(objective.W)
    biases = np.concatenate(bias)
    wrong = block.X @ codes.weights.T + biases - block.outputs
    spread = block.outputs - block.outputs.mean(axis=0)
    return QuantizedBlock(
        codes,
        biases,
        certificate,
        damp,
        len(block.X),
        error,
        size,
        float((wrong**2).mean(axis=0).sum()),
        max(float((spread**2).mean(axis=0).sum()), np.finfo(float).tiny),
    )
