import io
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qnn.errors import InputError
from qnn.networks.alphabets import get_alphabet
from qnn.networks.quantized import QuantizedNetwork


def make_network(d=5, m=3, seed=0, **fields):
    rng = np.random.default_rng(seed)
    U = rng.choice([-1, 1], size=(d, m))
    V = rng.choice([-1, 1], size=(d, m))
    given = {"U": U, "V": V, "alpha": rng.standard_normal(m), "beta": 2.5, "loss": "squared"}
    return QuantizedNetwork(**{**given, **fields})


def same_content(left, right):
    return left.to_bytes() == right.to_bytes()


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6), st.integers(0, 7), st.integers(0, 2**32 - 1))
def test_the_decision_function_is_the_sum_over_neurons(d, m, seed):
    network = make_network(d, m, seed)
    X = np.random.default_rng(seed + 1).standard_normal((4, d))
    expected = [
        sum(
            network.alpha[j] * float(x @ network.U[:, j]) * float(x @ network.V[:, j])
            for j in range(m)
        )
        for x in X
    ]
    assert network.decision_function(X) == pytest.approx(np.array(expected), abs=1e-10)
    assert np.array_equal(network.predict(X), network.decision_function(X))


def test_many_neurons_are_evaluated_in_blocks(monkeypatch):
    network = make_network(4, 50)
    X = np.random.default_rng(1).standard_normal((6, 4))
    whole = network.decision_function(X)
    monkeypatch.setattr("qnn.networks.quantized.BLOCK", 7)
    assert network.decision_function(X) == pytest.approx(whole, rel=1e-12)


def test_polynomial_and_vector_outputs():
    U = np.array([[1, -1], [1, 1]])
    network = QuantizedNetwork(
        U, None, np.array([[1.0, 0.0], [0.0, 2.0]]), "polynomial", polynomial=(2.0, 3.0, 5.0)
    )
    # t = (x1 + x2, x2 − x1) = (3, 1); σ = 2·9+3·3+5 = 32, 2+3+5 = 10
    assert network.decision_function(np.array([[1.0, 2.0]])) == pytest.approx(
        np.array([[32.0, 20.0]])
    )


def test_no_neurons_say_zero():
    network = make_network(4, 0)
    assert np.array_equal(network.decision_function(np.ones((3, 4))), np.zeros(3))
    assert network.size_in_bytes == 0
    two_outputs = make_network(4, 0, alpha=np.zeros((0, 2)))
    assert np.array_equal(two_outputs.decision_function(np.ones((3, 4))), np.zeros((3, 2)))
    assert same_content(QuantizedNetwork.from_bytes(network.to_bytes()), network)


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({}, math.ceil(2 * 5 * 3 / 8) + 8 * 3),
        # Equal |α|: one scalar, the sign folds into u.
        ({"alpha": np.array([0.5, -0.5, 0.5])}, 4 + 8),
        # Two scalars; the sign of a neuron's second use, beside its 10 weights.
        ({"alpha": np.ones((3, 2))}, math.ceil((30 + 3) / 8) + 8 * 2),
        # Five scalars and a map of the six entries.
        (
            {"alpha": np.array([[1.0, 2.0], [0.0, 3.0], [4.0, 5.0]])},
            math.ceil((30 + 6) / 8) + 8 * 5,
        ),
        # A map is not worth one zero among 66.
        (
            {"alpha": np.concatenate([[[0.0] * 22], np.arange(44.0).reshape(2, 22) + 1])},
            math.ceil((30 + 66) / 8) + 8 * 44,
        ),
        (
            {"alpha": np.concatenate([[0.0], np.arange(65.0) + 1]).reshape(3, 22)},
            math.ceil(30 / 8) + 8 * 66,
        ),
        # No neuron is shared: the signs fold into u, and a map is left.
        ({"alpha": np.array([[1.0, 0.0], [0.0, -2.0], [-1.0, 0.0]])}, math.ceil(36 / 8) + 16),
        # Steps (3, 1) and (2, 3), 3 bits each, of two scalars; then as dense as the map.
        (
            {"alpha": np.array([[3.0, 0], [1, 4], [0, 6]]), "second_layer": "3"},
            math.ceil((30 + 6 + 3 * 4) / 8) + 16,
        ),
        (
            {"alpha": np.array([[3.0, 2], [1, 4], [0, 6]]), "second_layer": "3"},
            math.ceil((30 + 3 * 6) / 8) + 16,
        ),
        (
            {
                "V": None,
                "activation": "polynomial",
                "polynomial": (1, 0, 0),
                "alpha": np.array([[1.0, 2.0], [-1.0, 0.0], [0.0, 2.0]]),
                "second_layer": "common",
            },
            math.ceil((15 + 6 + 4) / 8) + 16,
        ),
        ({"alphabet": "ternary"}, math.ceil(2 * 30 / 8) + 24),
        (
            {"V": None, "activation": "polynomial", "polynomial": (1, 0, 0), "alpha": [1, -1, 1]},
            2 + 24,
        ),
        (
            {"V": None, "activation": "polynomial", "polynomial": (1, 0, 0), "alpha": [1, 1, 1]},
            2 + 8,
        ),
    ],
)
def test_size_in_bytes(fields, size):
    assert make_network(**fields).size_in_bytes == size


