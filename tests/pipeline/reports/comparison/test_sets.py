import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.configuration.metric import METRICS
from pipeline.configuration.reading import dump_config
from pipeline.reports.comparison.figures import objective_figure, size_figure
from pipeline.reports.comparison.page import render_comparison, write_comparison
from pipeline.reports.comparison.sets import (
    ComparedSet,
    against_references,
    make_sets,
    read_sets,
    summarize,
    time_curves,
)
from pipeline.reports.figures.chart import Level, Note
from pipeline.reports.page import ReportInput, render_report
from pipeline.results.folder import CONFIG_FILE, RunFolder
from pipeline.results.record import RESULTS_SCHEMA
from pipeline.results.summary import written_as
from pipeline.sweeps.driver import SweepOptions, run_sweep
from qnn.errors import InputError
from qnn.training.arms import QUANTIZED
from tests.pipeline.small import small_config

OURS = "refined"


def row(arm: str, objective: float | None, **more: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "trial": f"{arm}{more}",
        "dataset": "made",
        "shard": "fold-00",
        "beta": 1.0,
        "beta_fraction": 0.1,
        "width": 4,
        "seed": 0,
        "rounding": arm,
        "upper_bound": objective,
        "lower_bound": 8.0,
        "gap": None if objective is None else (objective - 8.0) / objective,
        "validation_accuracy": 0.9,
        "test_accuracy": 0.8,
        "bytes": 100,
        "seconds": 1.0,
        "relaxation_seconds": 2.0,
        "loss": "squared",
        "activation": "bilinear",
        "alphabet": "binary",
        "n": 10,
        "d": 3,
        "status": "ok",
    }
    return base | more


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=RESULTS_SCHEMA)


def made_set(*arguments: Any) -> ComparedSet:
    (made,) = make_sets(*arguments)
    return made


ROWS = [
    row(OURS, 10.0),
    row(OURS, 9.0, shard="fold-01", test_accuracy=0.9),
    row(OURS, 12.0, width=8, validation_accuracy=0.5, bytes=999),
    row(OURS, 1.0, shard="all"),
    row("annealing", 10.0 + 1e-9),
    row("annealing", 18.0, shard="fold-01"),
    row("annealing", 6.0, width=8),
    row("annealing", None, width=16, status="failed"),
    row("annealing", 5.0, seed=7),
    row("rbf_svm", None, beta=None, beta_fraction=None, width=None, bytes=5000, test_accuracy=0.86),
]


def test_pairs_share_problem_width_and_seed() -> None:
    ours, annealing, svm = summarize(made_set("one", "standardize", table(ROWS)))
    assert (ours.arm, ours.kind) == (OURS, "ours")
    assert (annealing.better, annealing.equal, annealing.worse) == (1, 1, 1)
    assert annealing.ratio == pytest.approx((1.0 * 2.0 * 0.5) ** (1 / 3))
    assert np.isnan(svm.ratio)
    assert np.isnan(svm.objective)
    # The final refit on all rows is no problem that the arms had.
    assert ours.objective == pytest.approx((10 + 9 + 12) / 3)
    assert ours.seconds == 3.0
    assert annealing.seconds == 1.0


def test_an_arm_with_several_times_is_a_curve_over_the_bound() -> None:
    rows = [
        row("refined", 10.0),
        row("graduated", 9.0, seconds=3.0),
        row("annealing", 32.0, baseline_seconds=1.0),
        row("annealing", 8.0, baseline_seconds=1.0, seed=1, test_accuracy=0.6),
        row("annealing", 8.0, baseline_seconds=9.0, seconds=9.0),
    ]
    made = made_set("one", "standardize", table(rows), (1.0, 9.0))
    ours, annealing = time_curves(made)
    assert ours.seconds.tolist() == [3.0, 5.0]
    assert ours.ratio.tolist() == pytest.approx([10 / 8, 9 / 8])
    assert annealing.seconds.tolist() == [1.0, 9.0]
    assert annealing.ratio.tolist() == pytest.approx([2.0, 1.0])
    assert annealing.test.tolist() == pytest.approx([0.7, 0.8])
    page = render_comparison([made, made_set("two", "standardize", table(ROWS))])
    assert "against wall time" in page
    assert "1, 9 s" in page
    # Times that differ are no race: the tables are of the other sweep alone.
    alone = render_comparison([made_set("two", "standardize", table(ROWS))])
    assert page.count("<tr") == alone.count("<tr") + 1
    assert "against wall time" in render_comparison([made])


