"""The problem in units where data, targets and lifted rows are of order one.

Standard scaling of data; all maps back are exact up to rounding. With ``f`` the lifted features:

* columns of the data are divided by one common number (the diagonals tie them together), which the
  template takes up for the constant feature of the polynomial lift;
* the lifted rows ``A_i`` are divided by their root mean square norm alpha, and Z multiplied by it;
* the targets of a homogeneous loss are divided by their root mean square;
* with sample weights w the squared loss becomes the plain one: rows ``A_i`` and targets are
  multiplied by ``sqrt(w_i)``, and nu divided by it; weights of other losses are divided by their
  mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from qnn.errors import InputError
from qnn.losses import Loss
from qnn.networks.activations.lift import Lift
from qnn.training.problems.problem import Problem

Array = np.ndarray


@dataclass(frozen=True)
class ScaledProblem:
    """``min loss(A(P - N), y) + budget sum(rho)`` in scaled units.

    Original units: ``Z = z_unit * Z_scaled``, ``nu = nu_unit * nu_scaled``, diagonals
    ``diagonal_unit * scaled`` and objective values ``value_unit * scaled``.
    """

    lift: Lift
    y: Array
    loss: Loss
    budget: float
    z_unit: float
    nu_unit: float | Array
    value_unit: float
    diagonal_unit: float

    @property
    def n(self) -> int:
        """Rows."""
        return len(self.y)

    @property
    def size(self) -> int:
        """The order D of the lifted matrices."""
        return self.lift.size

    @cached_property
    def zero_value(self) -> float:
        """The objective of the zero network."""
        return self.loss.value(np.zeros(self.n), self.y)

    def with_budget(self, budget: float) -> ScaledProblem:
        """The same problem at another budget in original units."""
        scaled = budget * self.z_unit / self.value_unit
        values = {**self.__dict__, "budget": scaled}
        values.pop("zero_value", None)
        return ScaledProblem(**values)


#: powers of ten that products of data may reach: beyond them doubles overflow or lose digits
_POWERS = 290.0


def check_scale(problem: Problem) -> None:
    """Raise InputError where products of the data's largest entries leave the range of doubles.

    Products are those of two features, a target and a weight; of four features where the polynomial
    lift squares large ones.
    """
    X, y = problem.X, problem.y
    row, column = np.unravel_index(int(np.abs(X).argmax()), X.shape)
    target = int(np.abs(y).argmax())
    x_power, y_power = _power(X[row, column]), _power(y[target])
    squared_twice = x_power > 0.0 and problem.lift.template is not None
    features = (4.0 if squared_twice else 2.0) * abs(x_power)
    largest = max(features + abs(y_power), 2.0 * abs(y_power))
    if problem.weights is not None:
        powers = np.log10([problem.weights.min(), problem.weights.max()])
        largest += float(np.abs(powers).max())
        if largest > _POWERS:
            raise InputError(
                "the sample weights' products with X and y are beyond double precision: choose "
                "weights nearer to 1"
            )
    if largest <= _POWERS:
        return
    raise InputError(
        f"the largest entry of X, {X[row, column]:g} in row {row}, column {column}, and of y, "
        f"{y[target]:g} in row {target}, have products beyond double precision: choose other "
        "units, so that both are nearer to 1"
    )


def _power(value: float) -> float:
    """Its power of ten; 0 for 0."""
    return float(np.log10(abs(value))) if value != 0.0 else 0.0


def scale_problem(problem: Problem) -> ScaledProblem:
    """Choose the units from the data; zero data and zero targets keep the unit one."""
    lift, y, weights = problem.lift, problem.y, problem.weights
    features, template = lift.features, lift.template
    x_unit = _root_mean_square(features if template is None else features[:, :-1], weights)
    if template is None:
        features = features / x_unit
        squares = np.einsum("ij,ij->i", features, features)
        alpha = x_unit**2 * _root_mean_square(squares, weights)
        features = features * (x_unit / np.sqrt(alpha))
    else:
        features = features.copy()
        features[:, :-1] /= x_unit
        powers = np.ones(len(template))
        powers[:-1] = x_unit
        template = template * np.outer(powers, powers)
        alpha = _root_mean_square(np.sqrt(_row_squares(features, template)), weights)
        template = template / alpha
    y_unit = 1.0 if problem.loss.degree is None else _root_mean_square(y, weights)
    y = y / y_unit
    loss, degree = problem.loss.in_units(y_unit), problem.loss.degree or 1
    value_unit = y_unit**degree
    nu_unit: float | Array = y_unit ** (degree - 1)
    if weights is not None:
        unit = float(weights.mean())
        loss, value_unit, nu_unit = loss.per_weight(unit), unit * value_unit, unit * nu_unit
        if loss.quadratic:
            root = np.sqrt(weights / unit)
            loss, nu_unit = loss.weighted(None), root * nu_unit
            features, y = features * np.sqrt(root)[:, None], root * y
    z_unit = y_unit / alpha
    return ScaledProblem(
        lift=lift.replaced(np.ascontiguousarray(features), template),
        y=y,
        loss=loss,
        budget=problem.budget * z_unit / value_unit,
        z_unit=z_unit,
        nu_unit=nu_unit,
        value_unit=value_unit,
        diagonal_unit=value_unit / z_unit,
    )


def plain_rows(problem: Problem) -> tuple[Lift, Array, Array | float]:
    """Lift, targets, and the unit of nu, in which a weighted squared loss is the plain one.

    ``w (f' (T o Z) f - y)^2`` with f multiplied by the fourth root of w and y by its square root.
    They are the problem's own, and the unit is 1, for other losses and without weights.
    """
    lift, weights = problem.lift, problem.weights
    if weights is None or not problem.loss.quadratic:
        return lift, problem.y, 1.0
    root = np.sqrt(weights)
    features = lift.features * np.sqrt(root)[:, None]
    return lift.replaced(features, lift.template), root * problem.y, root


def _root_mean_square(values: Array, weights: Array | None = None) -> float:
    """Over rows that count as much as their weights; 1 where all are 0."""
    top = float(np.abs(values).max(initial=0.0))
    if top == 0.0:
        return 1.0
    squares = (values / top) ** 2
    if weights is not None:
        squares = np.average(squares, axis=0, weights=weights)
    return top * float(np.sqrt(np.mean(squares)))


def _row_squares(features: Array, template: Array) -> Array:
    """``||A_i||_F^2`` for ``A_i = T o f_i f_i'``."""
    squares = features**2
    return np.einsum("ij,ij->i", squares @ template**2, squares)