def test_m_bit_weights_are_levels_over_their_divisor():
    network = QuantizedNetwork(
        np.array([[3], [-1]]), np.array([[1], [1]]), np.ones(1), alphabet="2"
    )
    # u = (1, −1/3), v = (1/3, 1/3)
    assert network.decision_function(np.array([[1.0, 3.0]])) == pytest.approx(0.0, abs=1e-12)
    assert network.size_in_bytes == 1 + 8


def test_arrays_are_copied_and_read_only():
    U = np.ones((2, 1), dtype=np.int8)
    network = QuantizedNetwork(U, U, np.ones(1))
    U[0, 0] = -1
    assert network.U[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        network.U[0, 0] = -1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"U": np.zeros((5, 3))}, "network: U has weights outside the binary alphabet {-1, 1}"),
        (
            {"V": np.ones((5, 2))},
            "network: V has shape (5, 2) but must be (d, 3), one column for each row of alpha",
        ),
        ({"V": np.ones((4, 3))}, "network: U (5, 3) and V (4, 3) must have the same shape"),
        (
            {"V": None},
            "network: activation 'bilinear' does not fit the arrays; bilinear needs U and V, "
            "polynomial needs U and the three coefficients",
        ),
        (
            {"alpha": np.array([1.0, np.nan, 1.0])},
            "network: alpha must be finite and of shape (m,) or (m, C), not shape (3,) with nan or "
            "inf",
        ),
        (
            {"alpha": 1.0},
            "network: alpha must be finite and of shape (m,) or (m, C), not shape ()",
        ),
        (
            {"activation": "relu"},
            "network: activation 'relu' is unknown; use one of bilinear, polynomial",
        ),
        (
            {"alpha": np.array([[1.0, 1.0], [3.0, 1.0], [2.0, 1.5]]), "second_layer": "2"},
            "network: alpha does not lie on the grid of second_layer '2'",
        ),
        ({"beta": -1.0}, "network: beta must be a positive number, not -1.0"),
    ],
)
def test_inconsistent_networks_are_refused(fields, message):
    with pytest.raises(InputError) as caught:
        make_network(**fields)
    assert str(caught.value) == message


def test_rows_that_do_not_fit_are_refused():
    network = make_network()
    with pytest.raises(InputError, match=r"X has shape \(2, 4\) but the network reads 5 columns"):
        network.decision_function(np.ones((2, 4)))
    with pytest.raises(InputError, match="X has values that are not finite"):
        network.decision_function(np.full((2, 5), np.inf))


@pytest.mark.parametrize(
    "network",
    [
        make_network(),
        make_network(beta=None, loss=None),
        make_network(alpha=np.ones((3, 2))),
        make_network(V=None, activation="polynomial", polynomial=(0.1, 0.5, 0.4)),
    ],
)
def test_save_and_load(network, tmp_path):
    path = tmp_path / "network.npz"
    network.save(path)
    loaded = QuantizedNetwork.load(path)
    assert path.read_bytes() == network.to_bytes() == loaded.to_bytes()
    for name in ("activation", "alphabet", "beta", "loss", "polynomial"):
        assert getattr(loaded, name) == getattr(network, name)
    assert np.array_equal(loaded.alpha, network.alpha)
    assert loaded.U.dtype == np.int8
    assert [entry.name for entry in tmp_path.iterdir()] == ["network.npz"]
    with np.load(path, allow_pickle=False) as plain:
        assert np.array_equal(plain["U"], network.U)
        assert np.array_equal(plain["alpha"], network.alpha)


