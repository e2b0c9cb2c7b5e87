"""Several outputs over one matrix: C scalar problems that share X and beta.

With `α_j ∈ R^C` the penalty `βd Σ_j ‖α_j‖₁` and a loss that is a sum over outputs separate: the
vector problem's optimum is the sum of theirs.

To a margin loss a target is −1 or +1. A row whose target in some output is 0 has no part in that
one, as a row of a third class has none where two are told apart: its problem is that of the others.
"""

from __future__ import annotations

import math

import numpy as np

from qnn.errors import InputError
from qnn.losses import Loss, get_loss
from qnn.losses.base import MarginLoss
from qnn.networks.activations import Activation
from qnn.networks.alphabets import Alphabet
from qnn.networks.quantized import QuantizedNetwork
from qnn.networks.stacks import unstack
from qnn.numerics.weights import check_weights
from qnn.training.problems.problem import Problem


class VectorProblem:
    """``min over networks of any width: sum_c loss(f_c(X), Y_c) + beta d sum_j ||alpha_j||_1``.

    Parameters
    ----------
    X : (n, d) array, taken as it is.
    Y : (n, C) array of targets, one column an output (-1 and +1 for the margin losses: of classes,
        column c is +1 on class c and -1 on the rest; 0 where a row has no part in an output).
    beta, loss, activation, alphabet, sample_weight : as `Problem` takes them, the same for all
        outputs.

    ``outputs`` are the C scalar problems; those of all rows share X and its lift. ``rows`` are
    those of each, as `rows_of` has them.

    Raises
    ------
    InputError : where data or arguments cannot make a problem.

    Examples
    --------
    >>> import numpy as np
    >>> problem = VectorProblem(np.eye(3), np.eye(3), beta=0.1)
    >>> len(problem.outputs), problem.outputs[2].y.tolist()
    (3, [0.0, 0.0, 1.0])
    """

    def __init__(
        self,
        X: np.ndarray,
        Y: np.ndarray,
        beta: float,
        loss: str | Loss = "squared",
        activation: str | Activation = "bilinear",
        alphabet: str | int | Alphabet = "binary",
        sample_weight: np.ndarray | None = None,
    ) -> None:
        targets = np.asarray(Y)
        if targets.ndim != 2 or targets.shape[1] == 0:
            raise InputError(
                f"Y must have one row a row of X and one column an output (got shape "
                f"{targets.shape})"
            )
        fits = np.shape(X)[:1] == targets.shape[:1]
        self.rows = tuple(rows_of(y, loss) if fits else slice(None) for y in targets.T)
        if all(isinstance(rows, slice) for rows in self.rows):
            first = Problem(X, targets[:, 0], beta, loss, activation, alphabet, sample_weight)
            self.outputs = (first, *(first.with_target(y) for y in targets.T[1:]))
            return
        whole = get_loss(loss)
        if sample_weight is not None:
            whole = whole.weighted(check_weights(sample_weight, len(targets)))
        parts = zip(targets.T, self.rows, strict=True)
        self.outputs = tuple(
            Problem(np.asarray(X)[rows], y[rows], beta, whole.of_rows(rows), activation, alphabet)
            for y, rows in parts
        )

    @property
    def beta(self) -> float:
        """The price of a neuron, of each output that uses it."""
        return self.outputs[0].beta

    @property
    def beta_max(self) -> float:
        """The smallest beta at which the relaxation's answer is zero in every output."""
        return max(problem.beta_max for problem in self.outputs)

    def with_beta(self, beta: float) -> VectorProblem:
        """The same problem at another beta; what is known of it is shared."""
        twin = object.__new__(VectorProblem)
        twin.rows = self.rows
        twin.outputs = tuple(problem.with_beta(beta) for problem in self.outputs)
        return twin

    def with_weights(self, sample_weight: np.ndarray) -> VectorProblem:
        """The same problem with rows that count as these weights (n,) say, in every output."""
        twin = object.__new__(VectorProblem)
        twin.rows, weights = self.rows, np.asarray(sample_weight)
        twin.outputs = tuple(
            problem.with_weights(weights[rows])
            for problem, rows in zip(self.outputs, self.rows, strict=True)
        )
        return twin

    def objective(self, network: QuantizedNetwork) -> float:
        """Loss plus penalty of a network of C outputs on X.

        Raises InputError for a network of another activation, alphabet or number of outputs.
        """
        parts = unstack(network)
        if len(parts) != len(self.outputs):
            raise InputError(
                f"a network of {len(parts)} outputs has no objective in a problem of "
                f"{len(self.outputs)}"
            )
        pairs = zip(self.outputs, parts, strict=True)
        return math.fsum(problem.objective(part) for problem, part in pairs)


def rows_of(y: np.ndarray, loss: str | Loss) -> slice | np.ndarray:
    """The rows that have a part in an output of targets y (n,): numbers (k,), or a slice of all.

    Raises InputError where those are not of two classes, as where classes are coded 0 and 1.
    """
    if not isinstance(get_loss(loss), MarginLoss) or y.dtype.kind not in "fiu" or np.all(y):
        return slice(None)
    rows = np.flatnonzero(y)
    if len(np.unique(np.sign(y[rows]))) < 2:
        raise InputError(
            "a column of Y has rows of 0, which have no part in that output, and not both -1 and "
            "+1 beside them: encode its two classes so"
        )
    return rows


def problem_of(
    X: np.ndarray,
    targets: np.ndarray,
    beta: float,
    loss: str | Loss = "squared",
    activation: str | Activation = "bilinear",
    alphabet: str | int | Alphabet = "binary",
    sample_weight: np.ndarray | None = None,
) -> Problem | VectorProblem:
    """The problem of one output where the targets are (n,), of several where they are (n, C)."""
    kind = Problem if targets.ndim == 1 else VectorProblem
    return kind(X, targets, beta, loss, activation, alphabet, sample_weight)
