"""A certificate: what it proves, and what the rows that name it say of its problem."""

from collections.abc import Sequence

import numpy as np

from pipeline.results.matrices import blocks_of
from pipeline.results.record import NetworkRow
from pipeline.results.verification.evidence import Evidence
from pipeline.results.verification.rows import Rows
from pipeline.results.verification.statements import (
    check_closing_in,
    check_kind,
    check_problem,
    check_proof,
    same,
)
from pipeline.results.verification.verdict import Failure, Skipped
from pipeline.results.verification.weights import check_weights
from qnn.certificates import Certificate, Proven
from qnn.certificates.streaming import verify_stream
from qnn.errors import NotProvenAgainError
from qnn.numerics.archive import read_bytes


def check_certificate(evidence: Evidence, rows: Rows, file: str) -> str:
    """Return what is proven; raises where it is not, or where a row says something else."""
    certificate = evidence.certificate(file)
    stated, bound = certificate.lower_bound, evidence.prove(file)
    weights = check_weights(evidence, rows, [certificate])
    for row in rows.certified.get(file, []):
        identity = row.identity
        check_stated(evidence, row, [certificate], weights)
        same(row.bounds, "lower_bound", stated, exact=True)
        same(row.axes, "beta", certificate.beta, exact=True)
        if certificate.output != (identity.output or 0):
            raise Failure(f"speaks of output {certificate.output}, its row of {identity.output}")
        if certificate.data != identity.data_file:
            raise Failure(f"speaks of {certificate.data}, its rows of {identity.data_file}")
    if bound is None:
        raise Skipped("its bound was NOT proven again: its enumeration was skipped")
    return f"bound {bound:.8g}"


def check_stated(
    evidence: Evidence,
    row: NetworkRow,
    certificates: Sequence[Certificate],
    weights: np.ndarray | None,
) -> None:
    """What a row says of the problem and its bound, which its certificates prove.

    weights: of the rows of its data file (n,), as `check_weights` finds them.
    """
    for certificate in certificates:
        check_kind(row, certificate)
    place, output = row.identity.data_file, row.identity.output
    X = evidence.matrices(place)[0]
    if output is not None:
        X, _ = evidence.output(place, output, certificates[0].loss)
    check_problem(row, X, _beta_max(evidence, row, weights))
    check_proof(row, certificates)
    check_closing_in(row)


def _beta_max(evidence: Evidence, row: NetworkRow, weights: np.ndarray | None) -> float | None:
    """That of the row's data file; None where it is skipped, or what a row counts is not told."""
    if weights is None:
        return evidence.beta_max(row.identity.data_file, row.kind, None)
    if np.isnan(weights).any():
        return None
    return evidence.beta_max(row.identity.data_file, row.kind, weights.tobytes())


def check_streamed(certificate: Certificate, data: str | None) -> str:
    """What a certificate proves whose dual point each row gives; `data`: the file of its rows.

    They are read block by block: memory does not depend on their number.
    """
    if data is None:
        raise Failure("its dual point is stored compressed: give the file of its rows with --data")
    try:
        bound = verify_stream(certificate, lambda: blocks_of(data))
    except FileNotFoundError:
        raise Failure(f"its data {data} are missing") from None
    return f"bound {bound:.8g}, row by row"


def check_other(certificate: Proven, data: str | None, fast: bool) -> str:
    """What a certificate proves that is not of a training problem; `data` is its evidence."""
    known = None
    if certificate.evidence is not None:
        if data is None:
            raise Failure(f"is about a {certificate.evidence}: give its file with --data")
        known = read_bytes(data, certificate.evidence)
    try:
        return certificate.check(known, fast)
    except NotProvenAgainError as skipped:
        raise Skipped(str(skipped)) from None