def test_the_preprocessing_travels_with_the_network(tmp_path):
    from qnn.features.preprocessing import FeatureLayout

    rng = np.random.default_rng(0)
    X = rng.normal(3.0, 2.0, size=(20, 3))
    y = np.array(["no", "yes"] * 10)
    columns = {f"x{j}": X[:, j] for j in range(3)}
    preprocessing = FeatureLayout.from_table(columns).fit(columns, y, classes=("no", "yes"))
    network = make_network(d=4, preprocessing=preprocessing)
    network.save(tmp_path / "n.npz")
    loaded = QuantizedNetwork.load(tmp_path / "n.npz")
    assert loaded.preprocessing is not None
    assert set(loaded.predict(columns)) <= {"no", "yes"}
    assert list(loaded.predict(columns)) == list(network.predict(columns))
    expected = network.decision_function(preprocessing.transform(columns))
    assert np.array_equal(loaded.scores(columns), expected)


def test_a_preprocessing_of_another_number_of_outputs_is_refused():
    from qnn.features.preprocessing import FeatureLayout

    X, labels = np.arange(12.0).reshape(6, 2), np.array(["a", "b", "c"] * 2)
    layout = FeatureLayout.from_table(X, bias=False)
    three = layout.fit(X, labels, ("a", "b", "c"))
    network = make_network(2, 4, alpha=np.ones((4, 3)), preprocessing=three)
    loaded = QuantizedNetwork.from_bytes(network.to_bytes())
    assert loaded.predict(X).tolist() == network.predict(X).tolist()
    for alpha, preprocessing, said in (
        (np.ones(4), three, "(4,), but the preprocessing codes 3 outputs"),
        (
            np.ones((4, 3)),
            layout.fit(X, np.arange(6.0)),
            "(4, 3), but the preprocessing codes one output",
        ),
    ):
        with pytest.raises(InputError) as error:
            make_network(2, 4, alpha=alpha, preprocessing=preprocessing)
        assert str(error.value) == f"network: alpha has shape {said}"


def test_every_truncation_is_refused_by_one_line():
    data = make_network().to_bytes()
    for length in range(len(data)):
        with pytest.raises(InputError) as caught:
            QuantizedNetwork.from_bytes(data[:length], "n.npz")
        message = str(caught.value)
        assert message.startswith("n.npz: not a ")
        assert "\n" not in message


def test_every_flipped_byte_is_refused_or_changes_nothing():
    network = make_network()
    data = network.to_bytes()
    refused = 0
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= (0x01, 0x80, 0xFF)[position % 3]
        message = ""
        try:
            loaded = QuantizedNetwork.from_bytes(bytes(damaged), "n.npz")
        except InputError as error:
            message = str(error)
            refused += 1
        if message:
            assert message.startswith("n.npz: ")
            assert "\n" not in message
        else:
            assert same_content(loaded, network)
    assert refused > 0.7 * len(data)


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "other.npz"
    np.savez(path, x=np.ones(3))
    with pytest.raises(InputError, match="not a network file: it has no format number"):
        QuantizedNetwork.load(path)
    np.savez(path, format=np.int64(99))
    with pytest.raises(InputError, match="network format 99, this version of qnn reads format 1"):
        QuantizedNetwork.load(path)
    np.savez(path, format=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="not a readable network file"):
        QuantizedNetwork.load(path)
    with pytest.raises(InputError, match=r"none\.npz: cannot be read \(No such file"):
        QuantizedNetwork.load(tmp_path / "none.npz")
    with pytest.raises(InputError, match="cannot be written"):
        make_network().save(tmp_path / "no" / "folder.npz")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("U", np.zeros((5, 3), dtype=np.int8), "weights outside the binary alphabet"),
        ("U", np.ones((5, 3)), "U is float64, must be int8"),
        ("alpha", np.ones(3, dtype=np.float32), "alpha is float32, must be float64"),
        ("alpha", np.array([1.0, np.inf, 0.0]), "alpha must be finite"),
        ("beta", np.array([1.0]), "beta must be one number"),
        ("activation", np.array(3), "no text 'activation' in it"),
        ("alphabet", np.array("octal"), "'octal' is not known"),
        ("extra", np.array(3), "members"),
        ("preprocessing", np.array("{not json"), "n.npz: "),
    ],
)
def test_wellformed_files_with_bad_content_are_refused(name, value, message):
    from qnn.numerics.archive import pack_arrays, unpack_arrays

    arrays = unpack_arrays(make_network().to_bytes(), "n.npz", "network")
    data = pack_arrays({**arrays, name: value})
    with pytest.raises(InputError, match=message):
        QuantizedNetwork.from_bytes(data, "n.npz")


