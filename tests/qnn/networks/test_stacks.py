from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qnn.errors import InputError
from qnn.networks.activations import Bilinear, Polynomial
from qnn.networks.alphabets import get_alphabet
from qnn.networks.quantized import QuantizedNetwork
from qnn.networks.stacks import single_output, stack, unstack
from tests.qnn.networks.exports import cases

POLYNOMIALS = (None, (0.1, 0.5, 0.4), (1.0, 0.0, 0.3), (0.0, 2.0, 0.0))
KINDS = st.tuples(
    st.sampled_from(["binary", "ternary", "2", "3"]),
    st.sampled_from(POLYNOMIALS),
    st.sampled_from(["float", "common", "3"]),
)


def make(d, m, rng, kind):
    alphabet, polynomial, second_layer = kind
    U, V = rng.choice(get_alphabet(alphabet).levels, (2, d, m))
    alpha = rng.standard_normal(m)
    if second_layer == "common":
        alpha = 0.7 * np.sign(alpha)
    elif second_layer == "3":
        alpha = 0.3 * np.concatenate([rng.integers(-3, 4, m)[:-1], [3]])[:m]
    return QuantizedNetwork(
        U,
        V if polynomial is None else None,
        alpha,
        "bilinear" if polynomial is None else "polynomial",
        alphabet,
        polynomial=polynomial,
        second_layer=second_layer,
        beta=1.5,
        loss="squared",
    )


def hidden(network, X):
    decode = get_alphabet(network.alphabet).decode
    if network.polynomial is None:
        return Bilinear().hidden(X, decode(network.U), decode(network.V))
    return Polynomial(*network.polynomial).hidden(X, decode(network.U), None)


@settings(max_examples=80, deadline=None)
@given(
    KINDS, st.integers(1, 3), st.lists(st.integers(0, 6), min_size=1, max_size=4), st.integers(0)
)
def test_each_output_is_its_network_and_no_neuron_is_stored_twice(kind, d, widths, seed):
    rng = np.random.default_rng(seed)
    networks = [make(d, m, rng, kind) for m in widths]
    stacked = stack(networks)
    assert stacked.alpha.shape == (stacked.neurons, len(networks))
    X = rng.standard_normal((5, d))
    f = stacked.decision_function(X)
    for c, network in enumerate(networks):
        size = np.abs(hidden(network, X)) @ np.abs(network.alpha)
        assert np.all(np.abs(f[:, c] - network.decision_function(X)) <= 1e-14 * (size + 1))
        # A multiple neuron of one network adds up.
        assert np.abs(stacked.alpha[:, c]).sum() <= np.abs(network.alpha).sum() * (1 + 1e-14)
    assert stacked.neurons <= sum(widths)
    kept = ("alphabet", "activation", "polynomial", "second_layer", "beta", "loss", "d")
    for name in kept:
        assert getattr(stacked, name) == getattr(networks[0], name)
    assert QuantizedNetwork.from_bytes(stacked.to_bytes()).to_bytes() == stacked.to_bytes()
    for part, network in zip(unstack(stacked), networks, strict=True):
        size = np.abs(hidden(network, X)) @ np.abs(network.alpha)
        difference = part.decision_function(X) - network.decision_function(X)
        assert np.all(np.abs(difference) <= 1e-14 * (size + 1))
        assert part.alpha.all()
    assert stack(unstack(stacked)).to_bytes() == stacked.to_bytes() or kind[2] != "float"
    if kind[2] == "float":
        # Neurons that compute the same up to sign are one; those that say 0 matter to none.
        H = hidden(stacked, X)
        same = (np.abs(H[:, :, None] - H[:, None, :]).max(axis=0, initial=0) < 1e-9) | (
            np.abs(H[:, :, None] + H[:, None, :]).max(axis=0, initial=0) < 1e-9
        )
        dead = np.abs(H).max(axis=0, initial=0.0) < 1e-9
        np.fill_diagonal(same, False)
        assert not same[~dead][:, ~dead].any()


def test_shared_neurons_by_hand():
    u, v = np.array([[1], [1], [-1]]), np.array([[1], [-1], [1]])
    one = QuantizedNetwork(u, v, np.array([1.0]))
    two = QuantizedNetwork(np.hstack([-v, u]), np.hstack([u, u]), np.array([2.0, 5.0]))
    none = QuantizedNetwork(u[:, :0], v[:, :0], np.zeros(0))
    stacked = stack([one, two, none])
    assert stacked.alpha.tolist() == [[1.0, -2.0, 0.0], [0.0, 5.0, 0.0]]
    assert stacked.U.T.tolist() == [[1, 1, -1], [1, 1, -1]]
    assert stacked.V.T.tolist() == [[1, -1, 1], [1, 1, -1]]
    # 12 weights, a map of 6 entries, 3 scalars.
    assert stacked.size_in_bytes == 3 + 3 * 8
    apart = sum(network.size_in_bytes for network in (one, two))
    assert stacked.size_in_bytes < apart + 1


