"""The exact optimum of small problems, by enumeration of every neuron and cvxpy for alpha."""

import itertools

import cvxpy as cp
import numpy as np

from qnn.training.problems.problem import Problem


def sign_vectors(d: int) -> np.ndarray:
    """All of {-1, +1}^d as columns, (d, 2^d)."""
    return np.array(list(itertools.product((-1.0, 1.0), repeat=d))).T


def weight_vectors(problem: Problem) -> np.ndarray:
    """All of the alphabet's weight vectors as columns, decoded."""
    levels = np.array(problem.alphabet.levels)
    grid = np.array(list(itertools.product(levels, repeat=problem.d))).T
    return problem.alphabet.decode(grid)


def all_neurons(problem: Problem) -> np.ndarray:
    """The hidden outputs of every neuron there is, one up to sign each, (n, many)."""
    weights = weight_vectors(problem)
    if problem.activation.name == "bilinear":
        products = problem.X @ weights
        hidden = (products[:, :, None] * products[:, None, :]).reshape(problem.n, -1)
    else:
        hidden = problem.activation.hidden(problem.X, weights, None)
    # Rounded to tell twins, returned unrounded: small features would lose their last digits.
    scale = float(np.abs(hidden).max()) or 1.0
    _, kept = np.unique((hidden / scale).round(12), axis=1, return_index=True)
    return np.asarray(hidden[:, kept])


def loss_expression(problem: Problem, predictions: cp.Expression) -> cp.Expression:
    """The loss as cvxpy states it, for those that come with the package independent of it."""
    y = problem.y
    terms = _loss_terms(problem, predictions, y)
    if terms is None:
        return problem.loss.expression(cp, predictions, y)
    return cp.sum(terms if problem.weights is None else cp.multiply(problem.weights, terms))


def _loss_terms(
    problem: Problem, predictions: cp.Expression, y: np.ndarray
) -> cp.Expression | None:
    margins = 1 - cp.multiply(y, predictions)
    return {
        "squared": lambda: 0.5 * cp.square(predictions - y),
        "logistic": lambda: cp.logistic(-cp.multiply(y, predictions)),
        "hinge": lambda: cp.pos(margins),
        "squared_hinge": lambda: 0.5 * cp.square(cp.pos(margins)),
        "huber": lambda: 0.5 * cp.huber(predictions - y, problem.loss.parameter),
        "absolute": lambda: cp.abs(predictions - y),
    }.get(problem.loss.name, lambda: None)()


def exact_optimum(problem: Problem) -> float:
    """p*_infinity: the Lasso over all neurons, solved by Clarabel to its tight default."""
    hidden = all_neurons(problem)
    alpha = cp.Variable(hidden.shape[1])
    objective = loss_expression(problem, hidden @ alpha) + problem.budget * cp.norm1(alpha)
    return float(cp.Problem(cp.Minimize(objective)).solve(solver=cp.CLARABEL))
