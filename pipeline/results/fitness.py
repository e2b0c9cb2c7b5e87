"""Why a network must not be put to use, whatever its certificate says: it has learned nothing.

A certificate speaks of the training objective. Where classes are very unequal the best network may
well be one that says the same of every row, and an accuracy of 100 % the share of the one class
that the test rows have.
"""

from __future__ import annotations

import pyarrow as pa

from pipeline.configuration.metric import COMMON, Metric
from pipeline.results.record import NetworkRow, rows_of
from pipeline.results.selection import FINAL_SHARD, Choice
from qnn.training.arms import ALL as BASELINES

# What is known of the rows that chose.
LOOKED_AT = ("trial", "output", "shard", "rounding", "validation_confusion")


def reasons_against(row: NetworkRow) -> list[str]:
    """What speaks against one network, in a few words each; of files of earlier versions nothing.

    Its predictions are constant, or a part of its rows lacks a class.
    """
    measures = row.measures
    parts = {"training": measures.train, "validation": measures.validation, "test": measures.test}
    measured = [part for part in parts.values() if part.confusion]
    found = []
    if measured and all(part.is_constant for part in measured):
        found.append("it predicts one class for every row")
    found += [
        f"its {part.rows} {name} rows lack a class"
        for name, part in parts.items()
        if part.lacks_a_class
    ]
    return found


def common_class(row: NetworkRow, metric: Metric) -> str | None:
    """That accuracy chose where one class has nearly all rows; None where it is not so."""
    share = row.measures.test.majority_share
    if metric.name != "accuracy" or share is None or share < COMMON:
        return None
    return (
        f"chosen by accuracy, and {100 * share:.1f} % of the test rows are of one class; metric: "
        "balanced_accuracy counts classes alike, class_weight: balanced trains for it"
    )


def reasons_against_choice(
    results: pa.Table, choice: Choice | None, champion: NetworkRow | None
) -> list[str]:
    """What speaks against the network that a sweep ends with, and the rows that chose it."""
    found = [] if champion is None else reasons_against(champion)
    lacking = sorted(
        {
            row.identity.shard
            for row in rows_of(results.select(LOOKED_AT))
            if row.identity.output is None
            and row.identity.shard != FINAL_SHARD
            and row.axes.rounding not in BASELINES
            and row.measures.validation.lacks_a_class
        }
    )
    if choice is not None and lacking:
        found.append(f"the validation rows of {', '.join(lacking)} lack a class")
    return found
