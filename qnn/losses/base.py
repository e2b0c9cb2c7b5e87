"""What a loss must offer: its value, its gradient, and its conjugate with the domain."""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from typing import Any, Self

import numpy as np

from qnn.errors import CertificateError, InputError
from qnn.numerics.weights import check_weights

Array = np.ndarray


class Loss(ABC):
    """A convex loss ``g(yhat) = sum_i w_i l(yhat_i, y_i)``, summed (not averaged) over rows.

    ``nu`` is the dual variable; at an optimum ``nu = -grad g(yhat)``. The dual objective is
    ``-g*(-nu)``, where ``g*`` is the convex conjugate; with weights its terms are those of
    ``w_i l*(nu_i / w_i)``, and its domain is w_i times that of l.
    """

    name: str
    #: its formula, that of ``-g*(-nu)`` and the domain of nu ("" for all), as pages show them
    formula: str
    dual_formula: str
    dual_domain: str = ""
    #: the same three of rows with weights wᵢ, for `formulas`
    weighted_formula: str = ""
    weighted_dual_formula: str = ""
    weighted_dual_domain: str = ""
    #: what the loss's one number is where none is given; None for a loss without one
    parameter: float | None = None
    #: whether the formulas of this very class count each row by `weight`
    takes_weights: bool = False
    #: w (n,), what each row counts for; None where all count 1
    weights: Array | None = None
    #: an upper bound of the second derivative of l, w apart; None where l is not smooth
    curvature: float | None = None
    #: whether l is ``(yhat - y)^2 / 2`` itself, so that sums of rows say all of it
    quadratic: bool = False
    #: whether l is piecewise linear, and so ``-g*(-nu)`` is linear on a box of nu
    piecewise_linear: bool = False
    #: k where ``l(c yhat, c y) = c^k l(yhat, y)``, but for `in_units`; None where there is no such
    #: k: such targets are never rescaled
    degree: int | None = None

    def __init__(self, parameter: float | None = None) -> None:
        if parameter is not None:
            self.parameter = float(parameter)

    @classmethod
    def formulas(cls, weighted: bool) -> tuple[str, str, str]:
        """The loss, ``-g*(-nu)`` and nu's domain as pages show them; `weighted`: with weights wᵢ.

        A class that does not write its own with weights has them said in words.
        """
        own = vars(cls)
        if not weighted:
            return cls.formula, cls.dual_formula, cls.dual_domain
        if "weighted_formula" in own:
            domain = own.get("weighted_dual_domain", "")
            return cls.weighted_formula, cls.weighted_dual_formula, domain
        formula, dual = (f"{one} with wᵢ times term i" for one in (cls.formula, cls.dual_formula))
        scaled = "νᵢ / wᵢ for νᵢ"
        domain = f"{cls.dual_domain} with {scaled}" if cls.dual_domain else ""
        return formula, f"{dual} and {scaled}", domain

    @property
    def weight(self) -> Array | float:
        """The weights as a factor: w (n,), or 1, by which nothing changes."""
        return 1.0 if self.weights is None else self.weights

    def weighted(self, weights: Array | None) -> Self:
        """The same loss with row i counted ``weights[i]`` times; None for once each.

        Raises InputError for weights that are not positive numbers of moderate size, and for a loss
        whose class does not say that it takes any.
        """
        if weights is None and self.weights is None:
            return self
        if weights is not None and not vars(type(self)).get("takes_weights", False):
            raise InputError(
                f"loss {self.name!r} takes no sample weights: its class must say takes_weights, "
                "see docs/adding_a_loss.md"
            )
        twin = copy(self)
        twin.weights = None if weights is None else check_weights(weights)
        return twin

    def per_weight(self, unit: float) -> Self:
        """The same loss divided by unit > 0: its weights, if any, are."""
        twin = copy(self)
        twin.weights = None if self.weights is None else self.weights / unit
        return twin

    def of_rows(self, rows: slice | Array) -> Self:
        """The loss of these rows alone, a slice or indices of them."""
        if self.weights is None:
            return self
        twin = copy(self)
        twin.weights = self.weights[rows]
        return twin

    @property
    def smooth(self) -> bool:
        """Whether l has a bounded second derivative."""
        return self.curvature is not None

    @property
    def outlier_price(self) -> float | None:
        """Delta where ``l = min over o of (yhat - y - o)^2 / 2 + delta |o|``; None elsewhere.

        Such a loss is smooth, but straight over most of the rows while residuals are large.
        """
        return None

    @property
    def curved(self) -> bool:
        """Whether steps along its gradient get to small gaps: smooth, not widely straight."""
        return self.smooth and self.outlier_price is None

    @abstractmethod
    def value(self, predictions: Array, y: Array) -> float:
        """``g(predictions)``; both (n,)."""

    @abstractmethod
    def gradient(self, predictions: Array, y: Array) -> Array:
        """A (sub)gradient of ``g`` at predictions, (n,)."""

    def second_derivative(self, predictions: Array, y: Array) -> Array:
        """The second derivative of l at predictions, (n,): of smooth losses; one side's at a kink.

        Losses without a curvature do not have it.
        """
        raise NotImplementedError(f"loss {self.name!r} is not smooth")

    @abstractmethod
    def dual_value(self, nu: Array, y: Array) -> float:
        """``-g*(-nu)``; ``-inf`` outside the domain."""

    def dual_slopes(self, nu: Array, y: Array) -> tuple[Array, Array]:
        """First and second derivatives of the terms of `dual_value` inside the domain, both (n,).

        The gradient is the predictions to which nu belongs. Here: ``nu'y``, of piecewise linear
        losses. A solver that needs them is refused where a loss has none.
        """
        if not self.piecewise_linear:
            raise NotImplementedError(f"loss {self.name!r} has no derivatives of its conjugate")
        return y, np.zeros_like(nu)

    @property
    def has_dual_slopes(self) -> bool:
        """Whether the derivatives of the conjugate are known."""
        return self.piecewise_linear or type(self).dual_slopes is not Loss.dual_slopes

    @abstractmethod
    def proven_dual_value(self, nu: Array, y: Array, margin: float) -> float:
        """Below ``-g*(-nu)``, proven: the checker of certificates calls it, and no solver does.

        It is written apart from `dual_value`, so that a slip in one cannot prove itself right.
        ``margin`` multiplies every allowance for rounding. Raises CertificateError outside the
        domain, which is compared exactly.
        """

    @abstractmethod
    def expression(self, cp: Any, predictions: Any, y: Array) -> Any:
        """The value as an expression of cvxpy (the module ``cp``) in its variable (n,)."""

    @abstractmethod
    def prox(self, v: Array, y: Array, step: float) -> Array:
        """``argmin_r g(r) + ||r - v||^2 / (2 step)``, elementwise, (n,)."""

    def clip_dual(self, nu: Array, y: Array) -> Array:
        """The nearest point of the conjugate's domain, (n,)."""
        return nu

    def domain_scale(self, nu: Array, y: Array) -> float:
        """The largest ``t`` with ``t nu`` in the conjugate's domain, for nu in the domain."""
        return np.inf

    def best_dual_scale(self, nu: Array, y: Array, limit: float) -> float:
        """The ``t`` in ``[0, min(limit, domain_scale)]`` that maximizes ``dual_value(t nu)``."""
        # Here, because it takes a second to import, and a sweep is planned by losses' names.
        from scipy.optimize import minimize_scalar

        top = min(limit, self.domain_scale(nu, y))
        if not np.isfinite(top):
            top = 1e6
        found = minimize_scalar(
            lambda t: -self.dual_value(t * nu, y),
            bounds=(0.0, top),
            method="bounded",
            options={"xatol": 1e-10 * max(top, 1e-300)},
        )
        candidates = (0.0, float(found.x), top)
        return max(candidates, key=lambda t: self.dual_value(t * nu, y))

    def in_units(self, unit: float) -> Loss:
        """The loss l' with ``l(yhat, y) = unit^degree l'(yhat / unit, y / unit)``."""
        return self

    def require(self, holds: Array) -> None:
        """Raise CertificateError unless all of these comparisons of a dual point hold."""
        if not np.all(holds):
            raise CertificateError(f"the dual point is outside the domain of loss {self.name!r}")

    def check_targets(self, y: Array) -> None:
        """Raise InputError where this loss cannot take these targets; any finite ones here."""
        return None


class MarginLoss(Loss):
    """A loss of the margin ``y * yhat``, for targets -1 and +1."""

    def check_targets(self, y: Array) -> None:
        """Only -1 and +1 are classes to a margin loss."""
        if not np.isin(y, (-1.0, 1.0)).all():
            raise InputError(
                f"loss {self.name!r} needs targets -1 or +1: encode the two classes so, "
                "or choose a loss of numbers, such as squared"
            )


def largest_scale(values: Array, bound: Array | float) -> float:
    """The largest ``t`` with ``t * values <= bound``, rounded down; inf if none is > 0.

    values (n,), bound (n,) or one for all, positive.
    """
    positive = values > 0.0
    if not positive.any():
        return np.inf
    values = values[positive]
    bounds = np.broadcast_to(np.asarray(bound, dtype=np.float64), positive.shape)[positive]
    row = int(np.argmax(values / bounds))
    scale = float(bounds[row]) / float(values[row])
    while np.any(scale * values > bounds):
        scale = float(np.nextafter(scale, 0.0))
    return scale
