"""Attacks on certificates of constraint satisfaction: no change may prove more than the truth."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qnn.certificates import read_certificate, verify
from qnn.certificates.csp import CspCertificate, Payoffs, proven_upper_bound, verify_csp
from qnn.errors import CertificateError, InputError
from qnn.moments.csp import MaxCSP, max_cut, max_k_cut, random_csp

EXTREME = (0.0, -0.0, 1.0, -1.0, 1e-300, 5e-324, 1e38, 1e300, np.inf, -np.inf, np.nan)
ARRAYS = [
    "tree",
    "diagonals",
    "exclusions",
    "cut_starts",
    "cut_entries",
    "cut_coefficients",
    "leaf_starts",
    "leaf_cuts",
    "multipliers",
]


@pytest.fixture(scope="module", params=["cut", "three"])
def proven(request: pytest.FixtureRequest) -> tuple[MaxCSP, CspCertificate, float]:
    rng = np.random.default_rng(1)
    if request.param == "cut":
        weights = np.triu(rng.standard_normal((9, 9)), 1)
        problem = max_cut(weights + weights.T)
    else:
        pairs = np.array(list(itertools.combinations(range(5), 2)))
        tables, unary = rng.standard_normal((10, 3, 3)), rng.standard_normal((5, 3))
        problem = MaxCSP.of_tables(5, 3, pairs, tables, unary, -1.25)
    certificate = problem.solve(1, rule="dual").certificate
    assert len(certificate.tree) > 1
    assert len(certificate.multipliers)
    return problem, certificate, problem.prove().value


def holds(certificate: CspCertificate, payoffs: Payoffs, truth: float) -> None:
    """It proves a true bound, or nothing: no other error, no warning of numpy."""
    with np.errstate(all="raise", under="ignore"):
        try:
            bound = proven_upper_bound(certificate, payoffs)
        except (CertificateError, FloatingPointError):
            return
    assert bound >= truth


def test_an_untouched_certificate_verifies(proven: tuple[MaxCSP, CspCertificate, float]) -> None:
    problem, certificate, truth = proven
    assert certificate.upper_bound >= verify_csp(certificate, problem.payoffs) >= truth
    with pytest.raises(CertificateError, match="only"):
        verify_csp(replace(certificate, upper_bound=truth - 1.0), problem.payoffs)
    with pytest.raises(CertificateError, match="only"):
        verify_csp(replace(certificate, upper_bound=np.nan), problem.payoffs)


@pytest.mark.parametrize("name", ARRAYS)
def test_every_entry_changed(name: str, proven: tuple[MaxCSP, CspCertificate, float]) -> None:
    problem, certificate, truth = proven
    array = getattr(certificate, name)
    rng = np.random.default_rng(0)
    for at in rng.permutation(len(array))[:40]:
        for value in EXTREME if array.dtype == np.float32 else (-2, -1, 0, 1, 2, 3, 100):
            changed = array.copy()
            with np.errstate(all="ignore"):
                changed[at] = value
            holds(replace(certificate, **{name: changed}), problem.payoffs, truth)


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_cut_short_made_longer_scaled_or_permuted(
    name: str, proven: tuple[MaxCSP, CspCertificate, float]
) -> None:
    problem, certificate, truth = proven
    array = getattr(certificate, name)
    rng = np.random.default_rng(1)
    changes: list[Any] = [array[:-1], array[1:], array[:0], np.append(array, array[-1:])]
    changes += [rng.permutation(array), array[::-1].copy()]
    if array.dtype == np.float32:
        changes += [(array * np.float32(factor)) for factor in (0.5, 0.999, 1.001, 2.0, -1.0)]
    for changed in changes:
        trial = replace(certificate, **{name: changed.astype(array.dtype)})
        holds(trial, problem.payoffs, truth)


def test_scalars_changed(proven: tuple[MaxCSP, CspCertificate, float]) -> None:
    problem, certificate, truth = proven
    for name in ("n", "k", "free", "format"):
        for value in (-2, -1, 0, 1, 2, 3, 7, 10**9):
            holds(replace(certificate, **{name: value}), problem.payoffs, truth)
    with pytest.raises(CertificateError, match="another problem"):
        verify_csp(replace(certificate, problem_sha256="0" * 64), problem.payoffs)


def test_a_variable_is_only_taken_as_zero_where_values_are_symmetric() -> None:
    problem = max_k_cut(6, 3, 0.9, 0)
    certificate = problem.solve(0).certificate
    assert certificate.free >= 0
    p = problem.payoffs
    unary = p.unary.copy()
    unary[0, 1] = 0.5
    with pytest.raises(CertificateError, match="not symmetric"):
        proven_upper_bound(certificate, replace(p, unary=unary))
    tables = p.tables.copy()
    tables[0, 0, 1] = 2.0
    with pytest.raises(CertificateError, match="not symmetric"):
        proven_upper_bound(certificate, replace(p, tables=tables))


def test_a_dropped_leaf_is_missed(proven: tuple[MaxCSP, CspCertificate, float]) -> None:
    problem, certificate, _ = proven
    cut_short = replace(
        certificate, tree=certificate.tree[:-1], leaf_starts=certificate.leaf_starts[:-1]
    )
    for trial in (cut_short, replace(certificate, tree=certificate.tree[:-1])):
        with pytest.raises(CertificateError):
            proven_upper_bound(trial, problem.payoffs)


def test_even_vectors_are_no_cuts(proven: tuple[MaxCSP, CspCertificate, float]) -> None:
    _, certificate, _ = proven
    coefficients = certificate.cut_coefficients.copy()
    coefficients[0] = 0
    with pytest.raises(CertificateError, match="even sum"):
        proven_upper_bound(replace(certificate, cut_coefficients=coefficients), proven[0].payoffs)


@pytest.mark.parametrize("scale", [1e-300, 5e-324, 1e-30, 1e30, 1e99, 1e300, np.inf, np.nan])
def test_payoffs_of_every_size(scale: float) -> None:
    problem = random_csp(5, 3, 0.8, 1)
    certificate, truth = problem.solve(0).certificate, problem.prove().value
    p = problem.payoffs
    with np.errstate(all="ignore"):
        scaled = replace(p, tables=p.tables * scale)
    with np.errstate(all="ignore"):
        try:
            bound = proven_upper_bound(certificate, scaled)
        except CertificateError:
            return
    assert bound >= truth * scale


def test_payoffs_of_wrong_shapes() -> None:
    p = random_csp(5, 3, 0.8, 1).payoffs
    certificate = random_csp(5, 3, 0.8, 1).solve(0).certificate
    pairs = p.pairs.copy()
    pairs[0] = (1, 1)
    changed = [
        replace(p, n=4),
        replace(p, k=2),
        replace(p, unary=p.unary[:4]),
        replace(p, tables=p.tables[:-1]),
        replace(p, pairs=p.pairs.astype(float)),
        replace(p, pairs=pairs),
        replace(p, pairs=p.pairs + 5),
        replace(p, constant=np.nan),
    ]
    for payoffs in changed:
        with pytest.raises(CertificateError):
            proven_upper_bound(certificate, payoffs)


def test_files_with_changed_bytes_are_refused_or_change_nothing(
    proven: tuple[MaxCSP, CspCertificate, float],
) -> None:
    problem, certificate, truth = proven
    data = certificate.to_bytes()
    rng = np.random.default_rng(2)
    for at in rng.integers(0, len(data), 150):
        changed = bytearray(data)
        changed[at] ^= 1 << int(rng.integers(8))
        try:
            read = CspCertificate.from_bytes(bytes(changed), "changed")
        except InputError:
            continue
        holds(read, problem.payoffs, truth)


def test_files_of_other_fields_or_types(proven: tuple[MaxCSP, CspCertificate, float]) -> None:
    from qnn.numerics.archive import pack_arrays

    _, certificate, _ = proven
    arrays = certificate.arrays()
    for name, array in arrays.items():
        for other in (np.full(array.shape, b"x"), array.astype(bool), np.stack([array, array])):
            with pytest.raises(InputError):
                CspCertificate.from_bytes(pack_arrays({**arrays, name: other}), "file")
        without = {key: value for key, value in arrays.items() if key != name}
        with pytest.raises(InputError, match="lacks"):
            CspCertificate.from_bytes(pack_arrays(without), "file")
    with pytest.raises(InputError, match="has"):
        CspCertificate.from_bytes(pack_arrays({**arrays, "more": np.zeros(1)}), "file")


def test_the_files_of_a_proof_and_its_problem(
    proven: tuple[MaxCSP, CspCertificate, float], tmp_path: Path
) -> None:
    problem, certificate, _ = proven
    certificate.save(tmp_path / "proof.npz")
    problem.payoffs.save(tmp_path / "problem.npz")
    read = read_certificate(dict(np.load(tmp_path / "proof.npz")), "proof.npz")
    assert isinstance(read, CspCertificate)
    assert verify(read, Payoffs.load(tmp_path / "problem.npz")) <= certificate.upper_bound
    said = read.check((tmp_path / "problem.npz").read_bytes())
    assert said.startswith(f"value <= {certificate.upper_bound!r}") or "value <= " in said
    for evidence in (None, b"", (tmp_path / "proof.npz").read_bytes()):
        with pytest.raises(CertificateError):
            read.check(evidence)


def test_changed_files_of_a_problem_are_refused(
    proven: tuple[MaxCSP, CspCertificate, float],
) -> None:
    problem, certificate, _ = proven
    data = problem.payoffs.to_bytes()
    rng = np.random.default_rng(3)
    for at in rng.integers(0, len(data), 100):
        changed = bytearray(data)
        changed[at] ^= 1 << int(rng.integers(8))
        try:
            certificate.check(bytes(changed))
        except CertificateError:
            continue
        assert Payoffs.from_bytes(bytes(changed), "x").digest() == problem.payoffs.digest()
