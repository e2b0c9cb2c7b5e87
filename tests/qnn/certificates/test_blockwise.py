"""The checker over blocks proves what is true and refuses every tampered field and block."""

import hashlib
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from qnn.certificates.blockwise import (
    BlockFacts,
    ProofPass,
    ProofSums,
    combine,
    proven_bound,
    verify_blocks,
)
from qnn.certificates.checker import verify
from qnn.certificates.claim import Claim
from qnn.certificates.proofs.blocks import BlocksProof, merkle_root
from qnn.certificates.record import Certificate
from qnn.certificates.streaming import verify_stream
from qnn.errors import CertificateError, InputError
from qnn.losses import LOSSES, MarginLoss, get_loss
from qnn.numerics.blocks import LocalBlocks
from qnn.training.relaxation.blocks.solve import solve_blocks
from tests.qnn.certificates.members import changed, members

CUTS = [20, 55, 60, 90]


def cut(X: np.ndarray, y: np.ndarray, cuts: list[int] = CUTS) -> LocalBlocks:
    pairs = zip(np.split(X, cuts), np.split(y, cuts), strict=True)
    return LocalBlocks([[pair] for pair in pairs])


def make() -> tuple[Certificate, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    X = rng.normal(size=(120, 5))
    y = X[:, 0] * X[:, 1] - X[:, 2] ** 2 + 0.3 * rng.normal(size=120)
    return solve_blocks(cut(X, y), 2.0).certificate, X, y


CERTIFICATE, X, Y = make()
HELD = members(CERTIFICATE)
A, Z, ROWS, DIGESTS, VALUES = (
    HELD.diag, HELD.nu_matrix, HELD.block_rows, HELD.block_sha256, HELD.block_values,
)  # fmt: skip


def test_it_takes_no_sample_weights():
    with pytest.raises(CertificateError, match="no sample weights"):
        verify_blocks(CERTIFICATE.stating(weights=np.ones(120)), cut(X, Y))


def test_it_proves_what_it_states_however_a_block_is_read():
    bound = verify_blocks(CERTIFICATE, cut(X, Y))
    assert bound >= CERTIFICATE.lower_bound
    pieces = [
        [(part, target) for part, target in zip(np.split(rows, [3]), np.split(y, [3]), strict=True)]
        for rows, y in zip(np.split(X, CUTS), np.split(Y, CUTS), strict=True)
    ]
    assert verify_blocks(CERTIFICATE, LocalBlocks(pieces)) >= CERTIFICATE.lower_bound


def test_it_survives_a_file():
    again = Certificate.from_bytes(CERTIFICATE.to_bytes(), "bytes")
    assert again.to_bytes() == CERTIFICATE.to_bytes()
    assert verify_blocks(again, cut(X, Y)) == verify_blocks(CERTIFICATE, cut(X, Y))


def one_more(values: np.ndarray, place: tuple[int, ...]) -> np.ndarray:
    values = values.copy()
    values[place] += 1
    return values


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lower_bound": CERTIFICATE.lower_bound * 1.0001}, "it states the bound"),
        ({"lower_bound": np.nan}, "it states the bound"),
        ({"beta": 1.9}, "spends more than beta"),
        ({"beta": np.nan}, "beta must be positive"),
        ({"beta": -2.0}, "beta must be positive"),
        ({"d": 4}, "must be 4 x 4"),
        ({"diag": A * 1.001}, "spends more than beta"),
        ({"diag": A * 0.99}, "not proven"),
        ({"diag": A[:-1]}, "diag must be 5 finite numbers"),
        ({"diag": A * np.inf}, "diag must be 5 finite numbers"),
        ({"diag": None}, "diag does not belong to this activation, or is missing"),
        ({"diag_positive": A}, "does not belong"),
        ({"nu_matrix": 0.9 * Z}, "not proven|it states|states the value"),
        ({"nu_matrix": 1e300 * Z}, "overflow"),
        ({"nu_matrix": None}, "unknown method"),
        ({"nu_matrix": np.full((5, 5), np.inf)}, "finite"),
        ({"nu_matrix": Z[:4]}, "must be 5 x 5"),
        ({"nu_scale": None}, "nu_scale is missing"),
        ({"nu_scale": 1.01}, "not proven|states the value"),
        ({"nu_scale": 0.5}, "states the value"),
        ({"nu_scale": -1.0}, "nu_scale must be"),
        ({"nu_scale": np.nan}, "nu_scale must be"),
        ({"nu_scale": np.float32(1.0)}, "wrong type"),
        ({"nu_smoothing": None}, "nu_smoothing is missing"),
        ({"nu_smoothing": -1.0}, "nu_smoothing must be"),
        ({"nu_smoothing": np.inf}, "nu_smoothing must be"),
        ({"nu_smoothing": 1.0}, "states the value"),
        ({"nu_smoothing": 5e-324}, "overflow|states the value|not proven"),
        ({"block_rows": None}, "block_rows is missing"),
        ({"block_rows": one_more(ROWS, (1,))}, "do not make its root"),
        ({"block_rows": ROWS[:0]}, "every block must have rows"),
        ({"block_rows": -ROWS}, "every block must have rows"),
        ({"block_rows": ROWS[:-1]}, "but not one digest and value each"),
        ({"block_rows": ROWS.astype(float)}, "wrong type"),
        ({"block_sha256": None}, "block_sha256 is missing"),
        ({"block_sha256": one_more(DIGESTS, (2, 7))}, "do not make its root"),
        ({"block_sha256": DIGESTS[:, :31]}, "but not one digest and value each"),
        ({"block_sha256": DIGESTS.astype(np.int8)}, "wrong type"),
        ({"block_values": None}, "block_values is missing"),
        ({"block_values": one_more(VALUES, (3,))}, "block 3 states the value"),
        ({"block_values": VALUES * np.nan}, "states the value"),
        ({"block_values": VALUES[:-1]}, "but not one digest and value each"),
        ({"nu": np.zeros(120)}, "no dual point over blocks"),
        ({"loss": "absolute"}, "nu_smoothing must be positive"),
        ({"loss": "logistic"}, "needs targets -1 or"),
        ({"loss": "huber"}, "its parameter is missing"),
        ({"loss": "made up"}, "not known"),
        ({"loss_parameter": 1.0}, "takes no parameter"),
        ({"activation": "polynomial"}, "bilinear activation"),
        ({"polynomial": np.ones(3)}, "bilinear activation"),
        ({"alphabet": "3"}, "binary alphabet"),
        ({"method": None}, "block_rows does not belong|missing"),
        ({"method": "leaves"}, "unknown method"),
        ({"kind": "exact"}, "unknown method|unknown kind"),
        ({"format": 2}, "certificate format 2 is not 1"),
        ({"data_sha256": "0" * 64}, "do not make its root"),
    ],
)  # fmt: skip
def test_a_tampered_field_is_refused(changes, message):
    with pytest.raises((CertificateError, InputError), match=message):
        verify_blocks(changed(CERTIFICATE, **changes), cut(X, Y))


