"""The checker of moment certificates: it agrees with exact arithmetic, and refuses all else."""

from collections.abc import Callable
from dataclasses import fields, replace
from fractions import Fraction

import numpy as np
import pytest

from qnn.certificates import read_certificate, verify
from qnn.certificates.moments import MomentCertificate, inequality, verify_moments
from qnn.certificates.moments.checker import definite_exactly
from qnn.certificates.moments.proofs import definite, prove_lower, prove_upper
from qnn.certificates.moments.structure import structure
from qnn.errors import CertificateError, InputError
from qnn.moments import bell
from qnn.numerics.archive import unpack_arrays

EXTREME = [np.nan, np.inf, -np.inf, 1e300, -1e300]
LEVEL = structure("2222", "1+AB")
CHSH = np.array([0, 0, 0, 0, 1, 1, 1, -1.0])


def make() -> dict[str, MomentCertificate]:
    d = bell.decide(bell.sample("B", 2, 0))
    return {
        "inside": d.certificate(0),
        "outside": d.certificate(1),
        "maximum": bell.maximum(CHSH).certificate,
    }


CERTIFICATES = make()
CLAIMS = list(CERTIFICATES)


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("exact", [False, True])
def test_what_is_made_is_proven_from_its_file(claim: str, exact: bool, tmp_path) -> None:
    CERTIFICATES[claim].save(tmp_path / "c.npz")
    back = MomentCertificate.load(tmp_path / "c.npz")
    for field in fields(back):
        np.testing.assert_array_equal(
            getattr(back, field.name), getattr(CERTIFICATES[claim], field.name)
        )
    bound = verify_moments(back, back.behaviour, exact=exact)
    assert bound > 1 if claim == "outside" else bound <= Fraction(back.bound)
    with np.load(tmp_path / "c.npz", allow_pickle=False) as plain:
        assert str(plain["claim"]) == claim


@pytest.mark.parametrize("claim", CLAIMS)
def test_the_kernel_reads_and_checks_it_as_any_kind(claim: str) -> None:
    certificate = CERTIFICATES[claim]
    back = read_certificate(unpack_arrays(certificate.to_bytes(), "c.npz", "certificate"), "c.npz")
    assert isinstance(back, MomentCertificate)
    exact, bound = verify_moments(back), verify(back)
    assert back.evidence is None
    assert repr(bound) in back.check()
    if claim == "outside":
        assert np.nextafter(float(exact), 0.0) <= bound <= exact
    else:
        assert exact <= bound <= np.nextafter(float(exact), 9.0)
    with pytest.raises(CertificateError, match="not that of the certificate"):
        verify(back, -certificate.behaviour)


def refused(certificate: MomentCertificate, message: str | None = None) -> None:
    for exact in (False, True):
        with pytest.raises(CertificateError, match=message) as raised:
            verify_moments(certificate, exact=exact)
        assert "\n" not in str(raised.value)


def flipped(array: np.ndarray) -> np.ndarray:
    return -array


def cut(array: np.ndarray) -> np.ndarray:
    return array[:-1]


def in_floats_of_32_bits(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32)


def as_list(array: np.ndarray) -> list:
    return array.tolist()


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("change", [flipped, cut, in_floats_of_32_bits, as_list])
@pytest.mark.parametrize("name", ["behaviour", "moments", "matrix"])
def test_changed_arrays_are_refused(claim: str, change: Callable, name: str) -> None:
    certificate = CERTIFICATES[claim]
    value = getattr(certificate, name)
    if value is not None:
        refused(replace(certificate, **{name: change(value)}))
        refused(replace(certificate, **{name: None}))
    else:
        refused(replace(certificate, **{name: np.zeros((9, 9))}), "do not belong")


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("value", EXTREME)
def test_extreme_entries_are_refused(claim: str, value: float) -> None:
    certificate = CERTIFICATES[claim]
    for name in ("behaviour", "moments", "matrix"):
        array = getattr(certificate, name)
        if array is None:
            continue
        for place in (0, array.size - 1):
            changed = array.copy()
            changed.flat[place] = value
            # A mean of 1e300 is outside indeed, and may be proven to be.
            if not (claim == "outside" and name == "behaviour" and abs(value) == 1e300):
                refused(replace(certificate, **{name: changed}))


