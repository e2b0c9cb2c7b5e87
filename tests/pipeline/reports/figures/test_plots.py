import io
import xml.etree.ElementTree as ElementTree

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.configuration.metric import metric_for
from pipeline.reports.figures import layout, palette, picture, plots, scales, svg
from pipeline.reports.figures.chart import Axis, Band, Chart, Dots, Level, Line, Note, Panel
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


def texts(chart: Chart) -> list[str]:
    """Every line of text of a figure, on a desktop."""
    shapes = picture.composed(chart).shapes
    return [shape.text for shape in shapes if isinstance(shape, layout.Words)]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", plots.FIGURES, ids=lambda kind: kind.name)
def test_every_figure_draws_every_table(kind: plots.FigureKind, case: str) -> None:
    chart = kind.draw(CASES[case])
    assert bool(chart.panels) != bool(chart.empty)
    for one in svg.pictures(chart):
        for drawn, width in ((one.wide, svg.WIDE[svg.across(chart)]), (one.narrow, svg.NARROW)):
            root = ElementTree.fromstring(drawn)
            assert float(root.attrib["width"]) == width
            assert "nan" not in drawn
    with Image.open(io.BytesIO(picture.to_png(chart, dpi=40))) as shown:
        pixels = np.asarray(shown.convert("L"))
    assert pixels.min() < 200 < pixels.max()


def test_equal_tables_give_equal_bytes() -> None:
    for make in (svg.pictures, picture.to_png):
        first, second = (make(plots.bounds_figure(CASES["usual"])) for _ in range(2))
        assert first == second


def test_bounds_are_drawn_where_the_table_has_them() -> None:
    table = CASES["usual"]
    data = summary.searched(summary.frame(table))
    objective, gap = plots.bounds_figure(table).panels
    (best,), (bound,) = objective.lines("best network"), objective.lines("proven bound")
    (relaxed,) = [mark for mark in objective.marks if isinstance(mark, Dots)]
    per_level = data.groupby(["beta_fraction", "shard"])
    assert np.allclose(best.y, per_level["upper_bound"].min().groupby("beta_fraction").median())
    assert np.allclose(bound.y, per_level["lower_bound"].max().groupby("beta_fraction").median())
    assert np.all(bound.y <= relaxed.y)
    assert np.all(relaxed.y <= best.y)
    assert objective.x.log
    # Beside it the gap alone, on a logarithm: there it is what one sees.
    (line,) = gap.lines()
    smallest = per_level["gap"].min().groupby("beta_fraction").median()
    assert np.allclose(line.y, 100 * smallest)
    assert gap.y.log


def test_no_network_lies_in_the_area_where_none_can() -> None:
    table = results_table(shards=2, seeds=1, betas=3, refit=False)
    data = summary.searched(summary.frame(table)).copy()
    # A shard whose bounds are half of the other's, each network on its bound.
    half = data["shard"] == data["shard"].min()
    data.loc[half, ["lower_bound", "relaxation_value"]] *= 0.5
    data["upper_bound"] = data["lower_bound"]
    panel = plots.bounds_figure(data).panels[0]
    area = next(mark for mark in panel.marks if isinstance(mark, Band) and mark.opacity < 0.1)
    levels = np.sort(data["beta_fraction"].unique())
    lowest = data.groupby("beta_fraction")["upper_bound"].min().to_numpy()
    nearest = [int(np.abs(np.asarray(area.x) - level).argmin()) for level in levels]
    assert np.allclose(np.asarray(area.high)[nearest], lowest)
    # Between two β the area stays under the chord of the bounds in β, above which optima lie.
    assert len(area.x) > len(levels)
    assert np.all(area.high <= np.interp(area.x, levels, lowest) * (1 + 1e-9))
    edges = np.interp(np.log(area.x), np.log(levels), lowest)
    assert np.any(np.abs(edges - area.high) > 1e-3 * edges)


@pytest.mark.parametrize(("share", "notes"), [(1.0, 1), (0.05, 0)])
def test_a_thin_area_has_no_words_in_it(share: float, notes: int) -> None:
    data = summary.searched(summary.frame(CASES["usual"])).copy()
    data.loc[data["shard"] == data["shard"].min(), "lower_bound"] *= share
    panel = plots.bounds_figure(data).panels[0]
    assert len([mark for mark in panel.marks if isinstance(mark, Note)]) == notes