def test_neurons_that_stand_several_times_stay_on_the_grid():
    U = np.ones((2, 3), dtype=np.int8)
    twice = QuantizedNetwork(U, U, np.array([0.5, 0.5, 0.5]), second_layer="common")
    once = QuantizedNetwork(U[:, :1], U[:, :1], np.array([-0.2]), second_layer="common")
    stacked = stack([once, twice])
    assert stacked.alpha.tolist() == [[-0.2, 0.5], [0.0, 0.5], [0.0, 0.5]]
    free = [replace(network, second_layer="float") for network in (once, twice)]
    assert stack(free).alpha.tolist() == [[-0.2, 1.5]]


def test_neurons_with_alpha_0_are_left_out():
    U = np.array([[1, 1], [1, -1]])
    network = QuantizedNetwork(U, U, np.array([0.0, 2.0]))
    assert stack([network, network]).alpha.tolist() == [[2.0, 2.0]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alphabet": "ternary"}, "number 1 has alphabet ternary, number 0 has binary"),
        ({"beta": 2.0}, "number 1 has beta 2.0, number 0 has 1.5"),
        ({"loss": "hinge"}, "number 1 has loss hinge, number 0 has squared"),
        (
            {"loss_parameter": 0.5},
            "number 1 has loss_parameter 0.5, number 0 has None",
        ),
        (
            {"alpha": np.ones(3), "second_layer": "common"},
            "number 1 has second_layer common, number 0 has float",
        ),
        (
            {"V": None, "activation": "polynomial", "polynomial": (1, 0, 0)},
            "number 1 has activation polynomial, number 0 has bilinear",
        ),
    ],
)
def test_networks_of_different_kinds_are_refused(changes, message):
    rng = np.random.default_rng(0)
    network = make(4, 3, rng, ("binary", None, "float"))
    with pytest.raises(InputError) as error:
        stack([network, replace(network, **changes)])
    assert str(error.value) == f"stack takes networks of one kind: {message}"


def test_what_cannot_be_stacked_is_refused():
    from qnn.features.preprocessing import FeatureLayout

    rng = np.random.default_rng(0)
    network, other = (make(d, 3, rng, ("binary", None, "float")) for d in (4, 3))
    with pytest.raises(InputError, match=r"^stack needs at least one network$"):
        stack([])
    with pytest.raises(InputError, match=r"of one kind: number 1 has d 3, number 0 has 4$"):
        stack([network, other])
    with pytest.raises(InputError) as error:
        stack([network, stack([network, network])])
    assert str(error.value) == (
        "stack takes networks of one output: number 1 has alpha of shape (2, 2)"
    )
    X = rng.standard_normal((6, 3))
    prepared = replace(network, preprocessing=FeatureLayout.from_table(X).fit(X, X[:, 0]))
    with pytest.raises(InputError) as error:
        stack([prepared])
    assert str(error.value) == (
        "stack takes networks without preprocessing, but number 0 has one: give the stack one that "
        "codes all targets"
    )


@pytest.mark.parametrize(
    ("classes", "outputs", "name", "index"),
    [(("a", "b,c", "d"), None, "b,c", 1), ((3, 1, 2), None, "1", 1), (None, 3, "2", 2)],
)
def test_a_single_output_is_a_network_of_its_own(classes, outputs, name, index):
    whole, rows = cases.network("quantile", classes=classes, outputs=outputs), cases.table()
    scores, said = whole.scores(rows)[:, index], whole.predict(rows)
    alone = single_output(whole, name)
    atol = cases.tolerance(whole, rows)
    np.testing.assert_allclose(alone.scores(rows), scores, rtol=0, atol=atol)
    own = alone.predict(rows)
    if classes is None:
        np.testing.assert_allclose(own, said[:, index], rtol=1e-10)
    else:
        assert own.tolist() == (scores > 0).tolist()
    assert alone.alpha.all()
    assert alone.neurons < whole.neurons
    assert QuantizedNetwork.from_bytes(alone.to_bytes()).to_bytes() == alone.to_bytes()


def test_a_single_output_without_preprocessing_has_a_number():
    stacked = stack([make(3, 2, np.random.default_rng(seed), ("binary", None, "float"))
                     for seed in range(2)])  # fmt: skip
    assert single_output(stacked, "1").to_bytes() == unstack(stacked)[1].to_bytes()


def test_an_output_that_is_not_there_is_named():
    whole = cases.network("none", classes=("a", "b", "c"))
    with pytest.raises(InputError, match=r"has no output '1': choose one of a, b, c$"):
        single_output(whole, "1")
    with pytest.raises(InputError, match=r"has no output '-1': choose one of 0, 1$"):
        single_output(cases.network("none", classes=None, outputs=2), "-1")
    with pytest.raises(InputError, match="the network has one output"):
        single_output(cases.network("none"), "yes")
