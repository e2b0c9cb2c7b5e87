"""What the plan says of columns that are ids, dates or counters, and of values too large."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.configuration.reading import SweepConfig, parse_config
from pipeline.configuration.settings import DataConfig
from pipeline.configuration.yaml_text import dump_yaml
from pipeline.datasets.sources import read_table
from pipeline.plans.plan import plan_of
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_results
from pipeline.sweeps.driver import SweepOptions, run_sweep
from qnn.errors import InputError


def plan(tmp_path: Path, column: str, cells: list[Any], **changes: Any) -> str:
    """The plan of a sweep of 40 rows with one more column."""
    lines = [f"a,{column},target"]
    lines += [f"{(7 * k) % 11},{cell},{'yn'[k % 3 == 0]}" for k, cell in enumerate(cells)]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    data = {"source": str(tmp_path / "t.csv"), **changes.pop("data", {})}
    tree = {"name": "t", "data": data, "shards": {"kind": "kfold", "count": 2},
            "beta": {"fractions": [0.1]}, "test": {"fraction": 0}, **changes}  # fmt: skip
    (tmp_path / "t.yaml").write_text(dump_yaml(tree))
    return plan_of(parse_config(dump_yaml(tree), "t.yaml")).describe()


def quantities(tmp_path: Path, value: str, targets: Any, scaling: str) -> SweepConfig:
    """A regression of 40 rows, the ninth with a target of that value; planned."""
    lines = ["a,b,y,z"]
    lines += [f"{(7 * k) % 11},{k % 3},{value if k == 8 else k % 5},{k % 4}" for k in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    tree = {"name": "t", "data": {"source": str(tmp_path / "t.csv"), "target": targets,
            "features": ["a", "b"]}, "task": "regression", "shards": {"kind": "kfold", "count": 2},
            "beta": {"fractions": [0.1]}, "test": {"fraction": 0.2}, "seeds": [0], "widths": [4],
            "preprocessing": {"scaling": scaling}}  # fmt: skip
    config = parse_config(dump_yaml(tree), "t.yaml")
    plan_of(config)
    return config


ROWS = list(range(40))


def test_days_written_as_numbers_are_said_and_learnt_as_before(tmp_path: Path) -> None:
    days = [f"2024{1 + k % 12:02d}{1 + k % 28:02d}" for k in ROWS]
    said = plan(tmp_path, "day", days)
    assert "column 'day' looks like dates written as whole numbers (as 20240101)" in said
    assert "d = 3" in said
    gaps = ["" if k == 3 else day for k, day in enumerate(days)]
    assert "looks like dates" in plan(tmp_path, "day", gaps, data={"missing": "impute"})
    # One that is no day, or no day of such years: a quantity, as an amount or an id.
    for other in ("20241301", "20240230", "12345678", "20240512.5", "99991231", "18991231"):
        assert "looks like dates" not in plan(tmp_path, "day", [*days[:-1], other])


def test_a_counter_of_known_name_is_left_out_and_others_are_said(tmp_path: Path) -> None:
    assert "left out 'Unnamed: 0', which only counts the rows" in plan(tmp_path, "Unnamed: 0", ROWS)
    unnamed = "left out the column without a name, which only counts the rows"
    assert unnamed in plan(tmp_path, "", ROWS)
    counting = plan(tmp_path, "patient", [1000 + k for k in ROWS])
    assert "column 'patient' only counts the rows, as an id does; it is learnt from" in counting
    assert "d = 3" in counting  # it, a, and the constant
    away = plan(tmp_path, "patient", [1000 + k for k in ROWS], data={"exclude": ["patient"]})
    assert "counts" not in away
    assert "left out 'patient', which data.exclude lists" in away
    # The target is no feature anyway.
    both = plan(tmp_path, "patient", ROWS, data={"exclude": ["patient", "target"]})
    assert "left out 'patient', which data.exclude lists" in both


@pytest.mark.parametrize(
    ("cells", "what"),
    [
        ([f"{k}.5 %" for k in ROWS], "numbers with a unit (as '0.5 %')"),
        ([f"€ {k}.50" for k in ROWS], "numbers with a unit (as '€ 0.50')"),
        ([f'"{k},5 kg"' for k in ROWS], "numbers with a unit (as '0,5 kg')"),
        ([f"{k % 24}:30" for k in ROWS], "times of the day (as '0:30')"),
        ([f"{k} days 01:00:00" for k in ROWS], "durations (as '0 days 01:00:00')"),
        ([f"2024-{k % 12 + 1:02}" for k in ROWS], "months (as '2024-01')"),
    ],
)
def test_quantities_that_become_categories_are_said(
    tmp_path: Path, cells: list[str], what: str
) -> None:
    said = (
        f"column 'c' looks like {what}, each taken for a category of its own; write plain numbers"
    )
    assert said in plan(tmp_path, "c", cells)


@pytest.mark.parametrize("cells", [["1a", "2b", "3c", "4d"], ["5 kg", "6 kg"], ["A4", "A5", "B5"]])
def test_categories_that_hold_digits_are_no_quantities(tmp_path: Path, cells: list[str]) -> None:
    assert "looks like" not in plan(tmp_path, "c", (40 * cells)[:40])


def test_a_separator_at_the_end_of_every_line_makes_no_column(tmp_path: Path) -> None:
    text = plan(tmp_path, "b", [k % 5 for k in ROWS])
    lines = (tmp_path / "t.csv").read_text().splitlines()
    (tmp_path / "t.csv").write_text("".join(f"{line},\n" for line in lines))
    config = parse_config((tmp_path / "t.yaml").read_text(), "t.yaml")
    trailing = plan_of(config).describe()
    assert "left out a column without a name and without a value" in trailing
    assert trailing.splitlines()[: len(text.splitlines()) - 1] == text.splitlines()[:-1]


def test_a_column_without_a_value_is_to_be_excluded_and_not_imputed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'c' has no value in any row; list it in"):
        plan(tmp_path, "c", [""] * 40)
    assert "d = 2" in plan(tmp_path, "c", [""] * 40, data={"exclude": ["c"]})


@pytest.mark.parametrize("marks", [{}, {"decimal": ",", "thousands": "."}])
def test_a_target_is_read_with_the_marks_of_its_file(tmp_path: Path, marks: dict[str, str]) -> None:
    lines = [f'{k};1.00{k % 10},{k:02};"{k},25"' for k in ROWS]
    (tmp_path / "t.csv").write_text("a;y;z\n" + "\n".join(lines) + "\n")
    data = DataConfig(source=str(tmp_path / "t.csv"), target=("y", "z"), **marks)
    target = read_table(data, task="regression").target
    assert target[:, 0].tolist() == [1000 + k % 10 + k / 100 for k in ROWS]
    assert target[:, 1].tolist() == [k + 0.25 for k in ROWS]


@pytest.mark.parametrize(("first", "mark"), [("sep=;", ";"), ("SEP=,\r", ","), ("sep=\t", "\t")])
def test_the_separator_that_a_first_line_tells_is_taken(
    tmp_path: Path, first: str, mark: str
) -> None:
    lines = [first, f"a{mark}y", *(f"{k}{mark}{'ja' if k % 3 else 'nein'}" for k in ROWS)]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n", newline="")
    table = read_table(DataConfig(source=str(tmp_path / "t.csv"), target="y"))
    assert table.columns["a"].tolist() == ROWS
    assert table.classes == ("ja", "nein")


@pytest.mark.parametrize("positive", [True, False])
def test_a_truth_names_the_class_that_is_spelt_so(tmp_path: Path, positive: bool) -> None:
    lines = ["a,y", *(f"{k},{'True' if k % 3 else 'False'} x" for k in ROWS)]
    (tmp_path / "t.csv").write_text("\n".join(lines).replace(" x", "") + "\n")
    data = DataConfig(source=str(tmp_path / "t.csv"), target="y", positive=positive)
    classes = read_table(data).classes
    assert classes is not None
    assert str(classes[1]).lower() == str(positive).lower()


def test_a_rare_name_is_no_quantity(tmp_path: Path) -> None:
    lines = ["a,target", *(f"{k},{'xyz'[k % 2 if k else 2]}" for k in ROWS)]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    tree = {"name": "t", "data": {"source": str(tmp_path / "t.csv")}, "beta": {"fractions": [0.1]},
            "shards": {"kind": "kfold", "count": 2}}  # fmt: skip
    with pytest.raises(InputError, match="no training row of class 'z'") as refused:
        plan_of(parse_config(dump_yaml(tree), "t.yaml"))
    assert "regression" not in str(refused.value)


def test_a_column_without_a_name_is_seen_among_the_columns(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no column 'id' in the data \(columns: a, '', target"):
        plan(tmp_path, "", ROWS, data={"exclude": ["id"]})


@pytest.mark.parametrize("name", ["id", "customer_id", "Customer ID", "userId", "UUID"])
def test_an_id_is_told_by_name_and_values(tmp_path: Path, name: str) -> None:
    said = f"column '{name}' looks like an id: no two rows share one"
    assert said in plan(tmp_path, name, [(37 * k) % 101 for k in ROWS])
    assert said in plan(tmp_path, name, [f"C-{(37 * k) % 101}" for k in ROWS])
    # A number of the site, shared by rows, and a measure are none.
    assert "note" not in plan(tmp_path, name, [k % 5 for k in ROWS])
    assert "note" not in plan(tmp_path, name, [0.25 + (37 * k) % 101 for k in ROWS])


@pytest.mark.parametrize("name", ["arid", "paid", "width", "period"])
def test_words_that_end_alike_are_no_ids(tmp_path: Path, name: str) -> None:
    assert "note" not in plan(tmp_path, name, [(37 * k) % 101 for k in ROWS])


def test_dates_are_said(tmp_path: Path) -> None:
    days = [f"2026-01-{1 + k % 9:02d}" for k in ROWS]
    assert "left out 'day', which holds dates" in plan(
        tmp_path, "day", days, data={"exclude": ["day"]}
    )
    taken = plan(tmp_path, "day", days, data={"categorical": ["day"]})
    assert "column 'day' holds dates, each taken for a category of its own" in taken
    with pytest.raises(InputError, match=r"column 'day' holds dates \(row 1 .*data\.exclude"):
        plan(tmp_path, "day", days)


@pytest.mark.parametrize("scaling", ["standardize", "none"])
@pytest.mark.parametrize("value", ["1e300", "-1e300", "1e160"])
def test_a_value_too_large_is_named_by_column_and_row(
    tmp_path: Path, scaling: str, value: str
) -> None:
    cells: list[Any] = [k % 5 for k in ROWS]
    cells[17] = value
    with pytest.raises(InputError) as error:
        plan(tmp_path, "b", cells, preprocessing={"scaling": scaling})
    assert f"column 'b', row 18: {float(value):g} is too large" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", ["1e200", "-1e200", "1.7e308", "1e154"])
@pytest.mark.parametrize("scaling", ["standardize", "none", "quantile"])
@pytest.mark.parametrize("targets", ["y", ["y", "z"]])
def test_a_target_too_large_is_named_by_column_and_row(
    tmp_path: Path, scaling: str, value: str, targets: Any
) -> None:
    with pytest.raises(InputError) as error:
        quantities(tmp_path, value, targets, scaling)
    assert str(error.value).startswith(f"the target 'y', row 9: {float(value):g} is too large")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("scaling", ["standardize", "none", "quantile"])
def test_a_large_target_is_learnt_and_measured_without_overflow(
    tmp_path: Path, scaling: str
) -> None:
    config = quantities(tmp_path, "1e100", "y", scaling)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        outcome = run_sweep(config, str(tmp_path / "run"), SweepOptions(inline=True))
    assert (outcome.exit_code, outcome.failed) == (0, 0)
    rmse = read_results(RunFolder.open(tmp_path / "run"))["validation_rmse"].drop_null()
    assert np.isfinite(rmse.to_numpy()).all()


def test_what_squares_well_or_is_ranked_is_taken(tmp_path: Path) -> None:
    large: list[Any] = [k % 5 for k in ROWS]
    large[17] = "1e150"
    assert "trials" in plan(tmp_path, "b", large)
    large[17] = "1e300"
    for scaling in ("quantile", "thermometer"):
        assert "trials" in plan(tmp_path, "b", large, preprocessing={"scaling": scaling})
    # A large number that all rows share has no spread.
    assert "trials" in plan(tmp_path, "b", ["1e300"] * 40, data={"constant_columns": "drop"})