@pytest.mark.parametrize("claim", ["outside", "maximum"])
@pytest.mark.parametrize("scale", [0.0, 5e-324, 1e-300, 1e300, -1.0])
def test_matrices_of_extreme_size_prove_nothing_that_is_not_true(claim: str, scale: float) -> None:
    certificate = CERTIFICATES[claim]
    assert certificate.matrix is not None
    with np.errstate(under="ignore"):
        scaled = replace(certificate, matrix=scale * certificate.matrix)
    if claim == "outside" and scale == 1e-300:
        # The gauge does not depend on the scale; exact arithmetic sees that.
        assert verify_moments(scaled, exact=True) > 1
        return
    if claim == "outside" and scale == 1e300:
        assert verify_moments(scaled, exact=True) > 1
        with pytest.raises(CertificateError):
            verify_moments(scaled)
        return
    refused(scaled)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("format", 2, "format"),
        ("claim", "sideways", "unknown claim"),
        ("claim", "", "unknown claim"),
        ("scenario", "3322", "must be"),
        ("scenario", "22", "scenario"),
        ("scenario", "9" * 4000, "scenario"),
        ("level", "2", "must be|not proven"),
        ("level", "7", "level"),
        ("bound", "", "decimal or a fraction"),
        ("bound", "nan", "decimal or a fraction"),
        ("bound", "inf", "decimal or a fraction"),
        ("bound", "1/0", "decimal or a fraction"),
        ("bound", "1e999999999", "decimal or a fraction"),
        ("bound", "1" * 2000, "decimal or a fraction"),
        ("constant", np.nan, "constant"),
        ("constant", np.inf, "constant"),
    ],
)
@pytest.mark.parametrize("claim", CLAIMS)
def test_changed_fields_are_refused(claim: str, name: str, value: object, message: str) -> None:
    refused(replace(CERTIFICATES[claim], **{name: value}), message)


def test_bounds_that_claim_more_are_refused() -> None:
    inside, outside, maximum = (CERTIFICATES[claim] for claim in CLAIMS)
    for bound in ("0.9", "0", "-1", "1.0000001"):
        refused(replace(inside, bound=bound))
    for bound in ("1", "0.5", "1.02", "100"):
        refused(replace(outside, bound=bound))
    for bound in ("2.8284271", "2", "-3"):
        refused(replace(maximum, bound=bound), "is proven")
    refused(replace(maximum, constant=1.0), "is proven")
    refused(replace(inside, constant=1.0), "constant")
    assert verify_moments(replace(maximum, bound="3")) < 3


def test_claims_cannot_be_exchanged() -> None:
    outside, maximum = CERTIFICATES["outside"], CERTIFICATES["maximum"]
    refused(replace(outside, claim="inside"), "do not belong")
    refused(replace(CERTIFICATES["inside"], claim="outside"), "do not belong")
    # A matrix for one claim proves something of the other's kind only where it is true.
    refused(replace(maximum, claim="outside", bound="1.0001", behaviour=0.7 * CHSH))
    refused(replace(outside, claim="maximum", behaviour=CHSH, bound="2.8"))
    box = replace(maximum, claim="outside", bound="1.4", behaviour=CHSH)
    assert verify_moments(box) > Fraction("1.414213")


def test_other_behaviours_and_matrices_that_are_not_symmetric_are_refused() -> None:
    outside = CERTIFICATES["outside"]
    with pytest.raises(CertificateError, match="not that of the certificate"):
        verify_moments(outside, np.nextafter(outside.behaviour, 2.0))
    changed = outside.matrix.copy()
    changed[0, 1] = np.nextafter(changed[0, 1], 2.0)
    refused(replace(outside, matrix=changed), "symmetric")
    with pytest.raises(CertificateError, match="no inequality"):
        inequality(CERTIFICATES["inside"])


@pytest.mark.parametrize("claim", CLAIMS)
def test_damaged_files_are_refused_or_harmless(claim: str) -> None:
    data = CERTIFICATES[claim].to_bytes()
    reference = CERTIFICATES[claim].arrays()
    for position in range(0, len(data), 11):
        changed = data[:position] + bytes([data[position] ^ 0x5A]) + data[position + 1 :]
        for damaged in (data[:position], changed):
            try:
                back = MomentCertificate.from_bytes(damaged, "c.npz").arrays()
            except InputError:
                continue
            assert back.keys() == reference.keys()
            for name, array in reference.items():
                np.testing.assert_array_equal(back[name], array)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("behaviour", np.zeros(8, np.float32)),
        ("behaviour", np.zeros((1, 8))),
        ("moments", np.zeros((2, 4))),
        ("bound", np.array(1.0)),
        ("kind", np.array("relaxation")),
        ("kind", np.array(3)),
        ("claim", np.array(["inside"])),
        ("format", np.array(1.0)),
        ("format", np.array(99)),
        ("constant", np.array("0")),
        ("stranger", np.array(0)),
    ],
)
def test_files_with_wrong_types_are_one_line(name: str, value: np.ndarray) -> None:
    arrays = {**CERTIFICATES["inside"].arrays(), name: value}
    with pytest.raises(InputError, match=r"^c\.npz: ") as raised:
        MomentCertificate.from_arrays(arrays, "c.npz")
    assert "\n" not in str(raised.value)
    del arrays[name]
    if name not in ("moments", "stranger"):
        with pytest.raises(InputError, match="lacks"):
            MomentCertificate.from_arrays(arrays, "c.npz")