def test_an_arm_far_off_is_named_by_its_mean() -> None:
    rows = [row(OURS, 8.8), row("annealing", 9.6), row("random_signs", 16.0)]
    rows += [row("random_signs", 32.0, seed=1)]
    (panel,) = objective_figure([made_set("one", "standardize", table(rows))]).panels
    notes = [mark.text for mark in panel.marks if isinstance(mark, Note)]
    assert notes == ["1.1", "2.83 →", "1.2"]
    assert panel.x.high < 1.3
    # Without a bound above 0 there is no ratio, and nothing to draw.
    without = [row(OURS, 8.8, lower_bound=-1.0), row("annealing", 9.6, lower_bound=-1.0)]
    (panel,) = objective_figure([made_set("one", "standardize", table(without))]).panels
    assert [type(mark) for mark in panel.marks] == [Level]


def test_the_rows_of_a_set_are_said_to_be_those_of_training() -> None:
    rows = [{**row(arm, 10.0), "n": 64} for arm in (OURS, "annealing")]
    page = render_comparison([made_set("one", "standardize", table(rows))])
    assert ">training rows of a shard</button>" in page
    assert ">rows</button>" not in page
    assert ">64</td>" in page


def test_predictions_of_numbers_show_their_error() -> None:
    none = {"validation_accuracy": None, "test_accuracy": None}
    errors = {"validation_rmse": 0.4, "test_rmse": 0.5}
    rows = [row(arm, 10.0, **none, **errors) for arm in (OURS, "annealing")]
    page = render_comparison([made_set("one", "standardize", table(rows))])
    assert page.count(">0.500</td>") == 2
    assert "test RMSE" in page
    assert "test accuracy" not in page.split("<main")[1].split("Every arm")[0]
    assert "50.0 %" not in page


def test_the_best_of_our_roundings_is_compared() -> None:
    rows = [*ROWS, row("graduated", 9.0), row("graduated", 9.0, shard="fold-01")]
    made = made_set("one", "standardize", table(rows))
    assert made.own == "graduated"
    summaries = {one.arm: one for one in summarize(made)}
    refined = summaries["refined"]
    assert refined.kind == summaries["graduated"].kind == "ours"
    assert (refined.better, refined.equal, refined.worse) == (1, 1, 0)


def test_accuracy_is_that_of_the_setting_chosen_by_validation() -> None:
    ours, _, svm = summarize(made_set("one", "standardize", table(ROWS)))
    assert ours.test == pytest.approx(0.85)
    assert ours.bytes == 100
    assert svm.test == pytest.approx(0.86)
    (against,) = against_references([made_set("one", "standardize", table(ROWS))])
    assert against.points == pytest.approx(-1.0)
    assert against.shares == {"rbf_svm": 0.02}


def told(rows: list[dict[str, Any]], metric: str) -> pa.Table:
    return written_as(table(rows), "fractions", metric)


def by_width(arm: str, width: int, **values: float) -> dict[str, Any]:
    """An arm's row at a width, each metric given as its validation and its test value."""
    both = {f"{part}_{name}": v for name, v in values.items() for part in ("validation", "test")}
    return row(arm, 10.0, width=width, bytes=width, certificate="proof.npz", **both)


