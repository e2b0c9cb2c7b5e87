"""A network: its objective on the training matrix, above its bound, and what its row says of it."""

import math
from collections.abc import Sequence

import numpy as np

from pipeline.results.folder import NETWORKS
from pipeline.results.objective import objective_and_loss
from pipeline.results.record import NetworkRow
from pipeline.results.verification.certificates import check_stated
from pipeline.results.verification.evidence import Evidence
from pipeline.results.verification.held_out import HeldOut
from pipeline.results.verification.rows import Rows
from pipeline.results.verification.statements import RELATIVE, check_fit, check_kind, same
from pipeline.results.verification.verdict import Failure, Skipped
from pipeline.results.verification.weights import check_weights
from qnn.certificates import Certificate
from qnn.losses import get_loss
from qnn.networks.quantized import QuantizedNetwork
from qnn.numerics.gaps import relative_gap, sum_down

Matrices = tuple[np.ndarray, np.ndarray]


def check_network(evidence: Evidence, rows: Rows, file: str, held_out: HeldOut) -> str:
    """Return the objective; raises where the network is not what its row says."""
    network = QuantizedNetwork.from_bytes(evidence.folder.read(file), file)
    row = rows.networks.get(file)
    if row is None:
        return _check_rowless(evidence, network)
    if file != f"{NETWORKS}/{row.identity.trial}.npz":
        raise Failure(f"is not the file of trial {row.identity.trial}")
    names = row.bounds.files
    certificates = evidence.read_all(names)
    X, y = _claimed(evidence, row, certificates)
    # What is said of the gap is proven here, whether or not the certificates are checked too.
    proven = evidence.prove_all(names)
    bound = sum_down([one.lower_bound for one in certificates])
    whole = network if row.identity.output is None else None
    weights = check_weights(evidence, rows, certificates, whole)
    counted = certificates[0].weights if whole is None else weights
    objective = _check_figures(row, network, (X, y), certificates[0], counted, bound)
    check_stated(evidence, row, certificates, weights)
    check_fit(row, network, X, y)
    held_out.check(row, network, X, y)
    _check_parts(rows, row)
    _check_made_for(row, network, certificates)
    if objective < bound * (1 - np.sign(bound) * RELATIVE):
        raise Failure(f"objective {objective:.10g} below the bound: impossible")
    if not proven:
        raise Skipped(f"objective {objective:.8g}; its bound was NOT proven again")
    return f"objective {objective:.8g}, gap {100 * (row.fit.gap or 0.0):.3g} %"


def _claimed(evidence: Evidence, row: NetworkRow, certificates: Sequence[Certificate]) -> Matrices:
    """X (n, d) and the targets, (n,) or (n, C), of a row.

    One certificate for each of its outputs, and each speaks of the row's problem.
    """
    place, names = row.identity.data_file, row.bounds.files
    if row.bounds.certificates:
        X, y = evidence.matrices(place)
        outputs = list(range(y.shape[1] if y.ndim == 2 else 1))
    else:
        outputs = [row.identity.output or 0]
        X, y = evidence.output(place, outputs[0], certificates[0].loss)
    if len(certificates) != len(outputs):
        raise Failure(f"its row names {len(names)} certificates for {len(outputs)} outputs")
    for output, name, one in zip(outputs, names, certificates, strict=True):
        if (one.output, one.data) != (output, place):
            raise Failure(
                f"{name} speaks of output {one.output} of {one.data}, not of {output} of {place}"
            )
        if one.beta != row.axes.beta:
            raise Failure(f"{name} speaks of beta {one.beta!r}, its row of {row.axes.beta!r}")
    return X, y


def _check_figures(
    row: NetworkRow,
    network: QuantizedNetwork,
    data: Matrices,
    certificate: Certificate,
    weights: np.ndarray | None,
    bound: float,
) -> float:
    """Objective, loss, gap and bound of the row; returns the objective."""
    parameter = certificate.loss_parameter
    objective, loss = _objective(network, *data, certificate.beta, parameter, weights)
    same(row.fit, "upper_bound", objective)
    # At an optimal second layer the sum hardly moves with alpha, its two parts do.
    same(row.fit, "loss_value", loss, scale=abs(objective))
    same(row.fit, "gap", relative_gap(objective, bound), scale=1.0)
    same(row.bounds, "lower_bound", bound, exact=True)
    return objective


def _check_made_for(
    row: NetworkRow, network: QuantizedNetwork, certificates: Sequence[Certificate]
) -> None:
    """The network's own file says the same of its problem."""
    if network.beta != row.axes.beta or network.loss != row.axes.loss:
        raise Failure("was made for another beta or loss than its row says")
    check_kind(row, network)
    same(row.axes, "second_layer", network.second_layer, exact=True)
    for certificate in certificates:
        if not _same_kind(certificate, network):
            raise Failure("its certificate speaks of networks of another kind")


def _check_parts(rows: Rows, row: NetworkRow) -> None:
    """Sums over the outputs of a joined row; it has no output of its own."""
    if not row.bounds.certificates:
        return
    if row.identity.output is not None or row.bounds.certificate is not None:
        raise Failure("its row is of one output and of all of them")
    parts = [rows.certified[name][0] for name in row.bounds.files if rows.certified[name]]
    if len(parts) == len(row.bounds.files):
        values = [part.bounds.relaxation_value for part in parts]
        known = [value for value in values if value is not None]
        same(row.bounds, "relaxation_value", math.fsum(known) if known else None)


def _check_rowless(evidence: Evidence, network: QuantizedNetwork) -> str:
    if evidence.data is None:
        return "readable; no row speaks of it (an earlier choice, or its path is unfinished)"
    if network.beta is None or network.loss is None:
        raise Failure("names no beta or loss, so it has no objective")
    matrices, parameter = evidence.matrices(""), network.loss_parameter
    objective, _ = _objective(network, *matrices, network.beta, parameter, None)
    return f"objective {objective:.8g}; no row to compare"


def _objective(
    network: QuantizedNetwork,
    X: np.ndarray,
    y: np.ndarray,
    beta: float,
    parameter: float | None,
    weights: np.ndarray | None,
) -> tuple[float, float]:
    """Loss plus penalty, and the loss, of that parameter and of rows that count so."""
    if network.alpha.shape[1:] != y.shape[1:]:
        raise Failure(f"it has {_outputs(network.alpha)}, its training matrix {_outputs(y, '')}")
    loss = get_loss(network.loss or "squared", parameter).weighted(weights)
    return objective_and_loss(network, X, y, beta, loss)


def _outputs(array: np.ndarray, unit: str = " outputs") -> str:
    return f"{array.shape[1]}{unit}" if array.ndim == 2 else "one output"


def _same_kind(certificate: Certificate, network: QuantizedNetwork) -> bool:
    names = ("activation", "alphabet", "loss", "loss_parameter")
    stated = None if certificate.polynomial is None else tuple(certificate.polynomial)
    return stated == network.polynomial and all(
        getattr(certificate, name) == getattr(network, name) for name in names
    )
