"""Seeds, limits and networks that no public function can take, refused before any computing."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import qnn
from qnn.errors import InputError

X = np.random.default_rng(0).standard_normal((20, 3))
Y = np.where(X[:, 0] > 0.0, 1.0, -1.0)
PROBLEM = qnn.Problem(X, Y, beta=1.0)
TWO = np.column_stack([Y, -Y])
VECTOR = qnn.VectorProblem(X, TWO, beta=1.0)

Call = Callable[..., Any]
SEEDED: dict[str, Call] = {
    "train": lambda **more: qnn.train(PROBLEM, width=1, **more),
    "train_outputs": lambda **more: qnn.train_outputs(VECTOR, width=1, **more),
    "width_curve": lambda **more: qnn.width_curve(PROBLEM, [1], **more),
    "narrowest": lambda **more: qnn.narrowest(PROBLEM, 0.99, **more),
}
ESTIMATORS: dict[str, Call] = {
    "classifier": lambda **more: qnn.QuantizedClassifier(width=1, **more).fit(X, Y),
    "regressor": lambda **more: qnn.QuantizedRegressor(width=1, **more).fit(X, TWO),
}
SOLVERS: dict[str, Call] = {
    "solve": lambda **more: qnn.solve(PROBLEM, **more),
    "solve_stream": lambda **more: qnn.solve_stream([(X, Y)], 1.0, **more),
}
LIMITED = SEEDED | ESTIMATORS | SOLVERS


@pytest.fixture
def nothing_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    def computed(*_: object, **__: object) -> None:
        raise AssertionError("computed before its arguments were looked at")

    for module in ("fit", "widths"):
        monkeypatch.setattr(f"qnn.training.{module}.solve", computed)
    monkeypatch.setattr("qnn.training.relaxation.streaming.solve.compress", computed)
    monkeypatch.setattr("qnn.training.relaxation.choice._zero_network", computed)


@pytest.mark.usefixtures("nothing_is_computed")
@pytest.mark.parametrize("seed", [-1, True, np.True_, 2**63, 1.5, "1", None])
@pytest.mark.parametrize("name", SEEDED)
def test_a_seed_is_a_whole_number_of_63_bits(name: str, seed: Any) -> None:
    shown = seed.item() if isinstance(seed, np.generic) else seed
    message = (
        f"seed must be a whole number from 0 to 2**63 - 1, or a numpy Generator (got {shown!r})"
    )
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        SEEDED[name](seed=seed)


@pytest.mark.usefixtures("nothing_is_computed")
@pytest.mark.parametrize("seed", [-1, True, 2**32, 1.5, "1"])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_random_state_is_what_scikit_learn_takes(name: str, seed: Any) -> None:
    message = (
        "random_state must be a whole number from 0 to 2**32 - 1, a numpy RandomState or None "
        f"(got {seed!r})"
    )
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        ESTIMATORS[name](random_state=seed)


@pytest.mark.parametrize("seed", [0, 2**63 - 1, np.int64(3), np.random.default_rng(3)])
def test_seeds_that_are_taken(seed: Any) -> None:
    assert qnn.train(PROBLEM, seed, width=1).network.neurons <= 1


def test_equal_seeds_of_other_types_give_one_network() -> None:
    seeds: tuple[Any, ...] = (3, np.int64(3), np.random.default_rng(3))
    one, *others = (qnn.train(PROBLEM, seed, width=2).network.to_bytes() for seed in seeds)
    assert others == [one, one]


@pytest.mark.parametrize("state", [np.random.RandomState(0), None, np.int32(1), 2**32 - 1])
def test_random_states_that_are_taken(state: Any) -> None:
    ESTIMATORS["classifier"](random_state=state)


@pytest.mark.usefixtures("nothing_is_computed")
@pytest.mark.parametrize("limit", [0, -1.5, float("nan"), True, "1"])
@pytest.mark.parametrize("name", LIMITED)
def test_a_time_limit_is_positive_seconds(name: str, limit: Any) -> None:
    message = f"time_limit must be positive seconds (got {limit!r})"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        LIMITED[name](time_limit=limit)


@pytest.mark.usefixtures("nothing_is_computed")
@pytest.mark.parametrize("tol", [0.0, -1.0, float("nan"), True, "1"])
@pytest.mark.parametrize("name", [name for name in LIMITED if name not in ("width_curve",
                                                                         "narrowest")])  # fmt: skip
def test_a_tolerance_is_positive(name: str, tol: Any) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(f'tol must be positive (got {tol!r})')}$"):
        LIMITED[name](tol=tol)


@pytest.mark.parametrize("columns", [2, 4])
def test_a_network_has_no_objective_on_other_columns(columns: int) -> None:
    other = np.ones((20, columns))
    message = f"^a network that reads 3 columns has no objective in a problem of {columns}$"
    with pytest.raises(InputError, match=message):
        qnn.Problem(other, Y, beta=1.0).objective(qnn.train(PROBLEM, width=1).network)
    several = qnn.train_outputs(VECTOR, width=1).network
    with pytest.raises(InputError, match=message):
        qnn.VectorProblem(other, TWO, beta=1.0).objective(several)
