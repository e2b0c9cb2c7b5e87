"""The streaming verifier proves what is true and refuses every tampered field."""

import numpy as np
import pytest

from qnn.certificates.checker import verify
from qnn.certificates.record import Certificate
from qnn.certificates.streaming import verify_stream
from qnn.errors import CertificateError
from qnn.training.relaxation.streaming.solve import solve_stream
from tests.qnn.certificates.members import changed, members


def make() -> tuple[Certificate, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    X = rng.normal(size=(120, 5))
    y = X[:, 0] * X[:, 1] - X[:, 2] ** 2 + 0.3 * rng.normal(size=120)
    return solve_stream([(X, y)], 2.0).certificate, X, y


CERTIFICATE, X, Y = make()
Z, A = members(CERTIFICATE).nu_matrix, members(CERTIFICATE).diag


def test_it_proves_what_it_states_however_the_rows_are_cut():
    for places in ([], [1], [50, 51, 100]):
        batches = list(zip(np.split(X, places), np.split(Y, places), strict=True))
        assert verify_stream(CERTIFICATE, batches) >= CERTIFICATE.lower_bound


def test_it_survives_a_file(tmp_path):
    CERTIFICATE.save(tmp_path / "c.npz")
    loaded = Certificate.load(tmp_path / "c.npz")
    np.testing.assert_array_equal(members(loaded).nu_matrix, Z)
    assert verify_stream(loaded, [(X, Y)]) == verify_stream(CERTIFICATE, [(X, Y)])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lower_bound": CERTIFICATE.lower_bound * 1.0001}, "it states the bound"),
        ({"beta": 1.9}, "spends more than beta"),
        ({"beta": np.nan}, "beta must be positive"),
        ({"d": 4}, "must be 4 x 4"),
        ({"diag": A * 1.001}, "spends more than beta"),
        ({"diag": A * 0.99}, "not proven"),
        ({"diag": A[:-1]}, "diag must be 5 finite numbers"),
        ({"diag": None}, "diag does not belong to this activation, or is missing"),
        ({"diag_positive": A}, "does not belong"),
        ({"nu_matrix": 0.9 * Z}, "not proven|it states"),
        ({"nu_matrix": None}, "no compressed dual point"),
        ({"nu_matrix": np.full((5, 5), np.inf)}, "finite"),
        ({"nu": np.zeros(120)}, "no compressed dual point"),
        ({"loss": "absolute"}, "squared loss"),
        ({"loss_parameter": 1.0}, "squared loss"),
        ({"activation": "polynomial"}, "bilinear activation"),
        ({"polynomial": np.ones(3)}, "bilinear activation"),
        ({"alphabet": "3"}, "binary alphabet"),
        ({"kind": "exact"}, "unknown kind"),
        ({"format": 2}, "certificate format 2 is not 1"),
        ({"data_sha256": "0" * 64}, "SHA-256 differs"),
    ],
)
def test_a_tampered_field_is_refused(changes, message):
    with pytest.raises(CertificateError, match=message):
        verify_stream(changed(CERTIFICATE, **changes), [(X, Y)])


def test_other_rows_are_refused():
    changed = X.copy()
    changed[17, 2] += 1e-12
    with pytest.raises(CertificateError, match="SHA-256 differs"):
        verify_stream(CERTIFICATE, [(changed, Y)])
    with pytest.raises(CertificateError, match="it is for 5 columns, the data have 4"):
        verify_stream(CERTIFICATE, [(X[:, :4], Y)])


def test_the_two_kinds_of_certificate_are_not_mixed_up():
    with pytest.raises(CertificateError, match="check it with verify_stream"):
        verify(CERTIFICATE, X, Y)
