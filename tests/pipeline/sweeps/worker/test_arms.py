from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.configuration.reading import parse_config
from pipeline.reports.page import write_report
from pipeline.results.folder import RunFolder, StoreError
from pipeline.results.ledger import read_results
from pipeline.results.summary import frame
from pipeline.results.verification import verify_paths
from pipeline.sweeps.driver import SweepOptions, prepare, run_sweep
from qnn.errors import InputError
from qnn.training.arms import (
    AFTERWARDS,
    ALL,
    ARMS,
    CEILINGS,
    QUANTIZED,
    REFERENCES,
    WIDTHLESS,
)
from tests.pipeline.small import config_text, small_config

CHANGES: dict[str, Any] = {
    "baselines": list(ALL),
    "baseline_seconds": 0.05,
    "seeds": [0],
    "widths": [4],
    "shards": {"kind": "kfold", "count": 2},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pa.Table]:
    folder = tmp_path_factory.mktemp("arms")
    outcome = run_sweep(
        small_config(folder, **CHANGES), str(folder / "out"), SweepOptions(inline=True)
    )
    assert outcome.exit_code == 0
    assert outcome.champion is not None
    assert outcome.champion.axes.rounding in ("krivine", "refined")
    return folder, read_results(RunFolder.open(folder / "out"))


def rows_of(results: pa.Table, arms: tuple[str, ...]) -> list[dict[str, Any]]:
    return [row for row in results.to_pylist() if row["rounding"] in arms]


def test_every_arm_has_its_rows(run: tuple[Path, pa.Table]) -> None:
    _, results = run
    # Two folds of two β.
    assert len(rows_of(results, QUANTIZED)) == 2 * 2 * len(QUANTIZED)
    assert len(rows_of(results, CEILINGS)) == len(rows_of(results, AFTERWARDS)) == 2 * 2
    assert len(rows_of(results, REFERENCES)) == 2 * len(REFERENCES)
    assert set(results["status"].to_pylist()) == {"ok"}
    trials = results["trial"].to_pylist()
    assert len(set(trials)) == len(trials)
    for row in rows_of(results, ALL):
        assert row["test_accuracy"] > 0.4
        assert row["bytes"] > 0
        assert row["shard"] != "all"


def test_an_arm_whose_network_cannot_be_kept_is_no_failed_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise StoreError("networks: no space left")

    monkeypatch.setattr("pipeline.sweeps.worker.arms.keep_network", full)
    config = small_config(tmp_path, **{**CHANGES, "baselines": ["random_signs"]})
    outcome = run_sweep(config, str(tmp_path / "out"), SweepOptions(inline=True))
    assert outcome.exit_code == 1
    # A rerun computes the paths again: a failed row would have been taken for a result.
    assert RunFolder.open(tmp_path / "out").files("results") == []


def test_lower_bounds_hold_below_all_quantized_arms(run: tuple[Path, pa.Table]) -> None:
    _, results = run
    quantized = rows_of(results, (*QUANTIZED, "krivine", "refined"))
    assert quantized
    bounds = {}
    for row in quantized:
        assert row["lower_bound"] <= row["upper_bound"]
        key = (row["shard"], row["beta"])
        # One problem, one bound: the arms share it with ours.
        assert bounds.setdefault(key, row["lower_bound"]) == row["lower_bound"]


def test_no_bound_is_claimed_where_none_holds(run: tuple[Path, pa.Table]) -> None:
    _, results = run
    for row in rows_of(results, (*WIDTHLESS, *REFERENCES)):
        for column in ("lower_bound", "gap", "certificate", "network", "width"):
            assert row[column] is None
    for row in rows_of(results, REFERENCES):
        assert row["beta"] is None
        assert row["upper_bound"] is None
    floats = {(r["shard"], r["beta"]): r["upper_bound"] for r in rows_of(results, CEILINGS)}
    for row in rows_of(results, QUANTIZED):
        assert floats[row["shard"], row["beta"]] <= row["upper_bound"]


def test_the_report_and_the_choice_are_about_ours(run: tuple[Path, pa.Table]) -> None:
    folder, results = run
    assert set(frame(results)["rounding"]) == {"krivine", "refined"}
    page = Path(write_report(RunFolder.open(folder / "out"))).read_text()
    assert "straight_through" not in page.split("<pre")[0]


def test_a_finished_sweep_is_reused_and_verifies(run: tuple[Path, pa.Table]) -> None:
    folder, results = run
    again = run_sweep(
        small_config(folder, **CHANGES), str(folder / "out"), SweepOptions(inline=True)
    )
    assert again.reused_paths == 2
    checks = list(verify_paths([str(folder / "out")]))
    assert all(check.ok for check in checks), [c.line for c in checks if not c.ok]
    files = {check.file for check in checks}
    assert all(row["network"] in files for row in rows_of(results, QUANTIZED))


@pytest.mark.parametrize(
    ("column", "value"),
    [("lower_bound", 1.0), ("gap", 0.0), ("proof", "exact"), ("relaxation_value", 1.0)],
)
def test_a_reference_that_claims_a_bound_does_not_verify(
    run: tuple[Path, pa.Table], tmp_path: Path, column: str, value: Any
) -> None:
    import shutil

    shutil.copytree(run[0] / "out", tmp_path / "out")
    folder = RunFolder.open(tmp_path / "out")
    file = folder.files("results", ".parquet")[0]
    table = folder.read_table(file)
    rows = [
        {**row, column: value} if row["rounding"] == "rbf_svm" else row for row in table.to_pylist()
    ]
    folder.write_table(file, pa.Table.from_pylist(rows, schema=table.schema))
    bad = [check for check in verify_paths([str(tmp_path / "out")]) if not check.ok]
    bad = [check for check in bad if "SHA-256" not in check.text]  # What the manifest says of it.
    expected = 1 if any(row["rounding"] == "rbf_svm" for row in rows) else 0
    assert len(bad) == expected
    assert all("no proof speaks of such an arm" in check.text for check in bad)


