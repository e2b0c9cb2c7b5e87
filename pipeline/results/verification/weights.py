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
from qnn.features.class_weights import class_weights, row_weights
from qnn.features.targets import Label
from qnn.networks.quantized import QuantizedNetwork

Classes = tuple[Label, ...]


def check_weights(
    evidence: Evidence,
    rows: Rows,
    certificates: Sequence[Certificate],
    network: QuantizedNetwork | None = None,
) -> None:
    """All outputs count rows alike, and as the sweep's own file asks for.

    network: a whole one, whose own order of the classes is meant; None for that of the folder.
    """
    first = certificates[0].weights
    if any(not _equal(one.weights, first) for one in certificates):
        raise Failure("its certificates weigh their rows differently")
    config = rows.config
    if config is None:
        return
    if config.class_weight is None or config.task == "regression":
        if first is not None:
            raise Failure("its rows are weighted, but sweep.yaml asks for no class_weight")
        return
    classes = _classes_of(network) or _classes_in(evidence, rows)
    if not _as_asked(first, config, evidence.matrices(certificates[0].data)[1], classes):
        raise Failure("its rows are not weighted as sweep.yaml's class_weight asks")


def _equal(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other)


def _as_asked(
    weights: np.ndarray | None, config: SweepConfig, targets: np.ndarray, classes: Classes | None
) -> bool:
    asked = config.class_weight
    if isinstance(asked, dict) and classes is None:
        return _possible(weights, (1.0, *asked.values()), targets)
    try:
        given = class_weights(asked, classes or ())
        return _equal(weights, row_weights(given, targets))
    except InputError as error:
        raise Failure(f"its network has other classes than sweep.yaml: {error}") from None


def _possible(weights: np.ndarray | None, known: Sequence[float], targets: np.ndarray) -> bool:
    """Whether each class has one weight, and one of those known."""
    if weights is None or len(weights) != len(targets) or not np.isin(weights, known).all():
        return False
    columns = targets.reshape(len(targets), -1)
    every = [*(columns.T > 0.0), columns[:, 0] <= 0.0][: max(2, columns.shape[1])]
    return all(len(np.unique(weights[rows])) <= 1 for rows in every)


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