def test_the_gap_has_a_panel_for_each_rounding() -> None:
    panels = plots.gap_figure(CASES["usual"]).panels
    assert [panel.title for panel in panels] == ["krivine rounding", "refined rounding"]
    assert all(panel.y.log for panel in panels)
    assert panels[0].y == panels[1].y


def test_of_one_width_no_figure_is_drawn_against_it() -> None:
    one = results_table(seeds=1, betas=3, widths=(8,))
    assert plots.gap_figure(one).empty.startswith("The sweep has one width")
    assert plots.gap_figure(CASES["usual"]).panels


@pytest.mark.parametrize("accuracy", [0.2, 1.0])
def test_the_chosen_networks_star_is_inside_its_panel(accuracy: float) -> None:
    """Its own test accuracy may lie beyond all means, which the axis was made for."""
    table = CASES["usual"].to_pandas()
    refit = table["shard"] == "all"
    changed = np.where(refit, accuracy, table["test_accuracy"])
    results = pa.Table.from_pandas(table.assign(test_accuracy=changed), RESULTS_SCHEMA)
    panel = plots.size_figure(results).panels[1]
    (star,) = (mark for mark in panel.marks if getattr(mark, "name", "") == "the chosen network")
    assert star.y == [100 * accuracy]
    assert panel.y.low < 100 * accuracy < panel.y.high


def test_a_gap_of_zero_stands_at_the_foot_of_its_axis() -> None:
    table = CASES["usual"]
    column = table.schema.get_field_index("gap")
    every = table.set_column(column, "gap", pa.array(np.zeros(table.num_rows)))
    assert not plots.gap_figure(every).panels[0].y.log
    some = np.where(np.isclose(table["beta_fraction"], 0.5), 0.0, 0.04)
    zeros = plots.gap_figure(table.set_column(column, "gap", pa.array(some)))
    assert zeros.panels[0].y.log
    assert "0 %" in texts(zeros)
    bounds = plots.bounds_figure(table.set_column(column, "gap", pa.array(some)))
    words = layout.draw(bounds.panels[1], svg.NARROW)
    line = next(s for s in words.shapes if isinstance(s, layout.Stroke) and s.width == 2.0)
    # The lowest place is that of the largest β, whose gap is 0.
    assert line.points[-1][1] == line.points[:, 1].max() > line.points[:-1, 1].max()


def test_the_frontier_is_never_beaten_by_something_smaller() -> None:
    points = summary.settings(summary.frame(CASES["usual"]))
    (line,) = plots.size_figure(CASES["usual"]).panels[0].lines()
    for size, value in zip(line.x, line.y, strict=True):
        rivals = points[(points["bytes"] <= size)]
        assert 100 * rivals["validation_accuracy"].max() <= value


def test_the_krivine_constant_is_marked_only_for_bilinear_networks() -> None:
    table = CASES["usual"]
    assert "K = 1.782" in " ".join(texts(plots.rounding_figure(table)))
    column = table.schema.get_field_index("activation")
    other = table.set_column(column, "activation", pa.array(["polynomial"] * table.num_rows))
    assert "K = 1.782" not in " ".join(texts(plots.rounding_figure(other)))


@pytest.mark.parametrize("width", [svg.NARROW, svg.WIDE[1], svg.WIDE[2]])
@pytest.mark.parametrize("at", [0.0, 0.3, 0.5, 0.7, 1.0])
def test_the_name_of_an_upright_level_is_inside_the_picture(width: float, at: float) -> None:
    name = "K = 1.782: the optimum lies left of this"
    level = Level(at, name=name, upright=True)
    panel = Panel(Axis(low=0.0, high=1.0), Axis(), (level, Line([0, 1], [0, 1])))
    (word,) = (s for s in layout.draw(panel, width).shapes
               if isinstance(s, layout.Words) and s.text == name)  # fmt: skip
    assert word.anchor == "start"
    assert word.x >= 0.0
    assert word.x + layout.CHARACTER * len(name) <= width


