"""Cells that a learned bound leaves out: proven, within the gap, and the same at every run."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.configuration.reading import parse_config
from pipeline.plans.plan import plan_of
from pipeline.plans.studies import get_study
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_results
from pipeline.results.record import LEARNED
from pipeline.results.selection import FINAL_SHARD
from pipeline.results.summary import left_out
from pipeline.results.verification import verify_paths
from pipeline.sweeps.driver import SweepOptions, run_sweep
from qnn.errors import InputError
from qnn.numerics.gaps import relative_gap
from tests.pipeline.small import config_text, rows_of, small_config

GAP = 0.08
GRID: dict[str, Any] = {
    "beta": {"fractions": {"start": 0.3, "stop": 0.02, "count": 12}},
    "seeds": [0],
    "widths": [32],
    "rounding": ["refined"],
}
LEARNING: dict[str, Any] = {**GRID, "bounds": "learned", "prune_gap": GAP}


def swept(home: Path, out: str, **changes: Any) -> pd.DataFrame:
    config = small_config(home, **changes)
    run_sweep(config, str(home / out), SweepOptions(inline=True))
    rows = rows_of(home / out).to_pandas()
    rows = rows[rows["shard"] != FINAL_SHARD]
    return rows.sort_values(["shard", "beta_fraction"], ignore_index=True)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pruning")


@pytest.fixture(scope="module")
def rows(home: Path) -> pd.DataFrame:
    return swept(home, "learned", **LEARNING)


def test_some_cells_are_left_out_and_each_is_within_the_gap(rows: pd.DataFrame) -> None:
    pruned = rows[rows["solver"] == LEARNED]
    assert 0 < len(pruned) < len(rows)
    assert (rows["status"] == "ok").all()
    assert (pruned["gap"] <= GAP).all()
    assert (pruned["proof"] == "relaxation").all()
    assert pruned["relaxation_value"].isna().all()
    assert rows.loc[rows["solver"] != LEARNED, "relaxation_value"].notna().all()


def test_no_cell_is_dropped_that_a_solver_would_keep(home: Path, rows: pd.DataFrame) -> None:
    plain = swept(home, "plain", **GRID)
    for one, other in zip(rows.itertuples(), plain.itertuples(), strict=True):
        assert (one.shard, one.beta_fraction) == (other.shard, other.beta_fraction)
        assert one.trial != other.trial
        if one.solver == LEARNED:
            assert relative_gap(one.upper_bound, other.lower_bound) <= GAP
            assert one.lower_bound <= other.relaxation_value


def test_everything_verifies_from_the_files(home: Path, rows: pd.DataFrame) -> None:
    checks = list(verify_paths([str(home / "learned")]))
    assert len(checks) >= len(rows)
    assert [check for check in checks if not check.ok] == []


def test_the_report_says_what_that_saved(home: Path, rows: pd.DataFrame) -> None:
    count = int((rows["solver"] == LEARNED).sum())
    page = (home / "learned" / "report.html").read_text(encoding="utf-8")
    # The refit of the best setting is solved, and counted too.
    words = f"{count} of {len(rows) + 1}: "
    assert "SDPs left out by learned bounds" in page
    assert words in page
    table = read_results(RunFolder.open(str(home / "learned")))
    study, config = get_study("training"), small_config(home, **LEARNING)
    (finding,) = study.findings(table, config)
    assert finding[0] == "learned"
    assert finding[1].startswith(f"SDPs left out {words}")
    assert study.findings(table, small_config(home, **GRID)) == []
    results = table.to_pandas()
    slow = results["solver"] == LEARNED
    results["relaxation_seconds"] = np.where(slow, 3.0, 0.5)
    results["seconds"] = 0.5
    assert (
        left_out(results) == f"{words}cost {2.5 * count:.1f} s more than it saved, at 1000 ms "
        "for a solved one"
    )
    results["relaxation_seconds"] = np.where(slow, 0.0, 2.0)
    assert (
        left_out(results) == f"{words}saved about {2.0 * count:.1f} s, at 2500 ms for a solved one"
    )
    assert left_out(results[~slow]) == f"0 of {len(rows) + 1 - count}"


def test_a_run_that_was_cut_gives_the_same_rows(home: Path, rows: pd.DataFrame) -> None:
    swept(home, "again", **LEARNING)
    files = sorted((home / "again" / "results").glob("*.parquet"))
    files[1].unlink()
    again = swept(home, "again", **LEARNING)
    pd.testing.assert_frame_equal(again, rows)


def test_a_path_of_one_beta_is_solved(tmp_path: Path) -> None:
    one = {**LEARNING, "beta": {"fractions": [0.1]}}
    assert (swept(tmp_path, "one", **one)["solver"] != LEARNED).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bounds": "foretold"}, "bounds: "),
        ({"prune_gap": 0.1}, "prune_gap belongs to bounds: learned"),
        ({"bounds": "learned", "prune_gap": 0.0}, "prune_gap: "),
        ({"bounds": "learned", "prune_gap": 1.0}, "prune_gap: "),
        ({"bounds": "learned", "certify": "exact"}, "certify is exact"),
        ({"bounds": "learned", "baselines": ["annealing"]}, "remove them"),
    ],
)
def test_configs_that_do_not_fit(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_config(config_text(tmp_path, **changes), "small.yaml")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss": "logistic"}, "loss 'squared'"),
        ({"activation": {"polynomial": {"a": 0.1, "b": 0.5, "c": 0.4}}}, "bilinear"),
        ({"preprocessing": {"scaling": "thermometer", "thresholds": 9}}, "at most 24 columns"),
    ],
)
def test_problems_without_learned_bounds(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        plan_of(small_config(tmp_path, bounds="learned", **changes))
