import numpy as np
import pytest

from qnn.networks.activations import Polynomial
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.choice import solve
from qnn.training.rounding import refined
from qnn.training.rounding.candidate import build, empty, extended, narrowed
from qnn.training.rounding.local_search import price
from qnn.training.rounding.master import FEW, GramMaster, RefittedMaster, Rows, master_of


def spiky(n=150, d=20, beta=0.02, **kinds):
    rng = np.random.default_rng(0)
    X = np.where(rng.random((n, d)) < 0.3, np.exp(rng.standard_normal((n, d))), 0.0)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    y = np.sign(X[:, 0] * X[:, 1] + rng.standard_normal(n))
    problem = Problem(X, y, 1.0, **kinds)
    return problem.with_beta(beta * problem.beta_max)


def atoms_of(problem, count, seed):
    rng = np.random.default_rng(seed)
    parts, size = problem.atoms.parts, problem.atoms.size
    return problem.atoms.canonical(rng.choice([-1.0, 1.0], (parts, size, count)))[0]


WEIGHTS = np.random.default_rng(9).uniform(0.1, 5.0, 150)


@pytest.mark.parametrize(
    "kinds",
    [{}, {"activation": Polynomial(1.0, 0.5, 0.0)}, {"alphabet": 2}, {"sample_weight": WEIGHTS}],
)
def test_products_kept_give_what_a_refit_from_the_features_gives(kinds):
    problem = spiky(**kinds)
    refitted = build(problem, atoms_of(problem, 100, 1), np.zeros(100))
    master = GramMaster.of(refitted)
    for seed in (2, 3, 4):
        W = atoms_of(problem, 50, seed)
        refitted, master = extended(refitted, W), master.extended(W)
        assert master.objective == pytest.approx(refitted.objective, rel=1e-9)
        # Atoms that idle in the master and not in the other cannot make it worse.
        np.testing.assert_allclose(master.nu, refitted.nu, atol=1e-6)
    assert master.incumbent().objective == pytest.approx(refitted.objective, rel=1e-9)
    narrow = master.narrowed(20)
    assert narrow.width <= 20
    assert narrow.objective == pytest.approx(narrowed(refitted, 20).objective, rel=1e-6)
    assert narrow.incumbent().objective == pytest.approx(narrow.objective, rel=1e-9)


def test_an_extension_leaves_the_master_it_is_made_from():
    problem = spiky()
    master = GramMaster.of(build(problem, atoms_of(problem, 80, 1), np.zeros(80)))
    one = master.extended(atoms_of(problem, 40, 2))
    before = one.objective, one.nu.copy(), master.objective
    other = master.extended(atoms_of(problem, 40, 3))
    again = one.extended(atoms_of(problem, 40, 4))
    assert (one.objective, master.objective) == before[::2]
    np.testing.assert_array_equal(one.problem.y - one.alpha @ one.features.array, before[1])
    for found in (other, again):
        assert found.incumbent().objective == pytest.approx(found.objective, rel=1e-9)


def test_rows_are_copied_only_where_the_room_is_taken():
    rows = Rows(np.zeros((2, 3)))
    longer = rows.and_more(np.ones((1, 3)))
    first, second = longer.and_more(np.full((1, 3), 2.0)), longer.and_more(np.full((1, 3), 3.0))
    assert np.shares_memory(first.array, longer.array)
    assert not np.shares_memory(second.array, longer.array)
    np.testing.assert_array_equal(first.array[:, 0], [0.0, 0.0, 1.0, 2.0])
    np.testing.assert_array_equal(second.array[:, 0], [0.0, 0.0, 1.0, 3.0])


def test_products_are_kept_for_many_neurons_of_the_squared_loss_alone():
    problem = spiky()
    wide = build(problem, atoms_of(problem, 400, 1), np.zeros(400))
    assert wide.width > FEW
    assert isinstance(master_of(wide), GramMaster)
    assert isinstance(master_of(empty(problem)), RefittedMaster)
    hinge = spiky(loss="squared_hinge")
    wide = build(hinge, atoms_of(hinge, 400, 1), np.zeros(400))
    assert isinstance(master_of(wide), RefittedMaster)


@pytest.mark.parametrize("activation", ["bilinear", Polynomial(1.0, 0.5, 0.0)])
def test_atoms_are_spread_by_their_overlap(activation):
    problem = spiky(activation=activation)
    atoms = problem.atoms
    W = atoms_of(problem, 30, 5)
    W = np.concatenate([W, W[:, :, :5], W[::-1, :, :3]], axis=2)
    W[0, 0, -4] *= -1.0
    assert atoms.overlaps(W, W[:, :, 3])[[3, 33]] == pytest.approx(1.0)
    chosen = atoms.spread(W, 20, 0.5)
    assert chosen[0] == 0
    assert len(chosen) <= 20
    for place, k in enumerate(chosen):
        others = atoms.overlaps(W[:, :, chosen[:place]], W[:, :, k])
        assert others.max(initial=0.0) < 0.5
    assert atoms.spread(W, 20, 1.1) == list(range(20))


def test_turned_neurons_find_atoms_that_random_starts_do_not():
    problem = spiky(n=300, beta=0.01)
    relaxation = solve(problem)
    found, statistics = refined.column_generation(
        relaxation, np.random.default_rng(0), max_rounds=6
    )
    assert statistics["rounds"] == 6.0
    plain = price(found, np.random.default_rng(1))[1]
    turned = price(found, np.random.default_rng(1), flips=0.07)[1]
    assert len(turned) > len(plain)


def test_slow_progress_ends_it_for_many_neurons(monkeypatch):
    relaxation = solve(spiky(n=300, beta=0.01))
    _, plain = refined.column_generation(relaxation, np.random.default_rng(0))
    monkeypatch.setattr(refined, "ROOM", 20)
    _, slow = refined.column_generation(relaxation, np.random.default_rng(0), slow=0.02)
    assert slow["rounds"] < plain["rounds"]
    assert slow["violation"] > plain["violation"]


def test_a_dual_point_that_follows_the_masters_ends_as_low(monkeypatch):
    relaxation = solve(spiky(n=300, beta=0.01))
    _, plain = refined.column_generation(relaxation, np.random.default_rng(0), 1e-2)
    lowest = refined.column_generation(relaxation, np.random.default_rng(0), 1e-3)[0].objective
    monkeypatch.setattr(refined, "ROOM", 20)
    followed, statistics = refined.column_generation(relaxation, np.random.default_rng(0), 1e-2)
    assert statistics["rounds"] != plain["rounds"]
    assert lowest <= followed.objective <= 1.002 * lowest
