"""Several outputs: scalar networks over the same columns as one network with shared neurons."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from qnn.errors import InputError
from qnn.features.tables import shorten
from qnn.networks.alphabets import get_alphabet
from qnn.networks.atoms import Atoms, atoms_of
from qnn.networks.quantized import QuantizedNetwork

# What networks of one stack have in common: the kind of neuron, and the problem but for its target.
SHARED = (
    "d", "activation", "polynomial", "alphabet", "second_layer", "beta", "loss", "loss_parameter",
)  # fmt: skip


def stack(networks: Sequence[QuantizedNetwork]) -> QuantizedNetwork:
    """C networks of one output each as one of C outputs, alpha (m, C): output c is networks[c].

    A neuron that several networks have is stored once. Neurons are the same where they compute the
    same function up to sign, so (u, v), (v, u) and (−u, v), or u and −u where the polynomial is
    even or odd; the sign goes into alpha. They stand in order of appearance, those with alpha 0
    left out. Within one network equal neurons add up, but on a grid (`second_layer` other than
    "float") they stay apart, because their sum would leave it.

    Raises InputError for no networks, for networks with several outputs or with a preprocessing (a
    stack needs one that codes all C targets), and for networks of different kinds or problems.
    """
    _check(networks)
    first = networks[0]
    atoms = _atoms(first)
    place: dict[tuple[bytes, int], int] = {}
    neurons: list[np.ndarray] = []
    entries: list[tuple[int, int, float]] = []
    for output, network in enumerate(networks):
        alphabet = get_alphabet(network.alphabet)
        parts = [network.U] if network.V is None else [network.U, network.V]
        W, s = atoms.canonical(np.stack([alphabet.encode(part) for part in parts]))
        levels, seen = atoms.levels(W), Counter[bytes]()
        for j, key in enumerate(atoms.keys(W)):
            if network.alpha[j] == 0.0:
                continue
            row = place.setdefault((key, seen[key]), len(place))
            if first.second_layer != "float":
                seen[key] += 1
            if row == len(neurons):
                neurons.append(levels[:, :, j])
            entries.append((row, output, s[j] * network.alpha[j]))
    alpha = np.zeros((len(neurons), len(networks)))
    for row, output, value in entries:
        alpha[row, output] += value
    empty = np.zeros((atoms.parts, first.d, 0), dtype=np.int8)
    weights = np.stack(neurons, axis=2) if neurons else empty
    return replace(first, U=weights[0], V=None if first.V is None else weights[1], alpha=alpha)


def unstack(network: QuantizedNetwork) -> tuple[QuantizedNetwork, ...]:
    """The C networks of one output each that `network` is, without preprocessing.

    Each has the neurons that its output uses, those with alpha not 0. A network of one output
    (alpha (m,)) is one.
    """
    parts = []
    for alpha in np.atleast_2d(network.alpha.T):
        used = np.flatnonzero(alpha)
        parts.append(
            replace(
                network,
                U=network.U[:, used],
                V=None if network.V is None else network.V[:, used],
                alpha=alpha[used],
                preprocessing=None,
            )
        )
    return tuple(parts)


def single_output(network: QuantizedNetwork, output: str) -> QuantizedNetwork:
    """One of a network's several outputs as a network of its own, with its preprocessing.

    output: its class or target, or its number from 0 where outputs have no names. It says in the
    target's units what `network` does, or of a class True or False: whether its output is positive.

    Raises InputError for a network of one output, and for an output that it does not have.
    """
    if network.alpha.ndim == 1:
        raise InputError("the network has one output: there is none to choose")
    coding = None if network.preprocessing is None else network.preprocessing.target
    names = [str(name) for name in (() if coding is None else coding.outputs)]
    names = names or [str(number) for number in range(network.alpha.shape[1])]
    if output not in names:
        raise InputError(f"the network has no output {output!r}: choose one of {shorten(names)}")
    index = names.index(output)
    alone = unstack(network)[index]
    if network.preprocessing is None or coding is None:
        return alone
    return replace(alone, preprocessing=replace(network.preprocessing, target=coding.output(index)))


def _check(networks: Sequence[QuantizedNetwork]) -> None:
    if not networks:
        raise InputError("stack needs at least one network")
    for index, network in enumerate(networks):
        if network.alpha.ndim != 1:
            raise InputError(
                f"stack takes networks of one output: number {index} has alpha of shape "
                f"{network.alpha.shape}"
            )
        if network.preprocessing is not None:
            raise InputError(
                f"stack takes networks without preprocessing, but number {index} has one: give the "
                "stack one that codes all targets"
            )
        for name in SHARED:
            own, other = getattr(network, name), getattr(networks[0], name)
            if own != other:
                raise InputError(
                    f"stack takes networks of one kind: number {index} has {name} {own}, number 0 "
                    f"has {other}"
                )


def _atoms(network: QuantizedNetwork) -> Atoms:
    # Which neurons are one depends on no data.
    none, alphabet = np.zeros((0, network.d)), get_alphabet(network.alphabet)
    return atoms_of(none, alphabet, network.nonlinearity)
