"""Format 2 of a CSP's certificate: fewer bytes, which prove no more than before."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qnn.certificates.csp import CspCertificate, Payoffs, proven_upper_bound, verify_csp
from qnn.certificates.csp.packing import pack, unpack
from qnn.errors import CertificateError, InputError
from qnn.moments.csp import MaxCSP, random_csp, rudy
from qnn.numerics.archive import pack_arrays
from tests.qnn.certificates.test_csp import proven

FOLDER = Path(__file__).parents[2] / "data" / "certificates"
FIELDS = ("tree", "diagonals", "exclusions", "cut_starts", "cut_entries", "cut_coefficients",
          "leaf_starts", "leaf_cuts", "multipliers")  # fmt: skip
Proven = tuple[MaxCSP, CspCertificate, float]
__all__ = ["proven"]


def same(one: CspCertificate, other: CspCertificate) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in FIELDS)


def holds(data: bytes, payoffs: Payoffs, truth: float) -> bool:
    """Refused in a line, or a proof of something true; whether it was read."""
    with np.errstate(all="raise", under="ignore"):
        try:
            read = CspCertificate.from_bytes(data, "file")
        except InputError:
            return False
        try:
            bound = proven_upper_bound(read, payoffs)
        except (CertificateError, FloatingPointError):
            return True
    assert bound >= truth
    return True


def test_a_file_of_the_first_format_is_proven_and_written_byte_for_byte() -> None:
    data = (FOLDER / "csp.npz").read_bytes()
    certificate = CspCertificate.from_bytes(data)
    assert certificate.format == 1
    payoffs = Payoffs.load(FOLDER / "csp-problem.npz")
    assert verify_csp(certificate, payoffs) <= certificate.upper_bound
    assert certificate.to_bytes() == data


def test_what_is_packed_comes_back(proven: Proven) -> None:
    _, certificate, _ = proven
    assert certificate.format == 2
    again = CspCertificate.from_bytes(certificate.to_bytes())
    assert same(certificate, again)
    assert again.to_bytes() == certificate.to_bytes()
    for name in FIELDS:
        assert getattr(again, name).dtype == getattr(certificate, name).dtype
    plain = replace(certificate, format=1)
    assert same(CspCertificate.from_bytes(plain.to_bytes()), certificate)


def test_packing_alone_takes_less_than_a_third_of_the_bytes() -> None:
    certificate = rudy("g05_60.4").prove(most_nodes=5).certificate
    size = len(replace(certificate, format=1).to_bytes())
    assert len(certificate.to_bytes()) < size / 3
    assert np.all(certificate.multipliers > 0.0)


@pytest.mark.parametrize("seed", range(6))
def test_compact_leaves_prove_the_maximum_by_brute_force(seed: int) -> None:
    k = 2 + seed % 2
    problem = random_csp(6, k, 0.9, seed)
    assignments = np.stack(np.meshgrid(*[np.arange(k)] * 6), axis=-1).reshape(-1, 6)
    truth = max(problem.value(x) for x in assignments)
    for solution in (problem.prove(), problem.solve(1), problem.solve(0, cuts="none")):
        read = CspCertificate.from_bytes(solution.certificate.to_bytes())
        assert truth <= verify_csp(read, problem.payoffs) <= solution.upper_bound
    assert problem.prove().optimal


def test_every_byte_of_the_words_changed(proven: Proven) -> None:
    problem, certificate, truth = proven
    arrays = certificate.arrays()
    words = arrays["words"]
    rng = np.random.default_rng(0)
    places = np.unique(np.concatenate([np.arange(min(40, len(words))),
                                       rng.integers(0, len(words), 60)]))  # fmt: skip
    read = 0
    for at in places:
        for value in (0, 1, 2, 127, 128, 255, words[at] ^ 1):
            changed = words.copy()
            changed[at] = value
            read += holds(pack_arrays({**arrays, "words": changed}), problem.payoffs, truth)
    assert read > 0


def test_words_and_reals_cut_short_made_longer_or_of_any_size(proven: Proven) -> None:
    problem, certificate, truth = proven
    arrays = certificate.arrays()
    words, reals = arrays["words"], arrays["reals"]
    rng = np.random.default_rng(1)
    for changed in (words[:-1], words[1:], words[:0], np.append(words, np.uint8(0)),
                    np.append(words, words), words[::-1], rng.permutation(words),
                    np.full(50, 255, np.uint8), np.full(9, 127, np.uint8)):  # fmt: skip
        data = pack_arrays({**arrays, "words": changed})
        holds(data, problem.payoffs, truth)
    assert not holds(pack_arrays({**arrays, "words": words[:-1]}), problem.payoffs, truth)
    for value in (0.0, -0.0, 1e-45, 1e38, -1e38, np.inf, -np.inf, np.nan):
        for at in (0, len(reals) // 2, len(reals) - 1):
            other = reals.copy()
            other[at] = value
            holds(pack_arrays({**arrays, "reals": other}), problem.payoffs, truth)
    for other in (reals[:-1], reals[:0], np.append(reals, reals[:1])):
        holds(pack_arrays({**arrays, "reals": other}), problem.payoffs, truth)


def test_files_of_other_members_types_or_formats(proven: Proven) -> None:
    _, certificate, _ = proven
    arrays = certificate.arrays()
    for name, array in arrays.items():
        for other in (np.full(array.shape, b"x"), array.astype(bool), np.stack([array, array])):
            with pytest.raises(InputError):
                CspCertificate.from_bytes(pack_arrays({**arrays, name: other}), "file")
        rest = {key: value for key, value in arrays.items() if key != name}
        with pytest.raises(InputError):
            CspCertificate.from_bytes(pack_arrays(rest), "file")
    plain = replace(certificate, format=1).arrays()
    changes: list[dict[str, Any]] = [
        {**arrays, "more": np.zeros(1)},
        {**arrays, "format": np.asarray(1)},
        {**arrays, "format": np.asarray(3)},
        {**arrays, "words": arrays["words"].astype(np.int64)},
        {**arrays, "reals": arrays["reals"].astype(np.float64)},
        {**plain, "format": np.asarray(2)},
        {**plain, "words": arrays["words"]},
    ]
    for members in changes:
        with pytest.raises(InputError):
            CspCertificate.from_bytes(pack_arrays(members), "file")


def test_what_does_not_fit_is_refused_before_anything_is_written(proven: Proven) -> None:
    _, certificate, _ = proven
    multipliers = certificate.multipliers.copy()
    for value in (np.nan, np.inf, -1.0):
        multipliers[0] = value
        with pytest.raises(InputError, match="cannot be packed"):
            replace(certificate, multipliers=multipliers.copy()).to_bytes()
    multipliers[:2] = 1e-40, 1e30
    with pytest.raises(InputError, match="too far apart"):
        replace(certificate, multipliers=multipliers).to_bytes()
    with pytest.raises(InputError, match="should grow"):
        replace(certificate, cut_entries=certificate.cut_entries[::-1].copy()).to_bytes()


def test_numbers_have_one_form() -> None:
    for words in ([0x80, 0x00], [0x80] * 3, [0xFF] * 5 + [0x01], [0xFF, 0xFF, 0xFF, 0xFF, 0x7F]):
        with pytest.raises(ValueError, match=r"form|short|range"):
            unpack(np.array(words, dtype=np.uint8))


def test_extreme_multipliers_come_back(proven: Proven) -> None:
    _, certificate, _ = proven
    for unit in (np.float32(1e-45), np.float32(2.0**-100), np.float32(2.0**103)):
        multipliers = np.full(len(certificate.multipliers), unit, dtype=np.float32)
        multipliers[::2] = 0.0
        changed = replace(certificate, multipliers=multipliers)
        assert np.array_equal(unpack(pack(changed))["multipliers"], multipliers)