def test_replace_keeps_the_weights():
    network = make_network()
    assert np.array_equal(replace(network, beta=7.0).U, network.U)


@pytest.mark.parametrize(
    ("alphabet", "bits"), [("binary", 1), ("ternary", 2), ("2", 2), ("3", 3), ("4", 4)]
)
@pytest.mark.parametrize("polynomial", [None, (0.1, 0.5, 0.4)])
def test_bytes_are_packed_bits_and_scalars_for_every_alphabet(alphabet, bits, polynomial):
    top = get_alphabet(alphabet).levels[-1]
    U = np.full((5, 3), top, dtype=np.int8)
    network = QuantizedNetwork(
        U,
        U if polynomial is None else None,
        np.array([0.5, -1.5, 1.0]),
        activation="bilinear" if polynomial is None else "polynomial",
        polynomial=polynomial,
        alphabet=alphabet,
    )
    entries = 30 if polynomial is None else 15
    assert network.size_in_bytes == -(-bits * entries // 8) + 3 * 8
    assert QuantizedNetwork.from_bytes(network.to_bytes()).to_bytes() == network.to_bytes()
    # On a grid of 3 bits (steps 1, 3, 2): three more bits a neuron, and one scalar.
    grid = replace(network, second_layer="3")
    assert grid.size_in_bytes == -(-(bits * entries + 9) // 8) + 8
    common = replace(network, alpha=np.array([0.5, -0.5, 0.5]), second_layer="common")
    signs = 0 if polynomial is None else 3
    assert common.size_in_bytes == -(-(bits * entries + signs) // 8) + 8


def test_the_second_layer_and_the_loss_parameter_are_in_the_file():
    U = np.ones((2, 2), dtype=np.int8)
    network = QuantizedNetwork(
        U, U, np.array([1.0, -3.0]), loss="huber", loss_parameter=0.5, second_layer="3"
    )
    again = QuantizedNetwork.from_bytes(network.to_bytes())
    assert (again.loss_parameter, again.second_layer) == (0.5, "3")
    usual = QuantizedNetwork(U, U, np.array([1.0, -3.0]))
    names = set(np.load(io.BytesIO(usual.to_bytes())))
    assert not names & {"loss_parameter", "second_layer"}


@pytest.mark.parametrize(
    ("alpha", "second_layer", "message"),
    [
        ([1.0, 1.1], "common", "alpha does not lie on the grid of second_layer 'common'"),
        ([1.0, 0.4], "2", "alpha does not lie on the grid of second_layer '2'"),
        ([1.0, 0.4], "half", "second_layer 'half' is unknown; use one of float, common, 2"),
    ],
)
def test_a_second_layer_that_is_not_what_it_says_is_refused(alpha, second_layer, message):
    U = np.ones((2, 2), dtype=np.int8)
    with pytest.raises(InputError, match=message):
        QuantizedNetwork(U, U, np.array(alpha), second_layer=second_layer)


@pytest.mark.parametrize("name", ["02", "٢", " 2", "2.0", 2.5, "8", None])
def test_only_the_plain_number_of_bits_names_an_alphabet(name):
    with pytest.raises(InputError, match="choose binary, ternary or 1 to 7 bits"):
        get_alphabet(name)
