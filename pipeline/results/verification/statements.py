"""What a row of the results states, held against the files that it names, column by column.

Each function takes a row and what was read and proven of its files, and raises `Failure` for the
first column that says something else. `NOT_CHECKED` are the columns that the files cannot tell;
docs/formats.md says of each column which it is.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.configuration.beta import column_of
from pipeline.configuration.kinds import Kind
from pipeline.configuration.settings import SweepConfig
from pipeline.results.record import ORTHOGONALITY, NetworkRow
from pipeline.results.verification.measured import (
    RELATIVE,
    Known,
    calibrated,
    check_held_out,
    check_metrics,
)
from pipeline.results.verification.verdict import Failure
from qnn.certificates import Certificate
from qnn.networks.quantized import QuantizedNetwork
from qnn.training.arms import ARMS

# beta_max is the value of an optimization, found to more digits than this.
BETA_MAX = 1e-5
# From the weakest to the strongest kind of proof.
PROOFS = ("relaxation", "tightened", "exact")
NOT_CHECKED = (
    "figures of arms without a proof",
    "relaxation_value and bounds beyond the proven one",
    "wall times",
    "versions",
)


def same(
    part: Any, column: str, found: Any, exact: bool = False, scale: float | None = None
) -> None:
    """A column of a row's part is what was found; numbers up to rounding, relative to `scale`."""
    said = getattr(part, column)
    if said is None or found is None or exact:
        right = said == found
    else:
        right = abs(said - found) <= RELATIVE * (abs(found) if scale is None else scale)
    if not right:
        raise Failure(f"its row says {column} {said!r}, its files say {found!r}")


def check_problem(row: NetworkRow, X: np.ndarray, beta_max: float | None) -> None:
    """The size of the training matrix, and β as a fraction of beta_max (None: not computed)."""
    n, d = X.shape
    same(row.identity, "n", n, exact=True)
    same(row.identity, "d", d, exact=True)
    axes = row.axes
    said, fraction = axes.beta_max, axes.beta_fraction
    if said is None or (beta_max is not None and not _near(said, beta_max, BETA_MAX)):
        raise Failure(f"its row says beta_max {said!r}, its data say {beta_max!r}")
    beta = 0.0 if axes.beta is None else axes.beta
    if (fraction is None) != (said == 0.0) or not _near(
        (fraction or 0.0) * said, beta * (said > 0.0)
    ):
        raise Failure(f"its row says beta_fraction {fraction!r}: that is not beta / beta_max")


def check_proof(row: NetworkRow, certificates: Sequence[Certificate]) -> None:
    """The kind of proof is the weakest of its certificates' and no stronger than asked for."""
    weakest = min((one.kind for one in certificates), key=PROOFS.index)
    same(row.bounds, "proof", weakest, exact=True)
    asked = row.axes.certify
    if asked not in PROOFS or PROOFS.index(weakest) > PROOFS.index(asked):
        raise Failure(f"its row says certify {asked!r}, its proof is {weakest!r}")


def check_kind(row: NetworkRow, thing: Certificate | QuantizedNetwork) -> None:
    """Loss, activation and alphabet, with their numbers."""
    named = thing.polynomial
    coefficients = None
    if named is not None:
        a, b, c = map(float, named)
        coefficients = a, b, c
    kind = Kind(thing.loss or "", thing.loss_parameter, coefficients, thing.alphabet)
    if thing.activation != kind.activation:
        raise Failure(f"activation {thing.activation!r} does not fit its coefficients")
    for column, found in kind.columns.items():
        said = getattr(row.axes, column)
        if column == "loss_parameter" and said is None and found is not None:
            # Rows of earlier versions leave it out where none was given.
            said = Kind(thing.loss or "").resolved().loss_parameter
        if said != found:
            raise Failure(f"its {column} is {found!r}, its row says {said!r}")


def check_closing_in(row: NetworkRow) -> None:
    """The bounds over time contradict neither each other nor what is proven at their end."""
    bounds = row.bounds
    final, value = bounds.lower_bound, bounds.relaxation_value
    if final is None:
        raise Failure("its row has no lower_bound")
    if value is not None and bounds.proof == "relaxation" and not _below(final, value):
        raise Failure(f"its row says relaxation_value {value!r}, below its lower_bound {final!r}")
    last = (0.0, -np.inf, np.inf)
    for point in bounds.bounds or ():
        now = (point.seconds, point.lower, point.upper)
        if None in now or not (now[0] >= last[0] and now[1] >= last[1] and now[2] <= last[2]):
            raise Failure("its row's bounds do not close in")
        if not (_below(now[1], final) and _below(final, now[2])):
            raise Failure(f"its row's bounds {now[1:]} contradict its lower_bound {final!r}")
        last = now
    if (row.axes.certify == "relaxation" or bounds.certificates) and bounds.bounds:
        raise Failure("its row has bounds, but its proof was never raised")


def check_fit(row: NetworkRow, network: QuantizedNetwork, X: np.ndarray, y: np.ndarray) -> None:
    """Size, preprocessing, and what the network makes of its own training rows."""
    width = row.axes.width
    outputs = network.alpha.shape[1] if network.alpha.ndim == 2 else 1
    if width is None or network.neurons > width * outputs:
        raise Failure(f"has {network.neurons} neurons, its row says width {width!r}")
    same(row.fit, "neurons", network.neurons, exact=True)
    same(row.fit, "bytes", network.size_in_bytes, exact=True)
    preprocessing = network.preprocessing
    if preprocessing is None:
        raise Failure("has no preprocessing")
    # A joined row may have what the network of its first output needs.
    first = replace(preprocessing, target=preprocessing.target.output(0))
    if not row.bounds.certificates or row.identity.preprocessing_bytes != first.size_in_bytes:
        same(row.identity, "preprocessing_bytes", preprocessing.size_in_bytes, exact=True)
    if preprocessing.layout.d != X.shape[1]:
        raise Failure(f"its preprocessing makes {preprocessing.layout.d} columns, not {X.shape[1]}")
    target = preprocessing.target
    known = Known(X, target.decode(y), calibrated(network, X, y))
    check_metrics(row, network, "train", known)
    check_held_out(row, "regression" if target.classes is None else "classification")


def check_plan(row: NetworkRow, config: SweepConfig) -> None:
    """The row's axes are among those that the sweep's own file asks for."""
    axes = row.axes
    asked: dict[str, tuple[Any, ...]] = {
        "width": (None, *config.widths),
        "seed": config.seeds,
        "rounding": (*config.rounding, *config.baselines),
        "certify": (None, config.certify),
        "second_layer": (None, "float", str(config.second_layer)),
        column_of(config.beta.form): (None, *(beta.written for beta in config.beta.points)),
    }
    for column, known in asked.items():
        said = getattr(axes, column)
        if said not in known:
            raise Failure(f"trial {row.identity.trial}: sweep.yaml asks for no {column} {said!r}")
    setting = tuple(getattr(axes, name) for name in ORTHOGONALITY)
    takes = axes.rounding in ARMS and ARMS[axes.rounding].orthogonal
    none: tuple[Any, ...] = (None,) * len(ORTHOGONALITY)
    wanted = (config.orthogonalities if takes else ()) or (none,)
    if setting not in wanted:
        raise Failure(f"trial {row.identity.trial}: sweep.yaml asks for no such orthogonality")


def _near(said: float, found: float, relative: float = RELATIVE) -> bool:
    return abs(said - found) <= relative * abs(found)


def _below(low: float, high: float) -> bool:
    return bool(low <= high + RELATIVE * max(abs(low), abs(high)))
