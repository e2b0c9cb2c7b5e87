import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.reports.comparison.figures import objective_figure
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
from pipeline.results.record import RESULTS_SCHEMA
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
    assert annealing.accuracy.tolist() == pytest.approx([0.7, 0.8])
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
    assert ours.accuracy == pytest.approx(0.85)
    assert ours.bytes == 100
    assert svm.accuracy == pytest.approx(0.86)
    (against,) = against_references([made_set("one", "standardize", table(ROWS))])
    assert against.points == pytest.approx(-1.0)
    assert against.shares == {"rbf_svm": 0.02}


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
    with pytest.raises(InputError, match=r"^two of the sweeps have the same name: small, small$"):
        write_comparison([str(run), str(run)], tmp_path / "page.html")
    assert not list(tmp_path.iterdir())