def rational(matrix: np.ndarray) -> list[list[Fraction]]:
    return [[Fraction(value) for value in row] for row in matrix.tolist()]


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_definite_in_floats_is_definite_exactly(n: int) -> None:
    """Matrices at the very edge: accepting is allowed only where it is true."""
    rng = np.random.default_rng(n)
    accepted = 0
    for _ in range(200):
        W = rng.normal(size=(n, n)) * 10.0 ** rng.integers(-3, 3)
        S = W @ W.T
        S = (S + S.T) / 2
        lowest = np.linalg.eigvalsh(S)[0]
        S -= (lowest + rng.normal() * 1e-14 * np.trace(S)) * np.eye(n)
        if definite(S):
            accepted += 1
            assert definite_exactly(rational(S))
    assert accepted > 0
    assert not definite(np.full((n, n), np.nan))
    assert not definite(-np.eye(n))
    assert not definite(np.zeros((n, n)))
    assert definite(np.eye(n))
    assert definite_exactly(rational(np.eye(n)))
    assert not definite_exactly(rational(np.ones((n + 1, n + 1))))


@pytest.mark.parametrize(("scenario", "level"), [("2222", "1+AB"), ("2233", "1"), ("3322", "1")])
def test_batch_proofs_hold_in_rational_arithmetic(scenario: str, level: str) -> None:
    """Behaviours at the very edge of what a point or matrix proves."""
    known = structure(scenario, level)
    corners = bell.deterministic(scenario)
    b = 0.9 * np.random.default_rng(0).dirichlet(np.ones(len(corners)), 4) @ corners
    if scenario != "2233":
        b = bell.sample("B", 4, 1, scenario, level)
    d = bell.decide(b, scenario, level, gap=1e-9, steps=60)
    rng = np.random.default_rng(1)
    proposals = [d.cascade.run(b[i : i + 1])[0] for i in range(len(b))]
    accepted = 0
    for i, found in enumerate(proposals):
        m = d.cascade.moments(found)
        certificate = MomentCertificate("inside", scenario, level, b[i], "1", moments=m[0])
        for shift in 10.0 ** -rng.uniform(6, 17, 40):
            s = found.s * (1.0 - shift)
            if prove_upper(known, b[i : i + 1], m, s)[0] and s[0] <= 1.0:
                accepted += 1
                verify_moments(replace(certificate, bound=str(Fraction(float(s[0])))), exact=True)
        low = prove_lower(known, b[i : i + 1], found.Y)[0]
        if low > 1.0:
            accepted += 1
            outside = MomentCertificate(
                "outside", scenario, level, b[i], str(Fraction(float(low))), matrix=found.Y[0]
            )
            assert verify_moments(outside, exact=True) >= Fraction(float(low))
    assert accepted > 10


@pytest.mark.parametrize("value", [*EXTREME, 1e-300, 5e-324, 0.0, -1.0])
def test_batch_proofs_of_extreme_numbers_prove_nothing_false(value: float) -> None:
    d = bell.decide(CHSH[None], gap=1e-6)
    found, _ = d.cascade.run(CHSH[None])
    m = d.cascade.moments(found)
    for place in range(3):
        b, points, s = CHSH[None].copy(), m.copy(), found.s.copy()
        (b, points, s)[place].flat[0] = value
        proven = prove_upper(LEVEL, b, points, s)
        if proven[0]:
            # Only a change that is still true: a mean or a moment of almost nothing.
            assert place < 2
            assert abs(value) < 1e-200
    for place in (0, 3, 40):
        Y = found.Y.copy()
        Y[0].flat[place] = Y[0].T.flat[place] = value
        assert 0.0 <= prove_lower(LEVEL, CHSH[None], Y)[0] <= 2**0.5
    for scale in (value, 1.0):
        with np.errstate(all="ignore"):
            low = prove_lower(LEVEL, CHSH[None], scale * found.Y)[0]
        assert 0.0 <= low <= 2**0.5
    b = CHSH[None].copy()
    b[0, 2] = value
    low = prove_lower(LEVEL, b, found.Y)[0]
    assert low >= 0.0
    assert low < 1.5 or abs(value) > 1.0
    if not np.isfinite(value) or abs(value) == 1e300:
        assert low == 0.0
