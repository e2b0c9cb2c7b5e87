"""What the trained arms share: the quantizer, the hidden layer with its derivatives, the refit."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from qnn.networks.activations import Polynomial
from qnn.networks.quantized import QuantizedNetwork
from qnn.training.problems.problem import Problem
from qnn.training.rounding.refit.second_layer import refit


@dataclass(frozen=True, eq=False)
class Layer:
    """First-layer weights as numbers: U (d, m), and V (d, m) where the activation has two."""

    U: np.ndarray
    V: np.ndarray | None

    def hidden(self, X: np.ndarray, problem: Problem) -> np.ndarray:
        """The neurons' outputs (n, m)."""
        return problem.activation.hidden(X, self.U, self.V)


def nearest_levels(problem: Problem, weights: np.ndarray) -> np.ndarray:
    """The integer levels of the alphabet nearest to `weights · divisor`; ties go up."""
    levels = np.array(problem.alphabet.levels)
    middles = 0.5 * (levels[1:] + levels[:-1])
    return levels[np.searchsorted(middles, weights * problem.alphabet.divisor, side="right")]


def to_alphabet(problem: Problem, layer: Layer) -> Layer:
    """The layer at the nearest weights of the alphabet."""
    decode, V = problem.alphabet.decode, layer.V
    return Layer(
        decode(nearest_levels(problem, layer.U)),
        None if V is None else decode(nearest_levels(problem, V)),
    )


def random_layer(problem: Problem, width: int, rng: np.random.Generator) -> Layer:
    """Latent weights, uniform in [−1, 1]."""
    shape = (problem.d, width)
    polynomial = isinstance(problem.activation, Polynomial)
    return Layer(rng.uniform(-1, 1, shape), None if polynomial else rng.uniform(-1, 1, shape))


def gradients(
    problem: Problem, X: np.ndarray, layer: Layer, back: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Gradients by U and V of a sum whose derivative by the hidden outputs is `back` (n, m)."""
    activation = problem.activation
    if isinstance(activation, Polynomial):
        slope = 2.0 * activation.a * (X @ layer.U) + activation.b
        return X.T @ (back * slope), None
    assert layer.V is not None
    return X.T @ (back * (X @ layer.V)), X.T @ (back * (X @ layer.U))


@dataclass
class BestLayer:
    """The best network seen so far, and when to stop looking (`time.monotonic`)."""

    problem: Problem
    deadline: float
    objective: float = np.inf
    levels: tuple[np.ndarray, np.ndarray | None] | None = None
    alpha: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self.deadline

    def offer(self, layer: Layer, alpha: np.ndarray | None = None) -> float:
        """Round the layer, refit the second one, keep the network if best; return its objective.

        `alpha` (m,) is where the refit starts.
        """
        problem = self.problem
        U = nearest_levels(problem, layer.U)
        V = None if layer.V is None else nearest_levels(problem, layer.V)
        H = to_alphabet(problem, layer).hidden(problem.X, problem)
        second = refit(problem.loss, H, problem.y, problem.budget, alpha)
        if second.objective < self.objective:
            self.objective = second.objective
            self.levels, self.alpha = (U, V), second.alpha
        return second.objective

    def network(self) -> QuantizedNetwork:
        """The best one, without its neurons of alpha 0."""
        assert self.levels is not None, "nothing was offered"
        active = np.flatnonzero(self.alpha)
        U, V = self.levels
        polynomial = self.problem.activation
        return QuantizedNetwork(
            U=U[:, active],
            V=None if V is None else V[:, active],
            alpha=self.alpha[active],
            activation=polynomial.name,
            alphabet=self.problem.alphabet.name,
            beta=self.problem.beta,
            loss=self.problem.loss.name,
            loss_parameter=self.problem.loss.parameter,
            polynomial=(polynomial.a, polynomial.b, polynomial.c)
            if isinstance(polynomial, Polynomial)
            else None,
        )
