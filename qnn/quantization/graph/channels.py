"""Channels between layers: whose order may change, and those that never answer, left out.

A neuron whose activation is 0 on every calibration row adds nothing to any layer after it, so it
can be given no bits at all: its row goes, and the columns that read it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from qnn.quantization.graph.reading import Graph, Layer, Node, inputs_of

Array = np.ndarray

# Nodes that treat every channel by itself and alike: the order of channels passes through them.
_ALIKE = ("Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "Identity", "Dropout")
_POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool")


def readers_of(graph: Graph, layer: Layer) -> list[Layer] | None:
    """The layers that read this one's channels through nodes alike; None: something else does."""
    found: list[Layer] = []
    pending = [layer.target]
    ends = {value.name for value in graph.model.graph.output}
    while pending:
        name = pending.pop()
        if name in ends:
            return None
        for step in graph.users(name):
            if isinstance(step, Layer):
                if step.groups != 1 or (step.kind == "matmul" and layer.kind == "conv"):
                    return None
                found.append(step)
            elif _alike(step, layer):
                pending.append(step.outputs[0])
            else:
                return None
    return found


def _alike(node: Node, layer: Layer) -> bool:
    """Whether the order of the layer's channels passes through the node to its one output."""
    if node.op in _ALIKE or (layer.kind == "conv" and node.op in _POOLS):
        return len(node.outputs) == 1 and len(inputs_of(node)) >= 1
    return layer.kind == "conv" and node.op == "Flatten" and node.attributes.get("axis", 1) == 1


def leave_out_silent(graph: Graph, values: Mapping[str, Array]) -> dict[str, int]:
    """Take the channels out that are 0 on all rows where layers read them; how many, by layer.

    values: tensors of a pass by name. The graph's layers change in place, at least one channel of
    each stays. A layer that anything but layers reads is left whole, as is one in groups.
    """
    gone: dict[str, int] = {}
    for layer in graph.layers:
        readers = readers_of(graph, layer)
        if not readers or layer.groups != 1:
            continue
        speaks = np.any([_speaking(layer, values[r.source]) for r in readers], axis=0)
        speaks[0] |= not speaks.any()
        if speaks.all():
            continue
        gone[layer.name] = int((~speaks).sum())
        layer.W, layer.b = layer.W[speaks], layer.b[speaks]
        layer.shape = (len(layer.W), *layer.shape[1:])
        for reader in readers:
            _drop_columns(reader, speaks)
    return gone


def _speaking(layer: Layer, x: Array) -> Array:
    """By channel (m,) of the layer, whether a tensor of them is anywhere other than 0."""
    m = len(layer.W)
    by_channel = x.reshape(len(x), m, -1) if layer.kind == "conv" else x.reshape(-1, m, 1)
    found: Array = (by_channel != 0.0).any(axis=(0, 2))
    return found


def _drop_columns(reader: Layer, kept: Array) -> None:
    """The reader without the columns of channels that are not kept (m,)."""
    rows, each = len(reader.W), reader.W.shape[1] // len(kept)
    reader.W = reader.W.reshape(rows, len(kept), each)[:, kept].reshape(rows, -1)
    inputs = reader.shape[1] // len(kept) * int(kept.sum())
    reader.shape = (rows, inputs, *reader.shape[2:])