# The settings that are best by accuracy, by balanced accuracy and by log loss all differ.
SEVERAL = [
    by_width(arm, width, accuracy=accuracy, balanced_accuracy=balanced, log_loss=loss)
    for arm in (OURS, "annealing", "rbf_svm")
    for width, accuracy, balanced, loss in (
        (2, 0.99, 0.5, 0.7), (4, 0.9, 0.8, 0.6), (8, 0.8, 0.7, 0.25)
    )
]  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "size", "value", "text"),
    [("accuracy", 2, 0.99, "99.0 %"), ("balanced_accuracy", 4, 0.8, "80.0 %"),
     ("log_loss", 8, 0.25, "0.250")],
)  # fmt: skip
def test_arms_are_chosen_and_shown_by_the_metric_of_the_sweep(
    metric: str, size: int, value: float, text: str
) -> None:
    made = made_set("one", "standardize", told(SEVERAL, metric))
    for one in summarize(made):
        assert (one.arm, one.bytes, one.test) == (one.arm, size, value)
    label = METRICS[metric].label
    (panel,) = size_figure([made]).panels
    assert panel.y.label == f"test {label}"
    assert all(mark.y == [100 * value if "%" in text else value] for mark in panel.marks)
    page = render_comparison([made])
    assert f">test {label}" in page
    assert page.count(f">{text}</td>") == 5  # Three arms; ours and its best reference.
    # The report's table of arms is the same.
    report = render_report(ReportInput(told(SEVERAL, metric)))
    assert report.split('id="arms"')[1].split("</section>")[0].count(f">{text}</td>") == 3
    assert f"{label} {text} with {size} bytes" in report


def test_references_are_compared_by_the_metric_of_the_sweep() -> None:
    rival = by_width("gradient_boosting", 2, accuracy=0.999, balanced_accuracy=0.6, log_loss=0.1)
    rows = [*SEVERAL, rival]
    best = {"accuracy": "gradient_boosting", "balanced_accuracy": "rbf_svm"}
    for metric, arm in best.items():
        (against,) = against_references([made_set("one", "standardize", told(rows, metric))])
        assert against.reference.arm == arm
        assert np.isfinite(against.points)
    (against,) = against_references([made_set("one", "standardize", told(rows, "log_loss"))])
    assert (against.reference.arm, against.reference.test) == ("gradient_boosting", 0.1)
    # A difference of log losses is no number of points.
    assert np.isnan(against.points)
    # Of two sweeps of one data set the one with the lower log loss on the validation rows.
    worse = [{**one, "validation_log_loss": 0.9, "test_log_loss": 0.01} for one in SEVERAL]
    sets = [
        made_set(name, "standardize", told(some, "log_loss"))
        for name, some in (("worse", worse), ("better", rows))
    ]
    (against,) = against_references(sets)
    assert against.ours.set == "better"
    # Sweeps that choose by several metrics are compared by each.
    two = [made_set("one", "standardize", told(rows, metric)) for metric in best]
    assert [one.metric.name for one in against_references(two)] == list(best)
    assert ">its test balanced accuracy" in render_comparison(two)


def test_the_command_reads_the_metric_of_the_config(tmp_path: Path) -> None:
    config = small_config(tmp_path, metric="log_loss", baselines=["random_signs"])
    folder = RunFolder.open(tmp_path / "out")
    folder.create()
    folder.write(CONFIG_FILE, dump_config(config).encode())
    folder.write_table("results/one.parquet", table([{**r, "path": "one"} for r in SEVERAL]))
    (made,) = read_sets(str(tmp_path / "out"))
    assert made.metric.name == "log_loss"
    assert {one.bytes for one in summarize(made)} == {8}


def test_the_sweep_of_a_data_set_is_chosen_by_validation() -> None:
    better = [row(OURS, 10.0, validation_accuracy=0.95, test_accuracy=0.7)]
    sets = [
        made_set("one", "standardize", table(ROWS)),
        made_set("bits", "thermometer", table(better)),
    ]
    (against,) = against_references(sets)
    assert against.ours.set == "bits"
    assert against.reference.arm == "rbf_svm"