def test_other_rows_are_refused_and_the_block_is_named():
    other = X.copy()
    other[57, 2] += 1e-12
    with pytest.raises(CertificateError, match="block 2 has other rows"):
        verify_blocks(CERTIFICATE, cut(other, Y))
    with pytest.raises(CertificateError, match="for 5 columns, block 0 has 4"):
        verify_blocks(CERTIFICATE, cut(X[:, :4], Y))
    with pytest.raises(CertificateError, match="block 0 has other rows"):
        verify_blocks(CERTIFICATE, cut(X, Y, [21, 55, 60, 90]))
    with pytest.raises(CertificateError, match="5 blocks of rows, the data have 4"):
        verify_blocks(CERTIFICATE, cut(X, Y, [20, 55, 60]))
    swapped = [[(X[s], Y[s])] for s in map(slice, [20, 0, 55, 60, 90], [55, 20, 60, 90, 120])]
    with pytest.raises(CertificateError, match="block 0 has other rows"):
        verify_blocks(CERTIFICATE, LocalBlocks(swapped))
    with pytest.raises(InputError, match="NaN or infinity"):
        verify_blocks(CERTIFICATE, cut(np.where(X[3, 3] == X, np.nan, X), Y))


def sums_of(blocks: LocalBlocks) -> list[ProofSums]:
    work = ProofPass(CERTIFICATE)
    found: list[ProofSums] = []
    blocks.reduce(lambda b, rows: found.append(work(b, rows)), lambda left, right: None)
    return found


def test_a_block_that_is_dropped_doubled_or_swapped_is_refused():
    parts = sums_of(cut(X, Y))
    for order in ([0, 1, 2, 3], [0, 1, 1, 2, 3, 4], [1, 0, 2, 3, 4], [0, 0, 2, 3, 4]):
        total = parts[order[0]]
        for b in order[1:]:
            total = combine(total, parts[b])
        with pytest.raises(CertificateError, match="each block once, in order"):
            proven_bound(CERTIFICATE, total)


def test_the_root_depends_on_every_block_its_place_and_its_rows():
    root = merkle_root(ROWS, DIGESTS)
    assert root == CERTIFICATE.data_sha256
    others = {
        merkle_root(ROWS[:-1], DIGESTS[:-1]),
        merkle_root(ROWS[::-1], DIGESTS[::-1]),
        merkle_root(np.append(ROWS, ROWS[-1]), np.vstack([DIGESTS, DIGESTS[-1:]])),
        *(merkle_root(one_more(ROWS, (b,)), DIGESTS) for b in range(5)),
        *(merkle_root(ROWS, one_more(DIGESTS, (b, 0))) for b in range(5)),
    }
    assert root not in others
    assert len(others) == 13
    # By hand, for three blocks: ((0, 1), 2).
    leaves = [
        hashlib.sha256(b"\0" + int(n).to_bytes(8, "little") + digest.tobytes()).digest()
        for n, digest in zip(ROWS[:3], DIGESTS[:3], strict=True)
    ]
    pair = hashlib.sha256(b"\1" + leaves[0] + leaves[1]).digest()
    by_hand = hashlib.sha256(b"\1" + pair + leaves[2]).hexdigest()
    assert merkle_root(ROWS[:3], DIGESTS[:3]) == by_hand


