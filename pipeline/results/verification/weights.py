"""The row weights of a certificate, held against what sweep.yaml asks for by `class_weight`.

The training matrix knows classes by output, not by label. Which output a label is says a network of
the folder; where there is none, the weights must be constant on each class and among those asked.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.configuration.settings import SweepConfig
from pipeline.results.verification.evidence import Evidence
from pipeline.results.verification.rows import Rows
from pipeline.results.verification.verdict import Failure
from qnn.certificates import Certificate
from qnn.errors import InputError
from qnn.features.class_weights import class_codes, class_weights, row_weights
from qnn.features.targets import Label
from qnn.networks.quantized import QuantizedNetwork
from qnn.training.problems.vector import rows_of

Classes = tuple[Label, ...]


def check_weights(
    evidence: Evidence,
    rows: Rows,
    certificates: Sequence[Certificate],
    network: QuantizedNetwork | None = None,
) -> np.ndarray | None:
    """What the rows of the data file count for (n,), None for 1; all outputs count them alike.

    They are those that the sweep's own file asks for, or, where there is none, those of the
    certificates, NaN of rows that none of them has.

    network: a whole one, whose own order of the classes is meant; None for that of the folder.
    """
    stated = _stated(evidence, certificates)
    config = rows.config
    if config is None:
        return stated
    if config.class_weight is None or config.task == "regression":
        if stated is not None:
            raise Failure("its rows are weighted, but sweep.yaml asks for no class_weight")
        return None
    classes = _classes_of(network) or _classes_in(evidence, rows)
    asked = _asked(stated, config, evidence.matrices(certificates[0].data)[1], classes)
    if asked is None or not _says(stated, asked):
        raise Failure("its rows are not weighted as sweep.yaml's class_weight asks")
    return asked


def _stated(evidence: Evidence, certificates: Sequence[Certificate]) -> np.ndarray | None:
    """What the rows of the data file count for by these certificates, NaN where none says."""
    if all(one.weights is None for one in certificates):
        return None
    _, y = evidence.matrices(certificates[0].data)
    columns = y.reshape(len(y), -1)
    found = np.full(len(y), np.nan)
    for one in certificates:
        part = rows_of(columns[:, one.output], one.loss)
        known = found[part]
        if one.weights is None or not _says(known, one.weights):
            raise Failure("its certificates weigh their rows differently")
        found[part] = one.weights
    return found


def _says(stated: np.ndarray | None, weights: np.ndarray) -> bool:
    """Whether the weights are those stated, where these are no NaN."""
    if stated is None or stated.shape != weights.shape:
        return False
    return bool(np.all(np.isnan(stated) | (stated == weights)))


def _asked(
    stated: np.ndarray | None, config: SweepConfig, targets: np.ndarray, classes: Classes | None
) -> np.ndarray | None:
    """The weights (n,) that sweep.yaml asks for; None where they cannot be those stated."""
    asked = config.class_weight
    if isinstance(asked, dict) and classes is None:
        return stated if _possible(stated, (1.0, *asked.values()), targets) else None
    try:
        return row_weights(class_weights(asked, classes or ()), targets)
    except InputError as error:
        raise Failure(f"its network has other classes than sweep.yaml: {error}") from None


def _possible(weights: np.ndarray | None, known: Sequence[float], targets: np.ndarray) -> bool:
    """Whether each class has one weight, and one of those known."""
    if weights is None or not np.isin(weights[~np.isnan(weights)], known).all():
        return False
    codes, count = class_codes(targets)
    every = (weights[codes == one] for one in range(count))
    return all(len(np.unique(own[~np.isnan(own)])) <= 1 for own in every)


def _classes_in(evidence: Evidence, rows: Rows) -> Classes | None:
    """The classes in order, as the first whole network of the folder names them."""
    for file, row in sorted(rows.networks.items()):
        if row.identity.output is None and evidence.folder.exists(file):
            return evidence.classes(file)
    return None


def _classes_of(network: QuantizedNetwork | None) -> Classes | None:
    if network is None or network.preprocessing is None:
        return None
    return network.preprocessing.target.classes
