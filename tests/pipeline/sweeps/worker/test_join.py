"""More than two classes: a path an output, joined to whole networks whose bounds are sums."""

import re
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from pipeline.commands.terminal import print_outcome
from pipeline.datasets import shards
from pipeline.reports.comparison.sets import read_sets, summarize
from pipeline.results.folder import RunFolder, StoreError
from pipeline.results.ledger import read_results, results_file
from pipeline.results.record import LATER_COLUMNS
from pipeline.results.verification import verify_paths
from pipeline.sweeps.driver import SweepOptions, prepare, run_sweep
from pipeline.sweeps.resume import completed_units
from pipeline.sweeps.worker import join as joins
from pipeline.sweeps.worker import path as tasks
from pipeline.sweeps.worker.join import run_join
from qnn.networks.quantized import QuantizedNetwork
from qnn.training.problems.problem import Problem
from tests.pipeline.classes import JOINED, LABELS, PARTS, classes_config
from tests.pipeline.small import files_of, rows_of

INLINE = SweepOptions(inline=True)
RETRY = SweepOptions(inline=True, retry_failed=True)
Row = dict[str, Any]


@pytest.fixture(autouse=True)
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its figures take longer than the sweep and are tested elsewhere."""
    monkeypatch.setattr("pipeline.reports.page.write_report", lambda folder, trial: None)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    home = tmp_path_factory.mktemp("classes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.reports.page.write_report", lambda folder, trial: None)
        outcome = run_sweep(classes_config(home), str(home / "run"), INLINE)
    assert (outcome.exit_code, outcome.failed) == (0, 0)
    return RunFolder.open(outcome.location)


def split_rows(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """Whole networks and networks of one output."""
    whole = [row for row in rows if row["output"] is None]
    return whole, [row for row in rows if row["output"] is not None]


def parts_of(row: Row, rows: list[Row]) -> list[Row]:
    axes = ("shard", "beta_fraction", "seed", "width", "rounding")
    found = [one for one in rows if all(one[axis] == row[axis] for axis in axes)]
    return sorted(found, key=lambda one: one["output"])


def test_each_output_has_rows_and_each_network_is_joined(run):
    whole, parts = split_rows(read_results(run).to_pylist())
    assert (len(whole), len(parts)) == (JOINED + 1, PARTS + 3)
    for row in whole:
        own = parts_of(row, parts)
        assert [part["output"] for part in own] == [0, 1, 2]
        assert row["certificates"] == [part["certificate"] for part in own]
        assert row["certificate"] is None
        assert len({part["beta"] for part in own} | {row["beta"]}) == 1
        exact = sum(Fraction(part["lower_bound"]) for part in own)
        assert 0 <= exact - Fraction(row["lower_bound"]) <= Fraction(1, 10**10)
        # Neurons that are the same in two outputs are stored, and paid for, once each way.
        assert row["upper_bound"] <= sum(part["upper_bound"] for part in own) * (1 + 1e-12)
        assert row["gap"] == (row["upper_bound"] - row["lower_bound"]) / row["upper_bound"]
        assert max(part["neurons"] for part in own) <= row["neurons"]
        assert row["neurons"] <= sum(part["neurons"] for part in own)
        assert all(part["neurons"] <= row["width"] for part in own)
        assert row["seconds"] > sum(part["seconds"] for part in own)
    assert len({row["trial"] for row in (*whole, *parts)}) == len(whole) + len(parts)
    assert all(check.ok for check in verify_paths([run.location]))


def test_the_objective_is_that_of_the_formula_and_classes_are_predicted(run, tmp_path):
    config = classes_config(tmp_path)
    table = pyarrow.csv.read_csv(tmp_path / "classes.csv").to_pandas()
    test_rows = prepare(config).split.test_rows
    for row in split_rows(read_results(run).to_pylist())[0]:
        data = pq.read_table(f"{run.location}/data/classes/{row['shard']}.parquet").to_pandas()
        X, Y = data.filter(regex="^x").to_numpy(), data.filter(regex="^y").to_numpy()
        assert Y.shape == (row["n"], 3)
        assert np.array_equal(Y.sum(axis=1), np.full(row["n"], -1.0))
        network = QuantizedNetwork.load(f"{run.location}/{row['network']}")
        assert network.V is not None
        f = ((X @ network.U) * (X @ network.V)) @ network.alpha
        loss = 0.5 * np.sum((f - Y) ** 2)
        assert row["loss_value"] == pytest.approx(loss, rel=1e-10)
        penalty = row["beta"] * row["d"] * np.abs(network.alpha).sum()
        assert row["upper_bound"] == pytest.approx(loss + penalty, rel=1e-10)
        held = table.iloc[test_rows]
        said = network.predict(held.drop(columns="target"))
        assert set(said) <= set(LABELS)
        assert row["test_accuracy"] == np.mean(said == held["target"].to_numpy())


def test_the_checker_of_the_formats_page_accepts_it(run):
    text = (Path(__file__).parents[4] / "docs" / "formats.md").read_text(encoding="utf-8")
    checker, _ = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", checker, run.location], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" ok ") == JOINED + PARTS + 4


def test_a_part_is_one_class_against_the_rest(run, tmp_path):
    classes_config(tmp_path)
    table = pyarrow.csv.read_csv(tmp_path / "classes.csv").to_pandas()
    held = table.iloc[prepare(classes_config(tmp_path)).split.test_rows]
    for row in split_rows(read_results(run).to_pylist())[1]:
        network = QuantizedNetwork.load(f"{run.location}/{row['network']}")
        said = network.predict(held.drop(columns="target"))
        is_it = held["target"].to_numpy() == LABELS[row["output"]]
        assert row["test_accuracy"] == np.mean(said == is_it)


def test_one_beta_for_all_outputs_is_a_fraction_of_the_largest_beta_max(run, tmp_path):
    prepared = prepare(classes_config(tmp_path))
    join = prepared.plan.joins[0]
    data = shards.shard_data(
        prepared.table, prepared.layout, prepared.split.shard(join.shard), prepared.split
    )
    each = [Problem(data.X, y, beta=1.0).beta_max for y in data.y.T]
    rows = [row for row in read_results(run).to_pylist() if row["shard"] == join.shard]
    (beta_max,) = {row["beta_max"] for row in rows}
    # Workers compute on one thread, this test perhaps on more: the last digits differ.
    assert beta_max == pytest.approx(max(each), rel=1e-12)
    assert {row["beta"] for row in rows} == {0.3 * beta_max, 0.05 * beta_max}


def test_at_the_largest_beta_max_the_whole_network_is_zero(tmp_path):
    config = classes_config(tmp_path, beta={"fractions": [1.0]}, widths=[4])
    outcome = run_sweep(config, str(tmp_path / "run"), INLINE)
    assert outcome.champion is not None
    assert (outcome.champion.fit.neurons, outcome.champion.fit.bytes) == (0, 0)
    assert outcome.champion.fit.upper_bound == pytest.approx(0.5 * 3 * outcome.champion.identity.n)
    assert outcome.champion.fit.gap < 1e-8
    assert all(check.ok for check in verify_paths([outcome.location]))


def test_a_driver_that_dies_between_goes_on_with_the_joins(run, tmp_path, monkeypatch):
    config = classes_config(tmp_path)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(joins, "run_join", killed)
        with pytest.raises(KeyboardInterrupt):
            run_sweep(config, str(tmp_path / "run"), INLINE)
    folder = RunFolder.open(tmp_path / "run")
    plan = prepare(config).plan
    assert completed_units(folder) == {path.id for path in plan.paths}
    solved = []
    good = tasks.run_path

    def seen(spec, *rest):
        solved.append(spec.shard)
        return good(spec, *rest)

    monkeypatch.setattr(tasks, "run_path", seen)
    outcome = run_sweep(config, str(tmp_path / "run"), INLINE)
    assert (outcome.exit_code, outcome.reused_paths) == (0, len(plan.paths))
    assert solved == ["all"] * 3
    assert rows_of(tmp_path / "run").equals(rows_of(run.location))
    assert files_of(tmp_path / "run") == files_of(Path(run.location))
    assert run_sweep(config, str(tmp_path / "run"), INLINE).exit_code == 0
    assert solved == ["all"] * 3


def test_a_join_is_never_older_than_its_parts(run, tmp_path, monkeypatch):
    config = classes_config(tmp_path)
    run_sweep(config, str(tmp_path / "run"), INLINE)
    folder = RunFolder.open(tmp_path / "run")
    join = prepare(config).plan.joins[1]
    folder.remove(results_file(join.paths[2].id))

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tasks, "run_path", killed)
        with pytest.raises(KeyboardInterrupt):
            run_sweep(config, str(tmp_path / "run"), INLINE)
    assert not folder.exists(results_file(join.id))
    assert run_sweep(config, str(tmp_path / "run"), INLINE).exit_code == 0
    assert rows_of(tmp_path / "run").equals(rows_of(run.location))


def test_a_join_that_cannot_be_kept_is_no_failed_network(run, tmp_path):
    class Full(RunFolder):
        def write(self, relative: str, content: bytes) -> None:
            if relative.startswith("networks/"):
                raise StoreError("no space left")
            super().write(relative, content)

    shutil.copytree(run.location, tmp_path / "run")
    folder = RunFolder.open(tmp_path / "run")
    prepared = prepare(classes_config(tmp_path))
    join = prepared.plan.joins[0]
    folder.remove(results_file(join.id))
    data = prepared.data.shard(join.shard)
    with pytest.raises(StoreError, match="no space left"):
        list(run_join(join, data, Full(folder.filesystem, folder.root, folder.location)))
    assert not folder.exists(results_file(join.id))


def test_a_failed_output_makes_a_failed_network_that_says_which(run, tmp_path, monkeypatch):
    config = classes_config(tmp_path)
    good = tasks.keep_network

    def sometimes(row, *rest):
        if (row.identity.output, row.axes.width, row.identity.shard) == (1, 8, "fold-01"):
            raise RuntimeError("no")
        return good(row, *rest)

    monkeypatch.setattr(tasks, "keep_network", sometimes)
    outcome = run_sweep(config, str(tmp_path / "run"), INLINE)
    assert (outcome.exit_code, outcome.failed) == (1, 2)
    whole, parts = split_rows(outcome.results.to_pylist())
    assert sum(part["status"] == "failed" for part in parts) == 2
    failed = [row for row in whole if row["status"] == "failed"]
    assert len(failed) == 2
    assert {row["error"] for row in failed} == {"output 1 ('b & c') failed: RuntimeError: no"}
    assert all(row["network"] is None and row["lower_bound"] is None for row in failed)
    monkeypatch.setattr(tasks, "keep_network", good)
    assert run_sweep(config, str(tmp_path / "run"), INLINE).failed == 2
    assert run_sweep(config, str(tmp_path / "run"), RETRY).failed == 0
    assert rows_of(tmp_path / "run").equals(rows_of(run.location))


def test_a_lost_output_loses_the_join_and_both_are_tried_again(run, tmp_path, monkeypatch):
    config = classes_config(tmp_path)
    good = tasks.run_path

    def lose_one(spec, *rest):
        if (spec.output, spec.shard) == (2, "fold-00"):
            raise MemoryError("cannot allocate")
        return good(spec, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(tasks, "run_path", lose_one)
        outcome = run_sweep(config, str(tmp_path / "run"), INLINE)
    assert (outcome.exit_code, outcome.failed) == (1, JOINED // 2)
    whole, parts = split_rows(outcome.results.to_pylist())
    assert {row["error"] for row in whole} == {
        None, "output 2 ('c') has no results: MemoryError: cannot allocate"
    }  # fmt: skip
    assert sum(part["status"] == "failed" for part in parts) == PARTS // 6
    assert run_sweep(config, str(tmp_path / "run"), INLINE).exit_code == 0
    assert rows_of(tmp_path / "run").equals(rows_of(run.location))


def test_ray_workers_write_what_one_process_writes(run, tmp_path, ray_cluster):
    outcome = run_sweep(classes_config(tmp_path), str(tmp_path / "run"))
    assert outcome.exit_code == 0
    assert rows_of(tmp_path / "run").equals(rows_of(run.location))
    assert files_of(tmp_path / "run") == files_of(Path(run.location))


def test_arms_are_joined_and_references_take_all_classes_at_once(tmp_path):
    arms = ["random_signs", "logistic_regression"]
    config = classes_config(
        tmp_path, baselines=arms, baseline_seconds=0.05, widths=[4], beta={"fractions": [0.1]}
    )
    plan = prepare(config).plan
    assert plan.trials == 2 * (1 + 1) + 2
    outcome = run_sweep(config, str(tmp_path / "run"), INLINE)
    assert (outcome.exit_code, outcome.failed) == (0, 0)
    whole, parts = split_rows(outcome.results.to_pylist())
    arm = [row for row in whole if row["rounding"] == "random_signs"]
    assert len(arm) == 2
    for row in arm:
        assert row["upper_bound"] >= row["lower_bound"]
        assert len(row["certificates"]) == 3
    references = [row for row in whole if row["rounding"] == "logistic_regression"]
    assert [row["beta"] for row in references] == [None, None]
    assert all(row["validation_accuracy"] > 0.5 and row["bytes"] > 0 for row in references)
    assert all(row["certificates"] is None and row["gap"] is None for row in references)
    assert not any(part["rounding"] == "logistic_regression" for part in parts)
    assert len({row["preprocessing_bytes"] for row in (*arm, *references)}) == 1
    # References have no width: those of our networks are whole numbers all the same.
    console = Console(record=True, width=120)
    print_outcome(outcome, console)
    assert "  4  refined " in console.export_text()
    assert all(check.ok for check in verify_paths([outcome.location]))
    # Beside each other: whole networks alone, one pair for each shard.
    ours, *others = summarize(read_sets(outcome.location)[0])
    assert (ours.arm, [other.arm for other in others]) == ("refined", arms)
    assert others[0].better + others[0].equal + others[0].worse == 2
    assert others[1].bytes == np.mean([row["bytes"] for row in references])


def test_a_joined_proof_is_as_weak_as_its_weakest_part(run, tmp_path):
    config = classes_config(tmp_path, certify="exact", widths=[4], beta={"fractions": [0.3]})
    outcome = run_sweep(config, str(tmp_path / "run"), INLINE)
    whole, parts = split_rows(outcome.results.to_pylist())
    assert {row["proof"] for row in (*whole, *parts)} == {"exact"}
    relaxed = {row["shard"]: row for row in split_rows(read_results(run).to_pylist())[0]
               if (row["beta_fraction"], row["width"]) == (0.3, 4)}  # fmt: skip
    for row in whole:
        if row["shard"] in relaxed:
            assert row["lower_bound"] > relaxed[row["shard"]]["lower_bound"]
        assert row["certify_seconds"] > 0
    checks = list(verify_paths([outcome.location], fast=True))
    assert all(check.ok for check in checks)
    skipped = {check.file for check in checks if not check.proven}
    assert {row["network"] for row in whole} <= skipped
    assert all(check.proven for check in verify_paths([outcome.location]))


@pytest.mark.parametrize(
    "kind",
    [
        {"loss": "logistic"},
        {"loss": "huber", "loss_parameter": 0.5},
        {"activation": {"polynomial": {"a": 1.0}}, "alphabet": 2},
        {"second_layer": 4, "loss": "squared_hinge"},
        {"certify": "tightened"},
    ],
    ids=lambda kind: "-".join(map(str, kind.values())),
)
def test_every_kind_of_problem_is_joined_and_verified(tmp_path, kind):
    config = classes_config(tmp_path, beta={"fractions": [0.2]}, widths=[4], **kind)
    outcome = run_sweep(config, str(tmp_path / "run"), INLINE)
    assert (outcome.exit_code, outcome.failed) == (0, 0)
    assert outcome.champion is not None
    assert outcome.champion.axes.second_layer == str(kind.get("second_layer", "float"))
    assert outcome.champion.bounds.lower_bound <= outcome.champion.fit.upper_bound
    assert all(check.ok for check in verify_paths([outcome.location]))


def test_results_of_earlier_versions_are_read(run, tmp_path):
    config = classes_config(tmp_path, data={"source": str(tmp_path / "two.csv")})
    two = [line.replace("a<b", "c") for line in (tmp_path / "classes.csv").read_text().splitlines()]
    (tmp_path / "two.csv").write_text("\n".join(two) + "\n")
    run_sweep(config, str(tmp_path / "run"), INLINE)
    folder = RunFolder.open(tmp_path / "run")
    for file in folder.files("results"):
        folder.write_table(file, folder.read_table(file).drop_columns(list(LATER_COLUMNS)))
    outcome = run_sweep(config, str(tmp_path / "run"), INLINE)
    assert (outcome.exit_code, outcome.reused_paths) == (0, 2)
    assert all(check.ok for check in verify_paths([outcome.location]))
