"""The room's face: one row and a radius to a verdict, and the largest radius of a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qnn.certificates.robustness.question import Question
from qnn.errors import InputError
from qnn.networks.layered import LayeredNetwork
from qnn.networks.quantized import QuantizedNetwork
from qnn.numerics.arrays import floats_of
from qnn.robustness.quadratic import QuadraticProver
from qnn.robustness.radii import Radius, bisected
from qnn.robustness.relu import ReluProver
from qnn.robustness.result import Limits, Robustness, check_effort
from qnn.robustness.threat import Network, Threat


class Prover:
    """Certifies rows of one network; what rows share (its file, its forms) is computed once."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._own: QuadraticProver | ReluProver
        if isinstance(network, QuantizedNetwork):
            self._own = QuadraticProver(network)
        elif isinstance(network, LayeredNetwork):
            self._own = ReluProver(network)
        else:
            raise InputError(
                "network must be a qnn.QuantizedNetwork, or one that qnn.networks.read_onnx gives"
            )

    def certify(
        self,
        x: Any,
        radius: Any,
        norm: str = "linf",
        label: Any = None,
        effort: str = "exact",
        *,
        unit: str = "raw",
        limits: Any = None,
        choices: Mapping[str, Any] | None = None,
        swaps: int = 1,
        search: Limits | None = None,
    ) -> Robustness:
        """See `certify`."""
        check_effort(effort)
        question = self.question(
            x, radius, norm, label, unit=unit, limits=limits, choices=choices, swaps=swaps
        )
        return self._own.certify(question, effort, search or Limits())

    def question(
        self,
        x: Any,
        radius: Any,
        norm: str = "linf",
        label: Any = None,
        *,
        unit: str = "raw",
        limits: Any = None,
        choices: Mapping[str, Any] | None = None,
        swaps: int = 1,
    ) -> Question:
        """What `certify` is asked with these arguments; InputError for what does not fit."""
        threat = Threat(radius, norm, unit, limits, choices, swaps)
        return self._own.rows.question(x, threat, self._label(x, label))

    def largest_radius(
        self,
        x: Any,
        radius: Any = 1.0,
        norm: str = "linf",
        label: Any = None,
        effort: str = "exact",
        *,
        tol: float = 1e-4,
        **threat: Any,
    ) -> Radius:
        """See `largest_radius`."""
        label = self._label(x, label)

        def at(factor: float, means: str = effort) -> Robustness:
            return self.certify(x, _times(radius, factor), norm, label, means, **threat)

        return bisected(at, lambda factor: at(factor, "interval"), tol)

    def _label(self, x: Any, label: Any) -> Any:
        return self._own.rows.predicted(x) if label is None else label


def certify(
    network: Network,
    x: Any,
    radius: Any,
    norm: str = "linf",
    label: Any = None,
    effort: str = "exact",
    **threat: Any,
) -> Robustness:
    """Bound the worst margin of a network around one row, from both sides.

    Parameters
    ----------
    network : a `QuantizedNetwork` of any kind, or a `LayeredNetwork` (`qnn.networks.read_onnx`).
    x : one raw row, as the network's preprocessing takes it: values by column name, or in its
        order; of a network without preprocessing its (d,) inputs.
    radius : how far each number may move, in its own raw unit: one number for all columns, one
        each, or a mapping by column name (others do not move). Missing values stay missing.
    norm : "linf", each number by at most its radius, or "l2", ``sum((delta / radius)^2) <= 1``.
    label : the class that must win, -1 or +1 of a network with one output and no preprocessing, or
        (lowest, highest) of a network that predicts a number; None: what it predicts for x.
    effort : "interval", "crown" (linear bounds; of a quantized network one eigenvalue), "dual" (the
        semidefinite relaxation's dual) or "exact" (branch and bound to a verdict). Of a quantized
        network the l2 ball is always exact.
    unit : "raw", or "scale": radius in standard deviations of standardized columns.
    limits : (lowest, highest) value that columns may have at all, one pair or by name ("linf").
    choices : categories that a column's own may change to, by name (True: any of its categories).
    swaps : how many columns may change their category at once.
    search : `Limits` of the search.

    Returns
    -------
    `Robustness`. A "robust" verdict is proven by its certificate; a "vulnerable" one has a witness
    that the network itself decides otherwise.

    Raises
    ------
    InputError : one line, for what does not fit the network.
    """
    return Prover(network).certify(x, radius, norm, label, effort, **threat)


def largest_radius(
    network: Network,
    x: Any,
    radius: Any = 1.0,
    norm: str = "linf",
    label: Any = None,
    effort: str = "exact",
    *,
    tol: float = 1e-4,
    **threat: Any,
) -> Radius:
    """How far a row may move: the largest factor of ``radius`` with a proof, one with a witness.

    ``radius`` gives the shape (the columns' own units); ``tol``: how close, relative, the two
    factors are to be. The other arguments are those of `certify`.
    """
    return Prover(network).largest_radius(x, radius, norm, label, effort, tol=tol, **threat)


def _times(radius: Any, factor: float) -> Any:
    if isinstance(radius, Mapping):
        return {name: factor * floats_of(value, "radius") for name, value in radius.items()}
    return factor * floats_of(radius, "radius")
