"""Networks: the compiled evaluation, the gradient, training by steps, and files without pickle."""

import numpy as np
import pytest

from qnn.errors import InputError
from qnn.numerics.archive import pack_arrays, unpack_arrays
from qnn.semidefinite.predictors import Network, train
from qnn.semidefinite.predictors.training import _backward, _drawn, _forward


def small(seed: int = 0) -> Network:
    weights, biases = _drawn((3, 6, 5, 2), np.random.default_rng(seed))
    biases = [np.full_like(bias, 0.1) for bias in biases]
    return Network(tuple(weights), tuple(biases), "a test")


def test_the_compiled_evaluation_is_the_formula_row_by_row() -> None:
    network = small()
    rows = np.random.default_rng(1).normal(size=(50, 3))
    z = rows
    for k, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        z = z @ weight + bias
        if k < 2:
            z = z * (1 + z / np.sqrt(1 + z**2)) / 2
    np.testing.assert_allclose(network(rows), z, atol=1e-5)
    np.testing.assert_array_equal(network(rows[7:8])[0], network(rows)[7])
    assert not np.isfinite(network(np.full((1, 3), np.nan))).any()


def test_the_gradient_is_that_of_finite_differences() -> None:
    rng = np.random.default_rng(2)
    weights, biases = _drawn((3, 6, 5, 2), rng)
    weights, biases = ([a.astype(float) for a in arrays] for arrays in (weights, biases))
    rows, slope = rng.normal(size=(8, 3)), rng.normal(size=(8, 2))
    gradients = _backward(_forward(rows, weights, biases), weights, slope)
    for array, gradient in zip([*weights, *biases], gradients, strict=True):
        place = tuple(rng.integers(size) for size in array.shape)
        values = []
        for change in (1e-6, -1e-6):
            array[place] += change
            values.append(float((_forward(rows, weights, biases)[-1][1] * slope).sum()))
            array[place] -= change
        np.testing.assert_allclose(gradient[place], (values[0] - values[1]) / 2e-6, atol=1e-6)


def test_training_learns_a_function_and_depends_on_the_seed_alone() -> None:
    def draw(rng: np.random.Generator, count: int) -> np.ndarray:
        return rng.uniform(-1.0, 1.0, (count, 2))

    def loss(rows: np.ndarray, out: np.ndarray) -> tuple[float, np.ndarray]:
        miss = out - (rows[:, :1] * rows[:, 1:])
        return float((miss**2).mean()), 2.0 * miss / len(rows)

    values: list[float] = []
    arguments = ((2, 16, 16, 1), draw, loss, 400, 0, "products")
    network = train(*arguments, batch=64, rate=1e-2, report=lambda step, v: values.append(v))
    assert len(values) == 400
    assert np.mean(values[-20:]) < 0.05 * np.mean(values[:5])
    assert train(*arguments, batch=64, rate=1e-2).to_bytes() == network.to_bytes()


def test_files_come_back_and_damaged_ones_are_one_line(tmp_path) -> None:
    network = small()
    network.save(tmp_path / "n.npz")
    back = Network.load(tmp_path / "n.npz")
    assert back.to_bytes() == network.to_bytes()
    np.testing.assert_array_equal(back(np.ones((2, 3))), network(np.ones((2, 3))))
    data = network.to_bytes()
    for position in range(0, len(data), 23):
        changed = data[:position] + bytes([data[position] ^ 0x5A]) + data[position + 1 :]
        for damaged in (data[:position], changed):
            try:
                assert Network.from_bytes(damaged, "n.npz").to_bytes() == data
            except InputError as error:
                line = str(error)
                assert line.startswith("n.npz: "), line
                assert "\n" not in line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", np.asarray(2)),
        ("format", np.asarray("1")),
        ("purpose", np.asarray(1)),
        ("weight_0", np.zeros((3, 7), np.float32)),
        ("weight_0", np.zeros((3, 6))),
        ("weight_1", np.zeros((6, 4), np.float32)),
        ("weight_2", np.zeros(5, np.float32)),
        ("bias_1", np.zeros((1, 5), np.float32)),
        ("bias_2", np.zeros(0, np.float32)),
        ("stranger", np.zeros(1)),
        ("weight_0", None),
    ],
)
def test_members_that_do_not_fit_are_one_line(name: str, value: np.ndarray | None) -> None:
    arrays = unpack_arrays(small().to_bytes(), "n.npz", "network")
    changed = {**arrays, name: value}
    kept = {key: array for key, array in changed.items() if array is not None}
    with pytest.raises(InputError, match=r"^n\.npz: "):
        Network.from_bytes(pack_arrays(kept), "n.npz")
