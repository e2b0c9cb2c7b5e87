import io
import xml.etree.ElementTree as ElementTree

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.figure import Figure
from PIL import Image

from pipeline.reports.figures import drawing, plots
from pipeline.results import summary
from pipeline.results.record import RESULTS_SCHEMA
from tests.pipeline.synthetic import results_table

CASES = {
    "usual": results_table(seeds=2, betas=5),
    "one of everything": results_table(
        shards=1, betas=1, seeds=1, widths=(8,), roundings=("krivine",), refit=False
    ),
    "regression": results_table(task="regression", seeds=1, betas=3),
    "failures": results_table(seeds=1, betas=3, failures=7),
    "only failures": results_table(shards=1, betas=1, seeds=1, failures=6, refit=False),
    "no rows": RESULTS_SCHEMA.empty_table(),
    "formulas for names": results_table(
        seeds=1, betas=2, roundings=("$\\frac{1}$", "<script>"), dataset="$x^$"
    ),
}


def texts(figure: Figure) -> str:
    figure.draw_without_rendering()
    found = [text.get_text() for text in figure.findobj(lambda item: hasattr(item, "get_text"))]
    return "\n".join(found)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", plots.FIGURES, ids=lambda kind: kind.name)
def test_every_figure_draws_every_table(kind: plots.FigureKind, case: str) -> None:
    figure = kind.draw(CASES[case])
    svg = drawing.to_svg(figure)
    ElementTree.fromstring(svg)
    with Image.open(io.BytesIO(drawing.to_png(figure, dpi=40))) as picture:
        pixels = np.asarray(picture.convert("L"))
    assert pixels.min() < 200 < pixels.max()


def test_equal_tables_give_equal_bytes() -> None:
    first, second = (drawing.to_svg(plots.bounds_figure(CASES["usual"])) for _ in range(2))
    assert first == second


def test_bounds_are_drawn_where_the_table_has_them() -> None:
    table = CASES["usual"]
    data = summary.searched(summary.frame(table))
    figure = plots.bounds_figure(table)
    upper, lower, relaxed = (line.get_ydata() for line in figure.axes[0].lines[:3])
    per_level = data.groupby(["beta_fraction", "shard"])
    assert np.allclose(upper, per_level["upper_bound"].min().groupby("beta_fraction").median())
    assert np.allclose(lower, per_level["lower_bound"].max().groupby("beta_fraction").median())
    assert np.all(lower <= relaxed)
    assert np.all(relaxed <= upper)
    assert figure.axes[0].get_xscale() == "log"
    assert {"best network found", "proven lower bound"} <= set(texts(figure).split("\n"))


def test_the_gap_has_a_panel_for_each_rounding() -> None:
    figure = plots.gap_figure(CASES["usual"])
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["krivine rounding", "refined rounding"]
    assert figure.axes[0].get_yscale() == "log"


def test_a_gap_of_zero_is_drawn_on_a_linear_axis() -> None:
    table = CASES["usual"]
    column = table.schema.get_field_index("gap")
    table = table.set_column(column, "gap", pa.array(np.zeros(table.num_rows)))
    assert plots.gap_figure(table).axes[0].get_yscale() == "linear"


def test_the_frontier_is_never_beaten_by_something_smaller() -> None:
    points = summary.settings(summary.frame(CASES["usual"]))
    line = plots.size_figure(CASES["usual"]).axes[0].lines[0]
    for size, value in zip(line.get_xdata(), line.get_ydata(), strict=True):
        rivals = points[(points["bytes"] <= size)]
        assert rivals["validation_accuracy"].max() <= value


def test_the_krivine_constant_is_marked_only_for_bilinear_networks() -> None:
    table = CASES["usual"]
    assert "K = 1.782" in texts(plots.rounding_figure(table))
    column = table.schema.get_field_index("activation")
    other = table.set_column(column, "activation", pa.array(["polynomial"] * table.num_rows))
    assert "K = 1.782" not in texts(plots.rounding_figure(other))


def test_end_labels_do_not_overlap() -> None:
    figure, axes = drawing.new_figure(5, 3)
    axes.plot([0, 1], [1, 1])
    drawing.end_labels(axes, 1, [(1.0 + 1e-4 * k, f"line {k}", "k") for k in range(6)])
    figure.draw_without_rendering()
    tops = sorted(text.get_window_extent().y0 for text in axes.texts)
    assert np.diff(tops).min() >= 8


def test_numbers_as_people_read_them() -> None:
    assert summary.percent(0.0153) == "1.53 %"
    assert summary.percent(3e-6) == "3.0e-04 %"
    assert summary.percent(0.0) == "0 %"
    assert summary.percent(float("nan")) == summary.percent(None) == "–"
    assert summary.byte_text(412) == "412 bytes"
    assert summary.byte_text(12_345) == "12.3 kB"


def test_best_networks_are_one_each_of_the_best_settings() -> None:
    data = summary.frame(CASES["usual"])
    best = summary.best_networks(data, 4)
    settings = best[["beta_fraction", "width", "rounding"]]
    assert len(best) == len(settings.drop_duplicates()) == 4
    assert best["setting_validation"].is_monotonic_decreasing
    assert not set(best["shard"]) & {"all"}
    rows = summary.searched(data)
    own = rows[(rows[["beta_fraction", "width", "rounding"]] == settings.iloc[0]).all(axis=1)]
    assert best["validation_accuracy"].iloc[0] == own["validation_accuracy"].max()


def test_best_networks_of_a_regression_have_the_lowest_error() -> None:
    data = summary.frame(CASES["regression"])
    assert summary.metric_of(data).name == "rmse"
    assert summary.best_networks(data, 3)["setting_validation"].is_monotonic_increasing


def test_the_champion_is_named_or_the_best_refit() -> None:
    data = summary.frame(CASES["usual"])
    named = data["trial"].iloc[3]
    row = summary.champion_row(data, named)
    assert row is not None
    assert row["trial"] == named
    refit = summary.champion_row(data)
    assert refit is not None
    assert refit["shard"] == "all"
    assert refit["upper_bound"] == data[data["shard"] == "all"]["upper_bound"].min()
    assert summary.champion_row(summary.frame(CASES["only failures"])) is None


def test_beta_is_told_in_the_form_it_was_written_in() -> None:
    data = summary.frame(CASES["usual"])
    assert summary.beta_axis(data).column == "beta_fraction"
    numbers = data.assign(beta=1.0 + data["seed"], beta_fraction=np.arange(len(data)) / 1e4)
    # Without a config the form with fewer distinct values is the likely one; the config decides.
    assert summary.beta_axis(summary.frame(numbers)).column == "beta"
    for kind, column in (("fractions", "beta_fraction"), ("values", "beta")):
        told = summary.frame(summary.written_as(CASES["usual"], kind))
        assert summary.beta_axis(told).column == column
