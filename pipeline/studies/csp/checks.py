"""`qnn verify` of a study of CSPs: all from the files of the run alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from pipeline.configuration.paths import is_archive
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_unit
from pipeline.results.verification import Check, verify_paths
from pipeline.results.verification.of_studies import judged_folder
from pipeline.studies.csp.rows import ROWS
from pipeline.studies.csp.solves import PROBLEMS, relative_gap
from qnn.certificates.csp import CspCertificate, Payoffs, verify_csp
from qnn.certificates.csp.checker import check_payoffs
from qnn.errors import QnnError
from qnn.moments import correlation_rounding as rounding
from qnn.moments.csp import MaxCSP
from qnn.moments.csp.tree import Yardstick

Row = dict[str, Any]

# Eigenvalues of two machines differ by less.
_CLOSE = 1e-9
UNCHECKED = "name, seeds, correlations, means and times not checked"
NOT_CHECKED = ("names", "settings", "seeds", "correlations", "means", "times", "versions")


def verify(location: str, data: str | None = None, fast: bool = False) -> Iterator[Check]:
    """A verdict a results file and a certificate. InputError where there is nothing to check.

    The value is counted again from the assignment, rank and guarantee from the spectrum, and the
    bound is proven by the checker from the problem's file. `fast` is the same.
    """
    if is_archive(location):
        yield from verify_paths([location], data or _problem_beside(location), fast)
        return
    folder = RunFolder.open(location)
    rows, certificates = partial(_check_row, folder), partial(_check_certificate, folder)
    yield from judged_folder(folder, rows, certificates, NOT_CHECKED)


def _problem_beside(location: str) -> str | None:
    """The problem of a certificate in a run's folder."""
    if "://" in location:
        return None
    run = os.path.dirname(os.path.dirname(os.path.abspath(location)))
    try:
        digest = CspCertificate.load(location).problem_sha256
    except QnnError:
        return None
    file = os.path.join(run, PROBLEMS, f"{os.path.basename(digest)}.npz")
    return file if os.path.exists(file) else None


def _check_row(folder: RunFolder, file: str, named: dict[str, Row]) -> str:
    rows = read_unit(folder, file, ROWS).to_pylist()
    if len(rows) != 1:
        raise ValueError(f"it has {len(rows)} rows, not one")
    (row,) = rows
    if row["status"] != "ok":
        return f"failed: {row['error']}"
    if row["certificate"] in named:
        raise ValueError(f"its certificate {row['certificate']} is another row's too")
    named[str(row["certificate"])] = row
    payoffs = _payoffs(folder, str(row["problem"]))
    certificate = _certificate(folder, str(row["certificate"]))
    if certificate.problem_sha256 != payoffs.digest():
        raise ValueError("its certificate is of another problem than the row (SHA-256 differs)")
    _compare(row, _stated(row, payoffs, certificate))
    size = len(folder.read(str(row["certificate"])))
    # Rows of earlier versions do not say it.
    if row["bytes"] is not None and row["bytes"] != size:
        raise ValueError(f"the row states {row['bytes']} bytes, the certificate has {size}")
    _check_theory(row, payoffs)
    _check_order(row)
    return f"value {row['value']:.12g} <= {row['upper_bound']:.12g}; {UNCHECKED}"


def _payoffs(folder: RunFolder, file: str) -> Payoffs:
    payoffs = Payoffs.from_bytes(folder.read(file), file)
    check_payoffs(payoffs)
    return payoffs


def _certificate(folder: RunFolder, file: str) -> CspCertificate:
    return CspCertificate.from_bytes(folder.read(file), file)


def _stated(row: Row, payoffs: Payoffs, certificate: CspCertificate) -> Row:
    """What the row must say of its problem, its assignment and its certificate."""
    problem = MaxCSP.of_tables(
        payoffs.n, payoffs.k, payoffs.pairs, payoffs.tables, payoffs.unary, payoffs.constant
    )
    value = problem.value(np.array(row["assignment"] or (), dtype=np.int64))
    bound = certificate.upper_bound
    return {
        "n": payoffs.n,
        "k": payoffs.k,
        "pairs": len(payoffs.pairs),
        "content": payoffs.digest(),
        "value": value,
        "upper_bound": bound,
        "gap": relative_gap(bound, value),
        "optimal": Yardstick.of(payoffs).proves(bound, value),
        "leaves": certificate.leaves,
        "nodes": len(certificate.tree),
        "cuts": len(certificate.cut_starts) - 1,
    }


def _compare(row: Row, true: Row) -> None:
    for name, value in true.items():
        if row[name] != value:
            raise ValueError(f"the row states {name} {row[name]}, its files say {value}")


def _check_theory(row: Row, payoffs: Payoffs) -> None:
    """Threshold rank and guarantee, from the constraint graph's spectrum."""
    eigenvalues = rounding.spectrum(payoffs)
    loss = rounding.guaranteed_loss(eigenvalues, row["rounds"] or 0) if payoffs.k == 2 else 1.0
    if not abs(row["guarantee"] - loss) <= _CLOSE:
        raise ValueError(f"the row states guarantee {row['guarantee']}, the spectrum says {loss}")
    tau = 2.0 * loss**2
    most, least = (rounding.threshold_rank(eigenvalues, tau + d) for d in (-_CLOSE, _CLOSE))
    if not least <= row["threshold_rank"] <= most:
        raise ValueError(
            f"the row states threshold_rank {row['threshold_rank']}, the spectrum says {least}"
        )


def _check_order(row: Row) -> None:
    """No rounding is better than the best value, and that is below the bound."""
    value = row["value"]
    room = 1e-9 * (1.0 + abs(value))
    for name in ("expected", "derandomized", "propagated"):
        if row[name] is not None and not row[name] <= value + room:
            raise ValueError(f"the row states {name} {row[name]}, above its value {value}")
    if not value <= row["upper_bound"]:
        raise ValueError(f"the value {value} is above the bound {row['upper_bound']}")


def _check_certificate(folder: RunFolder, file: str, named: dict[str, Row]) -> str:
    certificate = _certificate(folder, file)
    row = named.get(file)
    problem = f"{PROBLEMS}/{certificate.problem_sha256}.npz" if row is None else row["problem"]
    bound = verify_csp(certificate, _payoffs(folder, problem))
    words = f"value <= {bound!r} ({certificate.leaves} leaves)"
    return words if row is not None else f"{words}; no row names it"
