"""From a certificate and a network's file to a proven margin; it imports nothing that makes them.

Every input of the region, a set of rows of float64 numbers prepared in float64 as the network's
file says, has at least this margin, with the network evaluated in real arithmetic.
"""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

import numpy as np

from qnn.certificates.robustness.networks import QuadraticNetwork, ReluNetwork, read_network
from qnn.certificates.robustness.quadratic import Leaves, margin_forms
from qnn.certificates.robustness.question import Question
from qnn.certificates.robustness.regions import Region, region_of
from qnn.certificates.robustness.relu_trees import ReluLeaves
from qnn.errors import CertificateError

Array = np.ndarray


class Stated(Protocol):
    """What is read of a `RobustnessCertificate`, which asks this module to prove it."""

    @property
    def question(self) -> Question:
        """What is claimed."""

    @property
    def lower_bound(self) -> float:
        """The margin that is claimed."""

    @property
    def splits(self) -> Array:
        """The trees, in preorder."""

    @property
    def cuts(self) -> Array:
        """Where they split."""

    @property
    def multipliers(self) -> Array:
        """The numbers of their leaves."""


def verify(certificate: Stated, network: Any) -> float:
    """The margin that a certificate states, proven.

    network: its npz file's bytes, or an object whose ``to_bytes()`` gives them.

    Returns
    -------
    ``certificate.lower_bound``. Above 0 the answer is the same in the whole region.

    Raises
    ------
    CertificateError : where it speaks of another network, or anything is not proven.
    """
    data = network if isinstance(network, bytes) else network.to_bytes()
    return proven_margin(certificate, data)


def proven_margin(certificate: Stated, network: bytes, margin: float = 1.0) -> float:
    """What `verify` does; ``margin`` multiplies every allowance for rounding."""
    question, bound = certificate.question, certificate.lower_bound
    if hashlib.sha256(network).hexdigest() != question.network_sha256:
        raise CertificateError("the network is not that of the certificate (SHA-256 differs)")
    if not np.isfinite(bound):
        raise CertificateError(f"it states the bound {bound!r}")
    read = read_network(network)
    region = region_of(question, read.preprocessing, read.d)
    C, offsets = specification(question, scalar(read), read.outputs)
    arrays = certificate.splits, certificate.cuts, certificate.multipliers
    with np.errstate(all="ignore"):
        if isinstance(read, QuadraticNetwork):
            _prove_quadratic(read, region, C, offsets, arrays, bound, margin)
        else:
            _prove_relu(read, region, C, offsets, arrays, bound, margin)
    return bound


def scalar(network: QuadraticNetwork | ReluNetwork) -> bool:
    """Whether a network has one score, whose sign decides between two classes."""
    if isinstance(network, QuadraticNetwork):
        return network.arrays["alpha"].ndim == 1
    return network.outputs == 1


def specification(question: Question, one: bool, outputs: int) -> tuple[Array, Array]:
    """The margins ``C f(x) + offsets``, C (K, outputs), whose least must be positive.

    ``one``: whether the network has one score. Raises CertificateError for a label or a band that
    the network does not have.
    """
    if question.band.shape != (2,):
        raise CertificateError("a band has two ends")
    rows = np.eye(outputs)
    if question.label == -1:
        if not 0 <= question.output < outputs or not question.band[0] <= question.band[1]:
            raise CertificateError("the band is of no output, or empty")
        row, (low, high) = rows[question.output], question.band
        C, offsets = np.array([row, -row]), np.array([-low, high])
        finite = np.isfinite(offsets)
        if not finite.any():
            raise CertificateError("the band has no end")
        return C[finite], offsets[finite]
    if not np.isnan(question.band).all():
        raise CertificateError("there is a label and a band")
    if not 0 <= question.label < (2 if one else outputs):
        raise CertificateError(f"the network has no class {question.label}")
    if one:
        return np.array([[1.0 if question.label else -1.0]]), np.zeros(1)
    others = np.delete(np.arange(outputs), question.label)
    if not len(others):
        raise CertificateError("the network has one class")
    return rows[question.label] - rows[others], np.zeros(len(others))


def _prove_quadratic(
    network: QuadraticNetwork,
    region: Region,
    C: Array,
    offsets: Array,
    arrays: tuple[Array, Array, Array],
    bound: float,
    margin: float,
) -> None:
    leaves = Leaves(region, *arrays)
    for form in margin_forms(network.arrays, network.divisor, C, offsets):
        for cell in range(len(region.low)):
            leaves.prove(form, cell, bound, margin)
    leaves.finished()


def _prove_relu(
    network: ReluNetwork,
    region: Region,
    C: Array,
    offsets: Array,
    arrays: tuple[Array, Array, Array],
    bound: float,
    margin: float,
) -> None:
    leaves = ReluLeaves(network.layers, region, *arrays)
    for row, offset in zip(C, offsets, strict=True):
        leaves.prove(row, float(offset), bound, margin)
    leaves.finished()
