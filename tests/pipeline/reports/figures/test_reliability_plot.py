import numpy as np
import pyarrow as pa
import pytest

from pipeline.reports.figures.chart import Dots
from pipeline.reports.figures.reliability_plot import reliability_figure
from pipeline.results.metrics.intervals import wilson
from tests.pipeline.synthetic import results_table

COUNTS = [40, 2, *[0] * 14, 3, 2, 30, 30]


def with_counts(part: str, classes: int = 2) -> pa.Table:
    """A sweep whose rows all say these counts."""
    table = results_table(shards=1, betas=2, seeds=1)
    for name, counts in {"reliability": COUNTS, "confusion": [1] * classes**2}.items():
        column = pa.array([counts] * len(table), pa.list_(pa.int64()))
        table = table.set_column(table.schema.get_field_index(f"{part}_{name}"),
                                 table.schema.field(f"{part}_{name}"), column)  # fmt: skip
    return table


@pytest.mark.parametrize("part", ["test", "validation"])
def test_shares_stand_over_their_tenths_with_intervals(part: str) -> None:
    (panel,) = reliability_figure(with_counts(part)).panels
    (dots,) = (mark for mark in panel.marks if isinstance(mark, Dots))
    np.testing.assert_allclose(dots.x, [5.0, 85.0, 95.0])
    np.testing.assert_allclose(dots.y, [5.0, 200.0 / 3.0, 100.0])
    np.testing.assert_allclose([dots.low[1], dots.high[1]], 100.0 * np.array(wilson(2, 3)))
    assert panel.title == f"{part}: 73 rows"
    assert dots.titles == ("2 of 40 rows", "2 of 3 rows", "30 of 30 rows")
    assert panel.x.label == "probability of the positive class"
    assert panel.y.label == "share of positive rows"


def test_of_more_classes_the_probability_is_the_predicted_ones() -> None:
    (panel,) = reliability_figure(with_counts("test", 3)).panels
    assert panel.x.label == "probability of the predicted class"
    assert panel.y.label == "share of rows predicted right"


def test_there_is_none_of_rows_without_probabilities() -> None:
    chart = reliability_figure(results_table(shards=1, betas=2, seeds=1))
    assert not chart.panels
    assert "probabilities" in chart.empty