@pytest.mark.parametrize("width", [svg.NARROW, svg.WIDE[1]])
@pytest.mark.parametrize("excess", [1e-9, 1e-6, 1e-3, 1.0])
def test_a_rows_median_stands_clear_of_the_rows_name(width: float, excess: float) -> None:
    """Small medians are written under the name of their row, at the left."""
    rows = results_table(shards=2, betas=2, seeds=2, refit=False).to_pylist()
    rows = [{**row, "upper_bound": row["relaxation_value"] * (1 + excess)} for row in rows]
    chart = plots.rounding_figure(pa.Table.from_pylist(rows, schema=RESULTS_SCHEMA))
    drawing = layout.draw(chart.panels[0], width)
    words = [s for s in drawing.shapes if isinstance(s, layout.Words) and s.halo]
    names = [s for s in words if s.text.endswith("neurons")]
    medians = [s for s in words if s.text.endswith("%")]
    assert len(names) == len(medians) > 1
    assert all(abs(one.y - other.y) >= layout.LINE_HEIGHT for one in names for other in medians)
    assert max(word.y for word in words) < drawing.height


@pytest.mark.parametrize("width", [svg.NARROW, svg.WIDE[1]])
def test_no_line_goes_through_the_name_of_a_row(width: float) -> None:
    """A ground under each name interrupts what stands below it, and no mark of a row."""
    marks = [Level(1.0, upright=True)]
    marks += [Dots([1.0, 2.0], [k - 0.1, k + 0.42], size=2.4) for k in range(3)]
    names = ("ours", "simulated annealing", "straight-through")
    panel = Panel(Axis(log=True, low=0.97, high=2.0), Axis(), tuple(marks), rows=names)
    shapes = layout.draw(panel, width).shapes
    spots = np.concatenate([s.points for s in shapes if isinstance(s, layout.Spots)])
    upright = [s.points[0, 0] for s in shapes if isinstance(s, layout.Stroke)]
    for name in names:
        place = next(k for k, s in enumerate(shapes) if getattr(s, "text", "") == name)
        ground, word = shapes[place - 1], shapes[place]
        assert isinstance(ground, layout.Area)
        assert isinstance(word, layout.Words)
        assert ground.colour == palette.GROUND
        assert not any(isinstance(s, layout.Stroke) for s in shapes[place:])
        (left, top), (right, bottom) = ground.rings[0].min(axis=0), ground.rings[0].max(axis=0)
        assert left <= word.x
        assert right >= word.x + scales.CHARACTER * len(name)
        assert top <= word.y - 11.0
        assert bottom >= word.y + 3.0
        assert any(left < x < right for x in upright)
        covered = (spots[:, 1] + 2.4 > top) & (spots[:, 1] - 2.4 < bottom)
        assert not covered.any()


@pytest.mark.parametrize("width", [svg.NARROW, svg.WIDE[1]])
def test_names_of_lines_do_not_overlap_and_touch_their_lines(width: float) -> None:
    heights = [1.0 + 1e-4 * k for k in range(6)]
    lines = tuple(Line([0, 1], [1, y], name=f"line {k}") for k, y in enumerate(heights))
    drawing = layout.draw(Panel(Axis(), Axis(), lines), width)
    words = {s.text: s for s in drawing.shapes if isinstance(s, layout.Words)}
    names = [words[f"line {k}"] for k in range(6)]
    places = [word.y for word in names]
    assert np.abs(np.diff(places)).min() >= layout.LINE_HEIGHT - 1e-9
    assert places == sorted(places, reverse=True)
    assert max(word.x + 7 * len(word.text) for word in names) <= width
    # A thread goes from the end of each line to its name.
    strokes = [s.points for s in drawing.shapes if isinstance(s, layout.Stroke)]
    ends = [points[-1] for points in strokes if len(points) == 2]
    for word in names:
        thread = next(p for p in strokes if np.allclose(p[-1], [word.x - 2.0, word.y - 4.0]))
        assert min(np.abs(thread[0] - end).max() for end in ends) <= 4.0


