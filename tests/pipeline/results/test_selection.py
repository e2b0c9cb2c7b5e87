"""The choice looks at validation alone."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.results.ledger import rows_table
from pipeline.results.record import RESULTS_SCHEMA
from pipeline.results.selection import CHOICE_COLUMNS, best_refit, choose


def rows(metric: str = "validation_accuracy", **means: Any) -> list[dict[str, Any]]:
    """Rows of two shards and two seeds; a setting is named `b<beta>_w<width>`."""
    made = []
    for name, value in means.items():
        beta, width = name[1:].split("_w")
        mean, size = value if isinstance(value, tuple) else (value, 100)
        for shard in ("fold-00", "fold-01"):
            for seed in (0, 1):
                made.append(
                    {
                        "trial": f"{name}{shard}{seed}", "path": shard, "shard": shard,
                        "seed": seed, "beta_fraction": float(beta) / 10, "beta": 1.0 + seed,
                        "width": int(width), "rounding": "refined", "status": "ok",
                        "loss": "squared", "activation": "bilinear", "alphabet": "binary",
                        "bytes": size, "upper_bound": 1.0, "test_accuracy": 0.5,
                        metric: mean + (0.1 if shard == "fold-00" else -0.1),
                    }
                )  # fmt: skip
    return made


def pick(made: list[dict[str, Any]], task: str = "classification") -> tuple[float, int]:
    choice = choose(rows_table(made), "fractions", task)
    assert choice is not None
    return choice.beta.written, choice.width


def test_the_best_mean_wins_and_is_described():
    choice = choose(rows_table(rows(b1_w8=0.8, b2_w8=0.9, b3_w8=0.85)), "fractions",
                    "classification")  # fmt: skip
    assert choice is not None
    assert (choice.beta.written, choice.width, choice.rounding) == (0.2, 8, "refined")
    assert choice.metric == "validation_accuracy"
    assert choice.mean == pytest.approx(0.9)
    assert choice.deviation == pytest.approx(0.1)
    assert choice.networks == 4
    assert choice.mean_bytes == 100


def test_regression_takes_the_lowest_error():
    made = rows("validation_rmse", b1_w8=2.0, b2_w8=1.0, b3_w8=3.0)
    assert pick(made, "regression") == (0.2, 8)


def test_ties_go_to_fewer_bytes_then_to_the_larger_beta():
    assert pick(rows(b1_w8=(0.9, 50), b2_w16=(0.9, 40), b3_w32=(0.9, 60))) == (0.2, 16)
    assert pick(rows(b1_w8=0.9, b3_w8=0.9, b2_w8=0.9)) == (0.3, 8)


def test_a_tie_is_not_broken_by_rounding_errors_of_the_mean():
    made = rows(b1_w8=(0.3, 50), b2_w8=(0.3, 60))
    for row, value in zip(made, [0.1, 0.2, 0.3, 0.6, 0.6, 0.3, 0.2, 0.1], strict=True):
        row["validation_accuracy"] = value
    assert pick(made) == (0.1, 8)
    assert pick(made[::-1]) == (0.1, 8)


def test_no_test_metric_changes_the_choice():
    assert not any(column.startswith("test_") for column in CHOICE_COLUMNS)
    rng = np.random.default_rng(0)
    made = rows(b1_w8=0.8, b2_w8=0.9, b3_w16=0.85)
    before = choose(rows_table(made), "fractions", "classification")
    for row in made:
        for metric in ("accuracy", "rmse", "r2"):
            row[f"test_{metric}"] = float(rng.uniform())
    table = rows_table(made)
    assert choose(table, "fractions", "classification") == before
    for metric in ("accuracy", "rmse", "r2"):
        table = table.drop_columns([f"test_{metric}"])
    assert choose(table, "fractions", "classification") == before


def test_rows_of_final_refits_do_not_vote():
    made = rows(b1_w8=0.8, b2_w8=0.9)
    final = {**made[0], "shard": "all", "beta_fraction": 0.7, "validation_accuracy": 1.0}
    assert pick([*made, final]) == (0.2, 8)


def test_a_setting_with_a_failed_trial_loses_to_whole_ones():
    made = rows(b1_w8=0.8, b2_w8=0.9)
    made[-1] |= {"status": "failed", "validation_accuracy": None, "bytes": None}
    assert pick(made) == (0.1, 8)
    made[0] |= {"status": "failed", "validation_accuracy": None, "bytes": None}
    assert pick(made) == (0.2, 8)


def test_values_are_grouped_by_beta_itself():
    choice = choose(rows_table(rows(b1_w8=0.8)), "values", "classification")
    assert choice is not None
    assert choice.beta.form == "values"
    assert choice.networks == 2


def test_nothing_to_choose_from():
    assert choose(RESULTS_SCHEMA.empty_table(), "fractions", "classification") is None
    made = [{**row, "validation_accuracy": None} for row in rows(b1_w8=0.8)]
    assert choose(rows_table(made), "fractions", "classification") is None


def test_the_best_refit_is_the_one_that_trained_best():
    made = rows(b1_w8=0.8)
    for k, row in enumerate(made):
        row |= {"path": "refit", "upper_bound": [3.0, 1.0, 1.0, 0.5][k], "bytes": [1, 9, 8, 1][k]}
    made[3] |= {"status": "failed"}
    best = best_refit(rows_table(made), "refit")
    assert best is not None
    assert best.identity.trial == made[2]["trial"]
    assert best_refit(rows_table(made), "other") is None
    assert isinstance(rows_table(made), pa.Table)
