"""Every loss over blocks: bounds that agree with those of one machine, and the same bits."""

import numpy as np
import pytest

import qnn
from qnn.certificates.blockwise import verify_blocks
from qnn.errors import CertificateError, InputError
from qnn.losses import LOSSES, MarginLoss, get_loss
from qnn.numerics.blocks import LocalBlocks
from qnn.training.relaxation.blocks import solve as front
from qnn.training.relaxation.blocks.low_rank import envelope
from qnn.training.relaxation.blocks.solve import first_pass, solve_blocks
from tests.qnn.certificates.members import changed
from tests.qnn.training.relaxation.blocks.test_compressed import Shared, cut


def rows(loss: str, n: int = 200, d: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n + d)
    X = np.hstack([rng.normal(size=(n, d - 1)), np.ones((n, 1))])
    f = X[:, 0] * X[:, 1] - X[:, 2] ** 2 + 0.5 * rng.normal(size=n) + 0.5
    return X, np.where(f > 0.0, 1.0, -1.0) if issubclass(LOSSES[loss], MarginLoss) else f


@pytest.fixture(autouse=True)
def never_compressed(monkeypatch):
    monkeypatch.setattr(front, "COMPRESSED_TO", 0)


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_the_bounds_enclose_the_optimum_that_another_solver_finds(loss):
    X, y = rows(loss)
    blocks = LocalBlocks(cut((X, y), 6))
    first = first_pass(blocks, loss, 1e-2)
    for fraction in (1.2, 0.2):
        beta = fraction * first.beta_max
        found = solve_blocks(blocks, beta, 1e-2, loss, first=first)
        other = qnn.solve(qnn.Problem(X, y, beta=beta, loss=loss), tol=1e-5)
        assert found.outcome == "solved"
        assert found.gap <= 1e-2
        assert found.lower_bound <= other.upper_bound
        assert other.lower_bound <= found.upper_bound * (1.0 + 1e-12)
        assert verify_blocks(found.certificate, blocks) >= found.lower_bound
        total = np.diag(found.P) + np.diag(found.N)
        np.testing.assert_allclose(total, found.rho, rtol=1e-12)
        for block in (found.P, found.N):
            assert np.linalg.eigvalsh(block).min() >= -1e-9 * max(found.rho, 1.0)
        value = get_loss(loss).value(np.einsum("ij,ij->i", X @ (found.P - found.N), X), y)
        assert abs(value + beta * 5 * found.rho - found.upper_bound) <= 1e-9 * found.upper_bound


def test_no_network_is_below_the_bound():
    X, y = rows("logistic", 40, 3)
    found = solve_blocks(LocalBlocks(cut((X, y), 3)), 0.5, 1e-3, "logistic")
    problem = qnn.Problem(X, y, beta=0.5, loss="logistic")
    assert found.lower_bound <= qnn.train(problem, certify="exact", seed=0).objective


@pytest.mark.parametrize("loss", ["hinge", "logistic"])
def test_the_bits_do_not_depend_on_the_number_of_owners(loss):
    blocks = cut(rows(loss), 5)
    first = solve_blocks(LocalBlocks(blocks), 4.0, 1e-2, loss)
    for owners in (2, 3, 5):
        again = solve_blocks(Shared(blocks, owners), 4.0, 1e-2, loss)
        assert again.certificate.to_bytes() == first.certificate.to_bytes()
        assert again.P.tobytes() == first.P.tobytes()


def test_a_path_goes_on_from_the_last_solution():
    blocks = LocalBlocks(cut(rows("logistic"), 4))
    first = first_pass(blocks, "logistic", 1e-3)
    start = solve_blocks(blocks, 0.1 * first.beta_max, 1e-3, "logistic", first=first)
    warm = solve_blocks(
        blocks, 0.09 * first.beta_max, 1e-3, "logistic", first=first, warm_start=(start.P, start.N)
    )
    assert warm.outcome == "solved"
    assert verify_blocks(warm.certificate, blocks) >= warm.lower_bound


@pytest.mark.parametrize("loss", ["hinge", "absolute"])
def test_the_envelope_is_below_the_loss_and_its_slope_is_right(loss):
    rng = np.random.default_rng(0)
    v, y = rng.normal(size=50), rng.choice([-1.0, 1.0], 50)
    found, step = get_loss(loss), 0.3
    value, slope = envelope(found, step, v, y)
    assert value <= found.value(v, y) <= value + 50 * step / 2
    for i in (0, 7, 31):
        h = 1e-6 * np.eye(50)[i]
        rise = envelope(found, step, v + h, y)[0] - envelope(found, step, v - h, y)[0]
        assert abs(rise / 2e-6 - slope[i]) <= 1e-5


@pytest.mark.parametrize("loss", ["hinge", "logistic", "huber"])
@pytest.mark.parametrize(
    ("field", "factor"),
    [("nu_scale", 1.02), ("nu_matrix", 1.5), ("nu_matrix", -1.0), ("nu_smoothing", 3.0),
     ("diag", 0.98), ("diag", 1.01), ("block_values", 1.001), ("lower_bound", 1.001)],
)  # fmt: skip
def test_a_tampered_dual_point_is_refused(loss, field, factor):
    blocks = LocalBlocks(cut(rows(loss, 60), 3))
    certificate = solve_blocks(blocks, 0.5, 1e-3, loss).certificate
    held = certificate.arrays()[field]
    if field == "nu_smoothing" and held == 0.0:
        held = np.array(0.3)
    with pytest.raises(CertificateError, match=r"not proven|states the|spends more"):
        verify_blocks(changed(certificate, **{field: factor * held}), blocks)


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_other_units_give_the_same_gap(scale):
    X, y = rows("logistic")
    found = solve_blocks(LocalBlocks(cut((scale * X, y), 3)), 3.0 * scale**2, 1e-2, "logistic")
    assert found.outcome == "solved"


def test_targets_that_a_loss_does_not_take_are_bad_input():
    X, y = rows("squared")
    for loss in ("hinge", "logistic"):
        with pytest.raises((InputError, CertificateError), match="needs targets -1 or"):
            solve_blocks(LocalBlocks(cut((X, y), 3)), 1.0, 1e-2, loss)
