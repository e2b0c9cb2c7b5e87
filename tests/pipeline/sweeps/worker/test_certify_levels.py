"""`certify` as a setting of the sweep: bounds rise, their history is kept, tracked and verified."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.reports.certificate import render_certificate
from pipeline.reports.page import collect, render_report
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_results
from pipeline.results.record import NetworkRow
from pipeline.results.verification import verify_paths
from pipeline.sweeps.driver import prepare
from pipeline.tracking.text import bound_points
from qnn.certificates import Certificate
from qnn.errors import InputError
from tests.pipeline.small import config_text, files_of, rows_of, small_config
from tests.pipeline.tracked import run_small


def sweep(home: Path, **changes: Any) -> list[dict[str, Any]]:
    config = small_config(home, widths=[64], seeds=[0], rounding=["refined"], **changes)
    run_small(config, home / "run")
    rows = read_results(RunFolder.open(home / "run")).to_pylist()
    # The last refit is at the chosen β, which may differ from level to level.
    rows = [row for row in rows if row["shard"] != "all"]
    return sorted(rows, key=lambda row: (row["shard"], row["beta"]))


@pytest.fixture(scope="module")
def levels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    found = {}
    for level in ("relaxation", "tightened", "exact"):
        found[level] = sweep(tmp_path_factory.mktemp(level), certify=level)
    return found


def test_each_level_proves_more_and_exact_leaves_no_gap(levels):
    for plain, tightened, exact in zip(*levels.values(), strict=True):
        assert plain["certificate"] != exact["certificate"]
        assert plain["lower_bound"] <= tightened["lower_bound"] * (1 + 1e-9)
        assert tightened["lower_bound"] <= exact["lower_bound"] * (1 + 1e-9)
        assert exact["gap"] <= 1e-7 < plain["gap"]
        assert (plain["proof"], exact["proof"]) == ("relaxation", "exact")
        # The optimum is a network's objective: the other levels' networks are not below it.
        assert exact["upper_bound"] <= plain["upper_bound"] * (1 + 1e-9)


def test_the_bounds_close_in_over_time(levels):
    assert all(
        row["bounds"] is None and row["certify_seconds"] is None for row in levels["relaxation"]
    )
    for row in levels["exact"]:
        seconds, lower, upper = (
            [point[name] for point in row["bounds"]] for name in ("seconds", "lower", "upper")
        )
        assert seconds == sorted(seconds)
        assert lower == sorted(lower)
        assert upper == sorted(upper, reverse=True)
        assert lower[-1] == row["lower_bound"]
        assert seconds[-1] <= row["certify_seconds"]
        points = {
            (name, step): value for name, value, step in bound_points(NetworkRow.exactly(row))
        }
        last = max(step for _, step in points)
        assert points["over_time/lower_bound", last] == row["lower_bound"]
        assert points["over_time/upper_bound", last] == upper[-1] >= row["lower_bound"]


def test_they_verify_and_the_page_says_how_they_were_proven(tmp_path):
    rows = sweep(tmp_path, certify="exact")
    folder = RunFolder.open(tmp_path / "run")
    assert all(check.ok for check in verify_paths([folder.location]))
    row = rows[0]
    files = [folder.read(row[name]) for name in ("certificate", "network")]
    page = render_certificate(NetworkRow.exactly(row), *files)
    assert "exact certificate" in page
    assert "all sign vectors" in page
    assert "all sign vectors" in render_report(collect(folder))
    assert Certificate.load(tmp_path / "run" / row["certificate"]).kind == "exact"


def test_a_level_is_part_of_every_id_and_the_same_twice(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    sweep(tmp_path / "a", certify="exact")
    sweep(tmp_path / "b", certify="exact")
    assert rows_of(tmp_path / "a/run").equals(rows_of(tmp_path / "b/run"))
    assert files_of(tmp_path / "a/run") == files_of(tmp_path / "b/run")


def test_no_time_leaves_the_relaxations_proof(tmp_path):
    for row in sweep(tmp_path, certify="exact", certify_time_limit=1e-9):
        assert row["proof"] == "relaxation"
        assert row["status"] == "ok"
        assert row["lower_bound"] <= row["upper_bound"]
        assert np.isfinite(row["gap"])


def wide_file(home: Path, columns: int) -> str:
    rng = np.random.default_rng(0)
    names = [f"x{k}" for k in range(columns)]
    lines = [",".join([*names, "target"])]
    for row in rng.standard_normal((40, columns)):
        lines.append(",".join([*(f"{v:.3f}" for v in row), "ab"[int(row[0] > 0)]]))
    (home / "wide.csv").write_text("\n".join(lines))
    return str(home / "wide.csv")


def test_what_a_level_cannot_take_is_refused_before_computing(tmp_path):
    data = {"source": wide_file(tmp_path, 160)}
    config = small_config(tmp_path, data=data, certify="exact")
    with pytest.raises(InputError) as error:
        prepare(config)
    assert str(error.value) == (
        "certify 'exact' goes through all sign vectors, too many for 161 columns: use at most 128, "
        "or certify 'tightened'"
    )
    with pytest.raises(InputError, match="certify"):
        small_config(tmp_path, certify="hope")


def test_the_plan_says_what_it_costs(tmp_path):
    plain = prepare(small_config(tmp_path)).plan
    exact = prepare(small_config(tmp_path, certify="exact", certify_time_limit=90.0)).plan
    assert "certify      exact, within 90 s for each SDP" in exact.describe()
    assert "certify      relaxation" in plain.describe()
    assert exact.estimated_seconds > plain.estimated_seconds
    assert "certify_time_limit" in config_text(tmp_path, certify_time_limit=90.0)


@pytest.mark.parametrize(
    ("columns", "level", "seconds"),
    [(33, "exact", None), (34, "exact", 600.0), (60, "exact", 600.0), (60, "tightened", None)],
)
def test_a_proof_that_may_not_end_has_a_limit_that_the_plan_states(
    tmp_path, columns, level, seconds
):
    data = {"source": wide_file(tmp_path, columns)}
    plan = prepare(small_config(tmp_path, data=data, certify=level)).plan
    assert {path.certify_limit for path in plan.paths} == {seconds}
    # Ids are those of a sweep that names none: folders of earlier versions go on.
    assert {path.certify_time_limit for path in plan.paths} == {None}
    said = "exact, within 10.0 min for each SDP (default; certify_time_limit changes it)"
    assert (said in plan.describe()) == (seconds is not None)
    # Not the centuries that an enumeration of 2^60 would take.
    if seconds is not None:
        assert plan.estimated_seconds <= 2 * seconds * plan.problems
    own = prepare(small_config(tmp_path, data=data, certify=level, certify_time_limit=7)).plan
    assert {path.certify_limit for path in own.paths} == {7.0}
    assert "default;" not in own.describe()


def test_the_default_limit_is_kept_while_proving(tmp_path, monkeypatch):
    monkeypatch.setattr("qnn.training.problems.levels.LIMIT_SECONDS", 1e-9)
    rows = sweep(tmp_path, data={"source": wide_file(tmp_path, 40)}, certify="exact")
    assert {row["proof"] for row in rows} == {"relaxation"}


POLYNOMIAL = {"polynomial": {"a": 0.0937, "b": 0.5, "c": 0.4688}}


def test_a_polynomial_is_tightened_and_verified(tmp_path):
    rows = sweep(tmp_path, certify="tightened", activation=POLYNOMIAL)
    folder = RunFolder.open(tmp_path / "run")
    tightened = [row for row in rows if row["proof"] == "tightened"]
    assert tightened
    assert all(check.ok and check.proven for check in verify_paths([folder.location]))
    files = [folder.read(tightened[0][name]) for name in ("certificate", "network")]
    assert "Σ τ₊ bb′" in render_certificate(NetworkRow.exactly(tightened[0]), *files)


def test_a_polynomial_is_proven_optimal_and_verified(tmp_path, capsys):
    rows = sweep(tmp_path, certify="exact", activation=POLYNOMIAL)
    folder = RunFolder.open(tmp_path / "run")
    for row in rows:
        assert (row["activation"], row["proof"]) == ("polynomial", "exact")
        assert row["gap"] <= 1e-7
    assert all(check.ok and check.proven for check in verify_paths([folder.location]))
    skipped = list(verify_paths([folder.location], fast=True))
    assert all(check.ok for check in skipped)
    assert not all(check.proven for check in skipped)
    files = [folder.read(rows[0][name]) for name in ("certificate", "network")]
    assert "σ(xᵢ′u)" in render_certificate(NetworkRow.exactly(rows[0]), *files)
