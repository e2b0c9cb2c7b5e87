"""What a second layer takes when it is stored as small as its structure allows."""

import math

import numpy as np

FLOAT_BITS = 64


def packed_second_layer(
    alpha: np.ndarray, second_layer: str, folds: bool, listed: bool = False
) -> tuple[int, int]:
    """The scalars (float64) of alpha (m,) or (m, C), and the bits that stand beside them.

    Several outputs share neurons and each uses few of them: a map of m·C bits says which entries
    are not 0, and only those are stored; where that is larger than every entry, all of them are.
    An output whose entries have one size needs that one scalar. `folds`: the sign of an entry can
    go into the neuron's weights, as `−(xᵀu)(xᵀv) = (xᵀ(−u))(xᵀv)` allows, for one output of the
    neuron; each further output that uses it stores a sign bit. Without that, the sizes must be
    equal sign included. A grid of K bits stores K for each entry and one scalar an output, a common
    scalar a sign for each entry.

    `listed`: instead of the map, each entry that is not 0 has the number of its output, and a bit
    that says whether it is its neuron's last, where that is smaller. Many outputs that share little
    are so, as pairs of classes; rows of results from before there were pairs count the map alone.
    """
    matrix = alpha if alpha.ndim == 2 else alpha[:, None]
    used = matrix != 0.0 if alpha.ndim == 2 else np.ones(matrix.shape, dtype=bool)
    count, outputs = int(used.sum()), int(used.any(axis=0).sum())
    map_bits = 0 if used.all() else used.size
    if listed:
        map_bits = min(map_bits, _list_bits(count, matrix.shape[1]))
    values = np.abs(matrix) if folds else matrix
    if all(_one_size(column[own]) for column, own in zip(values.T, used.T, strict=True)):
        signs = count - int(used.any(axis=1).sum()) if folds else 0
        return outputs, map_bits + signs
    if second_layer == "common":
        return outputs, map_bits + count
    if second_layer == "float":
        sparse = FLOAT_BITS * count + map_bits
        return (count, map_bits) if sparse < FLOAT_BITS * used.size else (used.size, 0)
    bits = int(second_layer)
    return outputs, min(map_bits + bits * count, bits * used.size)


def _list_bits(entries: int, outputs: int) -> int:
    """Of each entry the number of its output, and whether it is its neuron's last."""
    return entries * (1 + (outputs - 1).bit_length())


def _one_size(values: np.ndarray) -> bool:
    return not len(values) or bool((values == values[0]).all())


def most_bytes(
    width: int, outputs: int, weight_bits: float, second_layer: str, listed: bool = False
) -> int:
    """The most that `size_in_bytes` of a network of at most `width` neurons an output can be.

    weight_bits: those of a neuron's first layer. Networks whose outputs share neurons, or that have
    fewer, take no more: every term below grows with both. `listed` as above.
    """
    neurons = width * outputs
    map_bits = neurons * outputs if outputs > 1 else 0
    if listed:
        map_bits = min(map_bits, _list_bits(neurons, outputs))
    own = {"float": 0, "common": 1}[second_layer] if second_layer.isalpha() else int(second_layer)
    scalars = neurons if second_layer == "float" else outputs
    bits = neurons * (weight_bits + own) + map_bits
    return math.ceil(bits / 8) + FLOAT_BITS // 8 * scalars
