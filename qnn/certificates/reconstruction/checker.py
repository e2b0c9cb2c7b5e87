"""From a certificate and a decoder's file to a proven bound; it imports nothing that makes them.

For every latent in the box, of real numbers, the squared distance of the decoder's output to the
target, evaluated in real arithmetic, is at most the bound.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any, Protocol

import numpy as np

from qnn.certificates.reconstruction.distance import distance_system, linear_distance
from qnn.certificates.robustness.forms import prove_at_least
from qnn.certificates.robustness.networks import ReluNetwork, read_network
from qnn.certificates.robustness.question import DUAL, LINEAR, Question
from qnn.certificates.robustness.regions import Region, region_of
from qnn.certificates.robustness.relu import lagrangian, neuron_bounds
from qnn.certificates.robustness.relu_trees import Node, ReluLeaves
from qnn.errors import CertificateError

Array = np.ndarray


class Stated(Protocol):
    """What is read of a `ReconstructionCertificate`, which asks this module to prove it."""

    @property
    def network_sha256(self) -> str:
        """Of the decoder's npz file."""

    @property
    def latents(self) -> Array:
        """The middle of the box (d,)."""

    @property
    def radii(self) -> Array:
        """How far each latent may move (d,)."""

    @property
    def target(self) -> Array:
        """The image (q,)."""

    @property
    def upper_bound(self) -> float:
        """The squared distance that is claimed."""

    @property
    def splits(self) -> Array:
        """The tree, in preorder."""

    @property
    def cuts(self) -> Array:
        """Where it splits."""

    @property
    def multipliers(self) -> Array:
        """The numbers of its leaves."""


def verify(certificate: Stated, network: Any) -> float:
    """The reconstruction loss that a certificate states, proven.

    network: its npz file's bytes, or an object whose ``to_bytes()`` gives them.

    Returns
    -------
    ``certificate.upper_bound``, in squared units of the outputs.

    Raises
    ------
    CertificateError : where it speaks of another network, or anything is not proven.
    """
    data = network if isinstance(network, bytes) else network.to_bytes()
    return proven_loss(certificate, data)


def proven_loss(certificate: Stated, network: bytes, margin: float = 1.0) -> float:
    """What `verify` does; ``margin`` multiplies every allowance for rounding."""
    if hashlib.sha256(network).hexdigest() != certificate.network_sha256:
        raise CertificateError("the network is not that of the certificate (SHA-256 differs)")
    if not np.isfinite(certificate.upper_bound):
        raise CertificateError(f"it states the bound {certificate.upper_bound!r}")
    read = read_network(network)
    if not isinstance(read, ReluNetwork) or read.sparse:
        raise CertificateError("the network is no decoder of dense layers")
    target = certificate.target
    if target.shape != (read.outputs,) or not np.isfinite(target).all():
        raise CertificateError(f"the target is not {read.outputs} finite numbers")
    region = box_region(certificate.latents, certificate.radii, read.d)
    arrays = certificate.splits, certificate.cuts, certificate.multipliers
    with np.errstate(all="ignore"):
        leaves = DistanceLeaves(read.layers, region, *arrays)
        leaves.prove_distance(target, certificate.upper_bound, margin)
        leaves.finished()
    return certificate.upper_bound


def box_region(latents: Array, radii: Array, d: int) -> Region:
    """The latents that a decoder of d may see; CertificateError where the box does not fit it."""
    free = np.full(np.shape(latents), np.inf)
    none = np.full(2, np.nan)
    question = Question("", "linf", latents, radii, -free, free, (), (), 0, -1, none)
    return region_of(question, "", d)


class DistanceLeaves(ReluLeaves):
    """Reads the tree of a certificate and proves its leaves by the bound of the distance."""

    def prove_distance(self, target: Array, bound: float, margin: float) -> None:
        """Read the tree and prove that the distance to the target is at most ``bound``."""
        self._covered(lambda node, kind: self._distance(node, kind, (target, bound, margin)))

    def _distance(self, node: Node, kind: int, claim: tuple[Array, float, float]) -> None:
        target, bound, margin = claim
        if kind not in (DUAL, LINEAR):
            raise CertificateError("a leaf is of no known kind")
        hidden = self.layers[:-1]
        bounds = self._bounds(node, lambda: neuron_bounds(hidden, node.box, node.signs), False)
        if bounds is None:
            return
        if kind == LINEAR:
            found, error = linear_distance(self.layers, bounds, node.box, target)
            if not math.nextafter(found + margin * error, math.inf) <= bound:
                raise CertificateError(f"its linear bounds prove {found + margin * error!r} only")
            return
        system = distance_system(self.layers, bounds, node.box, target, node.signs)
        form, kappa = lagrangian(system, self._take(sum(system.lengths)))
        prove_at_least(-bound, form, kappa, 0.0, margin)