def test_ids_without_arms_are_what_they_were_and_the_time_is_part_of_an_arms(
    tmp_path: Path,
) -> None:
    plain = prepare(small_config(tmp_path)).plan.paths[0]
    armed = prepare(small_config(tmp_path, **{**CHANGES, "seeds": [0, 1], "widths": [4, 8]}))
    longer = prepare(small_config(tmp_path, **{**CHANGES, "baseline_seconds": 1.0}))
    one, two = armed.plan.paths[0], longer.plan.paths[0]
    here = one.axes(one.betas[0])
    refined = next(trial for trial in one.own_trials(here) if trial.rounding == "refined")
    assert one.trial_id(refined) == two.trial_id(refined)
    arms = [{path.trial_id(trial) for trial in path.arm_trials(here)} for path in (one, two)]
    assert not arms[0] & arms[1]
    assert plain.id != one.id
    assert one.networks == len(list(one.trials())) == 16 + 2 * 4 * 4 + 2 * 2 + 3 + 2 * 2


def test_several_times_are_several_trials_of_each_quantized_arm(tmp_path: Path) -> None:
    changes = {**CHANGES, "baselines": ["random_signs", "spectrahedra"]}
    several = small_config(tmp_path, **{**changes, "baseline_seconds": [0.2, 0.05]})
    outcome = run_sweep(several, str(tmp_path / "out"), SweepOptions(inline=True))
    rows = [row for row in outcome.results.to_pylist() if row["shard"] != "all"]
    trials = [row["trial"] for row in rows]
    assert len(set(trials)) == len(trials) == 2 * 2 * (2 + 2 + 1)
    arm = [row for row in rows if row["rounding"] == "random_signs"]
    assert sorted(row["baseline_seconds"] for row in arm) == [0.05] * 4 + [0.2] * 4
    assert all(row["seconds"] >= 0.9 * row["baseline_seconds"] for row in arm)
    assert {row["baseline_seconds"] for row in rows if row["rounding"] == "refined"} == {None}
    assert {row["baseline_seconds"] for row in rows if row["rounding"] == "spectrahedra"} == {0.2}
    single = (
        small_config(tmp_path, **{**changes, "baseline_seconds": 0.05}),
        small_config(tmp_path, **{**changes, "baseline_seconds": [0.05]}),
    )
    ids = [[path.id for path in prepare(config).plan.paths] for config in single]
    assert ids[0] == ids[1]


def test_a_failing_arm_fails_alone(tmp_path: Path) -> None:
    config = small_config(tmp_path, **{**CHANGES, "baselines": ["random_signs", "annealing"]})
    import qnn.training.arms.random_signs as module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "random_signs", lambda *_: 1 / 0)
        outcome = run_sweep(config, str(tmp_path / "out"), SweepOptions(inline=True))
    failed = [row for row in outcome.results.to_pylist() if row["status"] != "ok"]
    assert {row["rounding"] for row in failed} == {"random_signs"}
    assert outcome.failed == len(failed) == 4
    assert "ZeroDivisionError" in failed[0]["error"]


def test_the_config_knows_the_arms(tmp_path: Path) -> None:
    assert tuple(ARMS) == ALL
    with pytest.raises(InputError, match=r"baselines\[0\]: must be 'straight_through', "):
        parse_config(config_text(tmp_path, baselines=["luck"]), "x.yaml")
    with pytest.raises(InputError, match=r"baseline rbf_svm is a classifier, but task is regress"):
        parse_config(config_text(tmp_path, task="regression", baselines=["rbf_svm"]), "x.yaml")


def test_arms_that_cannot_take_the_problem_are_refused_at_once(tmp_path: Path) -> None:
    text = config_text(tmp_path, baselines=["annealing"], loss="logistic", rounding=["refined"])
    with pytest.raises(InputError, match=r"baseline annealing takes squared loss, bilinear, binar"):
        parse_config(text, "x.yaml")
    text = config_text(tmp_path, baselines=["spectrahedra"], loss="hinge", rounding=["refined"])
    with pytest.raises(InputError, match=r"baseline spectrahedra takes the bilinear activation an"):
        parse_config(text, "x.yaml")


def test_arms_on_another_loss_and_second_layer_verify(tmp_path: Path) -> None:
    config = small_config(
        tmp_path,
        **{
            **CHANGES,
            "baselines": ["straight_through", "random_signs", "spectrahedra", "rbf_svm"],
            "loss": "huber",
            "loss_parameter": 0.7,
            "second_layer": "common",
            "rounding": ["refined"],
        },
    )
    outcome = run_sweep(config, str(tmp_path / "out"), SweepOptions(inline=True))
    assert outcome.exit_code == 0, outcome.results["error"].to_pylist()
    checks = list(verify_paths([str(tmp_path / "out")]))
    assert all(check.ok for check in checks), [c.line for c in checks if not c.ok]
    arms = rows_of(outcome.results, QUANTIZED)
    assert {row["second_layer"] for row in arms} == {"float"}
    assert {row["loss_parameter"] for row in arms} == {0.7}