def test_kinds_of_problem_are_compared_each_with_its_own() -> None:
    bits = {"alphabet": "2", "validation_accuracy": 0.95}
    rows = [
        *ROWS,
        row(OURS, 4.0, **bits),
        row("annealing", 5.0, **bits),
        row("annealing", 3.0, loss="logistic"),
    ]
    two, binary = make_sets("one", "standardize", table(rows))
    assert (two.title, binary.title) == ("one\n2 bit", "one\nbinary")
    ours, annealing, svm = summarize(two)
    assert (annealing.better, annealing.equal, annealing.worse) == (1, 0, 0)
    assert annealing.ratio == pytest.approx(1.25)
    assert (svm.bytes, svm.problem) == (5000, "")
    ours, annealing = summarize(binary)
    alone, *_ = summarize(made_set("one", "standardize", table(ROWS)))
    assert (annealing.better, annealing.equal, annealing.worse) == (1, 1, 1)
    assert ours.objective == alone.objective
    (against,) = against_references([two, binary])
    assert (against.ours.problem, against.reference.arm) == ("2 bit", "rbf_svm")
    page = render_comparison([two, binary])
    assert ">one: 2 bit</td>" in page
    assert "squared, bilinear, 2 bit" in page


def test_the_page_counts_what_it_shows() -> None:
    page = render_comparison([made_set("one", "standardize", table(ROWS))])
    assert "<b>1 : 1</b>" in page
    # 6.0 and 5.0 lie below their bound of 8.0, and the page says so.
    assert "<b>2</b><span>of 7 quantized networks below the proven lower bound" in page
    assert page.count("<figure") == 2
    assert "http" not in page.replace("http-equiv", "")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared")
    config = small_config(
        folder,
        baselines=[*QUANTIZED, "logistic_regression"],
        seeds=[0],
        widths=[2, 4, 8],
        shards={"kind": "kfold", "count": 2},
        rounding=["refined"],
    )
    run_sweep(config, str(folder / "out"), SweepOptions(inline=True))
    return folder / "out"


def test_the_command_makes_the_page_of_real_sweeps(run: Path, tmp_path: Path) -> None:
    qnn = Path(sys.executable).parent / "qnn"
    done = subprocess.run(
        [str(qnn), "compare", str(run), "--out", "page.html", "--figure", "main.png"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "page.html\n"), done.stderr
    page = (tmp_path / "page.html").read_text()
    assert "<b>0</b><span>of 60 quantized networks below the proven lower bound" in page
    assert page.count("<figure") == 3
    assert (tmp_path / "main.png").read_bytes()[1:4] == b"PNG"


def test_every_lower_bound_holds_below_every_quantized_arm(run: Path) -> None:
    rows = read_sets(str(run))[0].rows
    quantized = rows[rows["rounding"].isin([OURS, *QUANTIZED])]
    assert len(quantized) == 60
    assert (quantized["lower_bound"] <= quantized["upper_bound"]).all()


def test_arms_had_the_time_that_ours_took(run: Path) -> None:
    rows = read_sets(str(run))[0].rows
    key = ["shard", "beta", "width", "seed"]
    ours = rows[rows["rounding"] == OURS].set_index(key)
    budget = ours["relaxation_seconds"] + ours["rounding_seconds"]
    for arm in ("straight_through", "random_signs"):
        own = rows[rows["rounding"] == arm].set_index(key)["rounding_seconds"]
        # A refit or a step may be under way when the time is up; nothing stops much earlier.
        assert (own >= 0.9 * budget.loc[own.index]).all()


def test_what_cannot_be_compared_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no sweep with baselines; add"):
        write_comparison([str(tmp_path)], tmp_path / "page.html")
    with pytest.raises(InputError, match=r"nowhere: no such folder$"):
        write_comparison([str(tmp_path / "nowhere")], tmp_path / "page.html")
    with pytest.raises(InputError, match=r"^two of the sweeps have the same name: small, small$"):
        write_comparison([str(run), str(run)], tmp_path / "page.html")
    assert not list(tmp_path.iterdir())
