"""The training problem: data, loss, activation, alphabet and beta."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from qnn.errors import InputError, shown
from qnn.losses import Loss, get_loss
from qnn.networks.activations import Activation, get_activation
from qnn.networks.alphabets import Alphabet, get_alphabet
from qnn.networks.atoms import Atoms, atoms_of
from qnn.numerics.arrays import numbers_of, plain_array
from qnn.numerics.weights import check_weights
from qnn.semidefinite.diagonal import optimal_diagonals

if TYPE_CHECKING:
    from qnn.networks.activations.lift import Lift
    from qnn.networks.quantized import QuantizedNetwork

# Of what a problem knows once it was asked, that which other targets or weights change.
OF_TARGETS = ("beta_max", "beta_max_estimate", "data_sha256")


class Problem:
    """``min over networks of any width: loss(f(X), y) + beta d sum_j |alpha_j|``.

    Parameters
    ----------
    X : (n, d) array, taken as it is: no scaling, no constant column added.
    y : (n,) array of targets (-1 and +1 for the margin losses).
    beta : positive number; the penalty of a neuron is ``beta * d * |alpha|``, d the columns of X
        whatever the lift of the alphabet.
    loss : a name in `qnn.losses.LOSSES` ('squared', 'logistic', 'hinge' …), or a Loss.
    activation : 'bilinear' or Polynomial(a, b, c).
    alphabet : 'binary', 'ternary', or a number of bits.
    sample_weight : (n,) positive numbers, what each row counts for in the loss; None: 1 each.

    Raises
    ------
    InputError : where data or arguments cannot make a problem.

    Source: B. Bartan, M. Pilanci, Training Quantized Neural Networks to Global Optimality via
    Semidefinite Programming, ICML 2021.

    Examples
    --------
    >>> import numpy as np
    >>> problem = Problem(np.eye(2), np.array([1.0, -1.0]), beta=0.1)
    >>> problem.n, problem.d, problem.budget
    (2, 2, 0.2)
    """

    def __init__(
        self,
        X: np.ndarray,
        y: np.ndarray,
        beta: float,
        loss: str | Loss = "squared",
        activation: str | Activation = "bilinear",
        alphabet: str | int | Alphabet = "binary",
        sample_weight: np.ndarray | None = None,
    ) -> None:
        self.X = _matrix(X)
        self.y = _targets(y, len(self.X))
        self.loss = get_loss(loss)
        if sample_weight is not None:
            self.loss = self.loss.weighted(check_weights(sample_weight, len(self.X)))
        self.activation = get_activation(activation)
        self.alphabet = get_alphabet(alphabet)
        self.loss.check_targets(self.y)
        self.beta = _positive(beta)

    @property
    def n(self) -> int:
        """The number of rows."""
        return int(self.X.shape[0])

    @property
    def d(self) -> int:
        """The number of columns of X, which scales the penalty."""
        return int(self.X.shape[1])

    @property
    def budget(self) -> float:
        """``beta * d``: the price of a unit of |alpha|, and what a dual's diagonal may spend."""
        return self.beta * self.d

    @cached_property
    def lift(self) -> Lift:
        """The linear operators A and M of the lifted problem."""
        return self.activation.lift(self.X, self.alphabet.scales)

    @cached_property
    def atoms(self) -> Atoms:
        """The neurons that there are."""
        return atoms_of(self.X, self.alphabet, self.activation)

    def with_beta(self, beta: float) -> Problem:
        """The same problem at another beta; lift, digest and beta_max are shared if known."""
        twin = object.__new__(Problem)
        twin.__dict__.update(self.__dict__)
        twin.beta = _positive(beta)
        return twin

    @property
    def weights(self) -> np.ndarray | None:
        """What each row counts for in the loss (n,); None where all count 1."""
        return self.loss.weights

    def with_weights(self, sample_weight: np.ndarray) -> Problem:
        """The same problem with rows that count as these weights (n,) say; X and lift are shared.

        Raises InputError for weights that are not one positive number a row.
        """
        known = {key: value for key, value in self.__dict__.items() if key not in OF_TARGETS}
        twin = object.__new__(Problem)
        twin.__dict__.update(known)
        twin.loss = self.loss.weighted(check_weights(sample_weight, self.n))
        return twin

    def with_target(self, y: np.ndarray) -> Problem:
        """The same problem for other targets y (n,); X, lift and atoms are shared."""
        twin = object.__new__(Problem)
        known = {key: value for key, value in self.__dict__.items() if key not in OF_TARGETS}
        twin.__dict__.update(known)
        twin.y = _targets(y, self.n)
        twin.loss.check_targets(twin.y)
        return twin

    def objective(self, network: QuantizedNetwork) -> float:
        """Loss plus penalty of a network on X (as it is, whatever preprocessing it carries).

        Raises InputError for a network of another activation or alphabet, which is not one of those
        that the problem is about, and for one that reads another number of columns.
        """
        if (network.activation, network.polynomial, network.alphabet) != self._kind:
            raise InputError(
                f"a network of activation {network.activation} and alphabet {network.alphabet} has "
                f"no objective in a problem of activation {self.activation.name} and alphabet "
                f"{self.alphabet.name} (or of another polynomial)"
            )
        if network.d != self.d:
            raise InputError(
                f"a network that reads {network.d} columns has no objective in a problem of "
                f"{self.d}"
            )
        return self.objective_of(network.U, network.V, network.alpha)

    @property
    def _kind(self) -> tuple[object, ...]:
        return self.activation.name, self.activation.coefficients, self.alphabet.name

    def objective_of(self, U: np.ndarray, V: np.ndarray | None, alpha: np.ndarray) -> float:
        """Loss plus penalty of the network with integer weights U, V (d, m) and alpha (m,)."""
        decode = self.alphabet.decode
        hidden = self.activation.hidden(self.X, decode(U), None if V is None else decode(V))
        return self.loss.value(hidden @ alpha, self.y) + self.budget * float(np.abs(alpha).sum())

    @cached_property
    def beta_max(self) -> float:
        """The smallest beta at which the relaxation's answer is the zero network.

        There ``nu = -grad loss(0)`` is feasible: ``min sum(a)`` over ``Diag(a) +- M(nu) >= 0`` is
        ``beta_max d`` (each sign apart, the larger of the two, for the polynomial activation). It
        is rounded up by at most 1e-9 relative, so that zero is optimal at beta_max itself.
        """
        nu = -self.loss.gradient(np.zeros(self.n), self.y)
        diagonals = optimal_diagonals(self.lift.adjoint(nu), self.lift.diagonals)
        return max(float(a.sum()) for a in diagonals) / self.d

    @cached_property
    def beta_max_estimate(self) -> float:
        """At most beta_max and usually near it, by alternating sign updates: much cheaper.

        Some neuron pays below it: ``|u'Mv| / d`` (pairs) or ``|u'Mu| / d`` at signs u, v.
        """
        M = self.lift.adjoint(-self.loss.gradient(np.zeros(self.n), self.y))
        u = np.where(M[int(np.argmax(np.abs(M).sum(axis=0)))] >= 0.0, 1.0, -1.0)
        best = 0.0
        for _ in range(4):
            product = M @ u
            best = max(best, self.lift.largest_product(u, product))
            u = np.where(product >= 0.0, 1.0, -1.0)
        return best / self.d

    @cached_property
    def data_sha256(self) -> str:
        """SHA-256 of the rows [x, y], or [x, y, w], one after the other, little-endian float64."""
        digest = hashlib.sha256()
        parts = [self.X, self.y] if self.weights is None else [self.X, self.y, self.weights]
        for start in range(0, self.n, 8192):
            rows = slice(start, start + 8192)
            block = np.column_stack([part[rows] for part in parts])
            digest.update(np.ascontiguousarray(block, dtype="<f8").tobytes())
        return digest.hexdigest()


