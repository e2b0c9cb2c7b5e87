"""The curve of objectives against the width, and the narrowest network within a gap."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline.reports.figures.chart import Level, Panel
from pipeline.reports.figures.width_plots import curve_figure
from pipeline.reports.page import ReportInput, render_report
from pipeline.results import summary
from pipeline.results.record import RESULTS_SCHEMA
from tests.pipeline.synthetic import results_table


def lines_of(panel: Panel) -> dict[str, np.ndarray]:
    return {line.name: np.asarray(line.y, float) for line in panel.lines()}


def levels_of(panel: Panel) -> dict[str, float]:
    return {mark.name: mark.at for mark in panel.marks if isinstance(mark, Level)}


def changed(table: pa.Table, **columns: object) -> pa.Table:
    rows = [{**row, **{name: change(row) for name, change in columns.items()}}
            for row in table.to_pylist()]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=RESULTS_SCHEMA)


def test_a_line_is_the_best_network_of_at_most_each_width() -> None:
    table = results_table(shards=3, betas=2, seeds=2, roundings=("refined",))
    # At 32 neurons the search was unlucky: the network of 8 neurons is one of those too.
    table = changed(
        table, upper_bound=lambda row: row["upper_bound"] * (9.0 if row["width"] == 32 else 1.0)
    )
    data = summary.searched(summary.frame(table))
    panel = curve_figure(table).panels[0]
    level = data["beta_fraction"].min()
    some = data[np.isclose(data["beta_fraction"], level)]
    best = some.groupby(["shard", "width"])["upper_bound"].min().unstack()
    lower = some.groupby("shard")["lower_bound"].max()
    eight = (100 * (1 - lower / best[8])).median()
    wide = (100 * (1 - lower / np.minimum(best[8], best[128]))).median()
    np.testing.assert_allclose(lines_of(panel)["refined"], [eight, eight, wide])
    assert panel.y.log
    assert panel.y.label.startswith("above the bound of any width")
    assert panel.title == f"β / β max = {level:.3g}"


def test_krivine_is_drawn_where_it_is_alone() -> None:
    both = results_table(shards=2, betas=1, seeds=1, roundings=("krivine", "refined"))
    assert set(lines_of(curve_figure(both).panels[0])) == {"refined"}
    alone = results_table(shards=2, betas=1, seeds=1, roundings=("krivine",))
    assert set(lines_of(curve_figure(alone).panels[0])) == {"krivine"}


def test_the_optimum_of_any_width_is_named_where_it_is_proven() -> None:
    def bounds(row: dict[str, float], above: float) -> list[dict[str, float]]:
        lower = row["lower_bound"]
        return [{"seconds": 1.0, "lower": 0.5 * lower, "upper": 9.0 * lower},
                {"seconds": 2.0, "lower": lower, "upper": lower * (1.0 + above)}]  # fmt: skip

    table = results_table(shards=2, betas=1, seeds=1)
    proven = changed(table, bounds=lambda row: bounds(row, 1e-9))
    panel = curve_figure(proven).panels[0]
    assert panel.y.label.startswith("above the proven optimum of any width")
    assert not levels_of(panel)
    # One shard that is not proven is enough for a bound.
    part = changed(table, bounds=lambda row: bounds(row, 0.01 * (row["shard"] == "fold-01")))
    panel = curve_figure(part).panels[0]
    assert panel.y.label.startswith("above the bound of any width")
    # Of two shards one is at its bound, the other 1 % above.
    assert levels_of(panel) == {
        "best network of any width": pytest.approx(50 * 0.01 / 1.01, rel=1e-3)
    }


def test_many_betas_and_kinds_share_the_panels() -> None:
    assert len(curve_figure(results_table(seeds=1)).panels) == 6
    first = results_table(seeds=1, betas=3)
    second = changed(first, loss=lambda row: "absolute")
    panels = curve_figure(pa.concat_tables([first, second])).panels
    assert len(panels) == 6
    assert {one.title.split(",")[0] for one in panels} == {"absolute", "squared"}


def test_the_narrowest_network_within_a_gap_holds_on_every_shard() -> None:
    rows = [
        # shard, neurons, gap
        ("a", 4, 0.04), ("a", 9, 0.015), ("a", 20, 0.005),
        ("b", 6, 0.03), ("b", 9, 0.018), ("b", 30, 0.012),
    ]  # fmt: skip
    data = pd.DataFrame(rows, columns=["shard", "neurons", "gap"])
    (found,) = summary.neurons_within(
        data.assign(status="ok", problem="", beta=2.0, beta_fraction=0.1, beta_form="fractions")
    ).to_dict("records")
    assert found["beta_level"] == 0.1
    assert [found["within_0.1"], found["within_0.05"], found["within_0.02"]] == [6, 6, 9]
    assert np.isnan([found["within_0.01"], found["within_0.001"]]).all()
    assert found["gap"] == 0.012


def test_one_width_has_no_curve_and_no_table() -> None:
    table = results_table(seeds=1, betas=2, widths=(8,))
    assert "list several" in curve_figure(table).empty
    assert "How many neurons does a gap need?" not in render_report(ReportInput(table))


@pytest.mark.parametrize("failures", [0, 30])
def test_the_report_says_how_many_neurons_a_gap_needs(failures: int) -> None:
    table = results_table(seeds=1, betas=2, failures=failures)
    page = render_report(ReportInput(table))
    narrowest = summary.neurons_within(summary.frame(table))
    assert "How many neurons does a gap need?" in page
    assert page.count('data-sort="') > 0
    for value in narrowest["within_0.1"].dropna():
        assert f">{value:.0f}</td>" in page