def test_a_long_name_keeps_its_ends_within_the_picture() -> None:
    line = Line([0, 1], [0, 1], name="the network of the second hospital, 8 bits")
    drawing = layout.draw(Panel(Axis(), Axis(), (line,)), svg.NARROW)
    (word,) = [s for s in drawing.shapes if isinstance(s, layout.Words) and s.bold]
    assert word.text.startswith("the netw")
    assert word.text.endswith("bits")
    assert word.x + 8 * len(word.text) <= svg.NARROW


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 200), min_size=1, max_size=10),
    st.integers(5, 20),
)
def test_places_spread_apart_keep_their_order_and_stay_inside(wanted: list[int], step: int):
    found = layout.spread(wanted, step, 0.0, 200.0)
    order = np.argsort(wanted, kind="stable")
    assert np.diff(np.array(found)[order]).min(initial=step) >= step - 1e-6
    assert max(found) <= 200.0 + 1e-6
    if np.diff(np.array(wanted)[order]).min(initial=step) >= step:
        assert found == pytest.approx(wanted)


@pytest.mark.parametrize("sizes", [[248.0, 249.0], [31.0], [39.5, 39.75], [1.0, 2.0], [7.0, 9e3]])
@pytest.mark.parametrize("width", [svg.NARROW, svg.WIDE[2]])
def test_no_tick_is_at_a_part_of_a_byte(sizes: list[float], width: float) -> None:
    rows = results_table(shards=1, betas=1, seeds=1, widths=(8, 9), refit=False).to_pylist()
    table = summary.frame(pa.Table.from_pylist(rows, schema=RESULTS_SCHEMA))
    table["bytes"] = np.resize(sizes, len(table))
    axis = plots.size_figure(table).panels[0].x
    assert axis.whole
    scale = scales.scale_of(axis, np.array(sizes), 30.0, width)
    numbers = [float(text.replace("k", "e3")) for _, text in scale.ticks(51.0)]
    assert numbers
    assert all(number % 1 == 0 for number in numbers)
    assert scale.low <= min(sizes) <= max(sizes) <= scale.high


def test_axes_have_few_round_numbers() -> None:
    assert scales.even_steps(0.0, 1.0, 5) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert scales.decades(0.002, 0.3, 6) == [0.003, 0.01, 0.03, 0.1, 0.3]
    assert [scales.written(v) for v in (0.03, 250.0, 12_000, 3e6, 1e-6, 2e-5, 0.0)] == [
        "0.03", "250", "12k", "3M", "10⁻⁶", "2·10⁻⁵", "0",
    ]  # fmt: skip


@pytest.mark.parametrize("theme", [palette.LIGHT, palette.DARK], ids=["light", "dark"])
def test_colours_of_text_are_legible_on_every_ground(theme: dict[str, str]) -> None:
    grounds = (palette.GROUND, palette.WASH)
    lines = (*palette.SERIES, *palette.RAMP)
    for name in (*lines, palette.INK, palette.SOFT):
        assert min(palette.contrast(theme[name], theme[ground]) for ground in grounds) >= 4.5, name
    for ground in ("marked", "alarm"):
        for name in (palette.INK, palette.BLUE):
            assert palette.contrast(theme[name], theme[ground]) >= 4.5, (name, ground)
    assert palette.contrast("#000000", "#ffffff") == pytest.approx(21.0)


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


def test_numbers_that_only_rounding_tells_apart_have_an_axis_that_can_be_drawn() -> None:
    value = 100.0 * 31 / 60
    for low, high in ((value, np.nextafter(value, 100.0)), (value, value), (0.0, 0.0)):
        axis = plots.metric_axis(metric_for("classification"), np.array([low, high]))
        assert axis.high - axis.low > 0.5
        chart = Chart((Panel(Axis("x"), axis, (Dots([1.0, 2.0], [low, high], "blue"),)),))
        assert picture.to_png(chart)[:4] == b"\x89PNG"
    assert scales.spread(1.0, 1.0 + 1e-6) == pytest.approx(1e-6)
    assert (
        scales.scale_of(Axis("x"), np.array([value, np.nextafter(value, 100.0)]), 0, 9).high
        > value + 1
    )