def test_the_kinds_of_certificate_are_not_mixed_up():
    with pytest.raises(CertificateError, match="check it with"):
        verify(CERTIFICATE, X, Y)
    with pytest.raises(CertificateError, match="no compressed dual point"):
        verify_stream(CERTIFICATE, [(X, Y)])


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_the_sums_are_within_their_bounds_in_rational_arithmetic(name):
    """The dual value is never above the exact one; M's error is within the radius that is used."""
    rng = np.random.default_rng(11)
    loss = get_loss(name)
    X = rng.normal(size=(24, 3)) * 10.0 ** rng.integers(-6, 6, size=(24, 1))
    y = rng.choice([-1.0, 1.0], 24) if isinstance(loss, MarginLoss) else rng.normal(size=24)
    claim = Claim(-np.inf, 1.0, 3, "", loss.name, loss.parameter)
    step = 0.0 if loss.smooth else 0.3
    Z = np.diag([0.5, -0.2, 0.1])
    proof = BlocksProof(
        (np.zeros(3),), Z, 0.7, step, np.array([24]), np.zeros((1, 32), np.uint8), np.zeros(1)
    )
    certificate = Certificate(claim, np.empty(0), proof)
    blocks = cut(X, y, [7, 8, 20])
    sums = blocks.reduce(ProofPass(certificate, stated=False), combine)
    assert [b.rows for b in sums.blocks] == [7, 1, 12, 4]
    assert [b.digest for b in sums.blocks] == [
        hashlib.sha256(np.column_stack(pair).astype("<f8").tobytes()).digest()
        for pair in zip(np.split(X, [7, 8, 20]), np.split(y, [7, 8, 20]), strict=True)
    ]
    nu = np.concatenate(
        [proof.dual_point(loss, *pair)
         for pair in zip(np.split(X, [7, 8, 20]), np.split(y, [7, 8, 20]), strict=True)]
    )  # fmt: skip
    exact = [
        [sum(Fraction(float(n)) * Fraction(float(r[i])) * Fraction(float(r[j]))
             for n, r in zip(nu, X, strict=True)) for j in range(3)] for i in range(3)
    ]  # fmt: skip
    unit = Fraction(1, 2**53)
    for i in range(3):
        error = sum(abs(Fraction(float(sums.M[i, j])) - exact[i][j]) for j in range(3))
        # 12 rows at most, 2 levels of the tree, 2 products.
        assert error <= (12 + 2 + 2) * unit * Fraction(float(sums.sizes[i])) * Fraction(101, 100)
    if name == "squared":
        true = sum(
            Fraction(float(n)) * Fraction(float(t)) - Fraction(float(n)) ** 2 / 2
            for n, t in zip(nu, y, strict=True)
        )
        assert sum(Fraction(b.value) for b in sums.blocks) <= true
    plain = loss.dual_value(nu, y)
    assert sum(b.value for b in sums.blocks) <= plain + 1e-12 * abs(plain)


@pytest.mark.parametrize("scale", [1e-300, 5e-324, 1e-150, 1e150, 1e300])
def test_extreme_scales_end_in_a_proof_or_a_refusal(scale):
    """Rows of any size: what is proven at the same numbers is at most the zero network's loss."""
    for rows, targets in ((scale * X, Y), (X, scale * Y), (scale * X, scale * Y)):
        blocks = cut(rows, targets)
        with np.errstate(all="ignore"):
            try:
                other = changed(CERTIFICATE, lower_bound=-np.inf, block_values=-np.inf * VALUES**0)
                sums = blocks.reduce(ProofPass(other, stated=False), combine)
                listed = {
                    "block_rows": np.array([b.rows for b in sums.blocks]),
                    "block_sha256": np.array([list(b.digest) for b in sums.blocks], np.uint8),
                }
                root = merkle_root(listed["block_rows"], listed["block_sha256"])
                bound = verify_blocks(changed(other, data_sha256=root, **listed), blocks)
            except CertificateError:
                continue
        assert bound <= 0.5 * float(targets @ targets) * (1.0 + 1e-9)


def test_facts_of_a_foreign_block_are_refused():
    sums = sums_of(cut(X, Y))
    total = sums[0]
    for part in sums[1:]:
        total = combine(total, part)
    assert proven_bound(CERTIFICATE, total) >= CERTIFICATE.lower_bound
    more = replace(total, blocks=(*total.blocks, BlockFacts(5, 1, b"", 1e9)))
    with pytest.raises(CertificateError, match="each block once"):
        proven_bound(CERTIFICATE, more)