def _matrix(X: np.ndarray) -> np.ndarray:
    matrix = numbers_of(X, "X")
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise InputError(f"X must have rows and columns (got shape {matrix.shape})")
    if not np.isfinite(matrix).all():
        row, column = np.argwhere(~np.isfinite(matrix))[0]
        raise InputError(
            f"X has {matrix[row, column]} in row {row}, column {column}: drop or impute it first"
        )
    matrix.setflags(write=False)
    return matrix


def _targets(y: np.ndarray, rows: int) -> np.ndarray:
    given = plain_array(y, "y")
    try:
        targets = np.array(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError("y must be numbers: encode classes as -1 and +1") from None
    if targets.shape != (rows,):
        several = "; for several outputs see qnn.VectorProblem" if targets.ndim == 2 else ""
        raise InputError(
            f"y must have one entry a row of X, {rows} (got shape {targets.shape}){several}"
        )
    if not np.isfinite(targets).all():
        row = int(np.argwhere(~np.isfinite(targets))[0, 0])
        raise InputError(f"y has {targets[row]} in row {row}: drop the row first")
    targets.setflags(write=False)
    return targets


def _positive(beta: float) -> float:
    try:
        value = float(beta)
    except (TypeError, ValueError):
        raise InputError(f"beta must be a positive number (got {shown(beta)})") from None
    if not (np.isfinite(value) and value > 0):
        raise InputError(f"beta must be a positive number (got {beta})")
    return value
