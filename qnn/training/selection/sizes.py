"""Which widths keep a network within so many bytes, its encoding's numbers included."""

from __future__ import annotations

from typing import NoReturn

from qnn.errors import InputError
from qnn.features.preprocessing import Preprocessing
from qnn.networks.activations import Activation, get_activation
from qnn.networks.alphabets import get_alphabet
from qnn.networks.packing import most_bytes


def whole_bytes(
    width: int,
    preprocessing: Preprocessing,
    activation: str | Activation,
    alphabet: str | int,
    second_layer: str | int,
) -> int:
    """The most that predicts from raw numbers with at most `width` neurons an output, in bytes.

    Packed weights, second layer, and the numbers of the preprocessing as they are stored; names of
    columns, categories and classes are not counted.
    """
    target = preprocessing.target
    vectors = 2 if get_activation(activation).coefficients is None else 1
    bits = vectors * preprocessing.layout.d * get_alphabet(alphabet).bits
    outputs = target.shape[0] if target.shape else 1
    network = most_bytes(width, outputs, bits, str(second_layer), target.pairs)
    return network + preprocessing.bytes_of_numbers


def widest_within(
    max_bytes: int,
    most: int,
    preprocessing: Preprocessing,
    activation: str | Activation,
    alphabet: str | int,
    second_layer: str | int,
) -> int:
    """The largest width, of at most `most`, with which every network fits; 0 where none does."""
    kind = (preprocessing, activation, alphabet, second_layer)
    fits, over = 0, most + 1
    while over - fits > 1:
        middle = (fits + over) // 2
        if whole_bytes(middle, *kind) <= max_bytes:
            fits = middle
        else:
            over = middle
    return fits


def refuse_small(max_bytes: int, least: int, width: int) -> NoReturn:
    """Raise InputError for fewer bytes than the smallest network of so many neurons takes."""
    neurons = "one neuron" if width == 1 else f"{width} neurons"
    raise InputError(
        f"max_bytes is {max_bytes}, but the smallest network, of {neurons} an output, may take "
        f"{least} bytes with the numbers of its encoding: allow at least those"
    )
