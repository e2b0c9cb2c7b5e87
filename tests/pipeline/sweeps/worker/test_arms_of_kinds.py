"""Arms to compare with, in a sweep of several kinds of problem."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.configuration.kinds import KIND, Kind, kind_of
from pipeline.reports.comparison.arms import NAMES
from pipeline.reports.comparison.figures import objective_figure, width_figure
from pipeline.reports.comparison.page import write_comparison
from pipeline.reports.comparison.sets import make_sets, read_sets, summarize
from pipeline.reports.figures import plots
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_results
from pipeline.results.verification import verify_paths
from pipeline.sweeps.driver import SweepOptions, prepare, run_sweep
from qnn.certificates import Certificate
from qnn.errors import InputError
from tests.pipeline.classes import classes_config
from tests.pipeline.reports.comparison.test_sets import row, table
from tests.pipeline.small import small_config

ARMS = ("random_signs", "annealing", "spectrahedra", "logistic_regression")
CLASS_ARMS = [arm for arm in ARMS if arm != "spectrahedra"]
CHANGES: dict[str, Any] = {
    "name": "two",
    "loss": ["squared", "hinge"],
    "baselines": list(ARMS),
    "baseline_seconds": 0.05,
    "rounding": ["refined"],
    "seeds": [0],
    "widths": [2, 4, 8],
    "shards": {"kind": "kfold", "count": 2},
}
KINDS = (Kind("squared"), Kind("hinge"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("two")
    outcome = run_sweep(
        small_config(folder, **CHANGES), str(folder / "out"), SweepOptions(inline=True)
    )
    assert (outcome.exit_code, outcome.failed) == (0, 0)
    return RunFolder.open(folder / "out")


def rows_of(run: RunFolder, arm: str) -> list[dict[str, Any]]:
    return [one for one in read_results(run).to_pylist() if one["rounding"] == arm]


def test_each_arm_is_run_on_the_kinds_that_it_takes(run: RunFolder) -> None:
    # Two folds, two β, three widths.
    assert [kind_of(one) for one in rows_of(run, "annealing")] == [KINDS[0]] * 12
    assert [kind_of(one) for one in rows_of(run, "spectrahedra")] == [KINDS[0]] * 4
    kinds = [kind_of(one) for one in rows_of(run, "random_signs")]
    assert [kinds.count(kind) for kind in KINDS] == [12, 12]
    references = rows_of(run, "logistic_regression")
    assert sorted(one["shard"] for one in references) == ["fold-00", "fold-01"]
    assert all(one[name] is None for one in references for name in KIND)


def test_every_row_is_checked_against_the_certificate_of_its_own_kind(run: RunFolder) -> None:
    bounds: dict[tuple[Any, ...], set[tuple[str, float]]] = {}
    for one in read_results(run).to_pylist():
        if one["rounding"] in ARMS[2:]:
            continue
        certificate = Certificate.load(Path(run.location) / one["certificate"])
        assert (certificate.loss, certificate.beta) == (one["loss"], one["beta"])
        assert certificate.lower_bound == one["lower_bound"] <= one["upper_bound"]
        cell = (one["shard"], one["beta_fraction"], kind_of(one))
        bounds.setdefault(cell, set()).add((one["certificate"], one["lower_bound"]))
    # Two folds and two β of each kind, and the final refit; arms share the certificate with ours.
    assert len(bounds) == 2 * 2 * 2 + 1
    assert all(len(found) == 1 for found in bounds.values())
    checks = list(verify_paths([run.location]))
    assert all(check.ok for check in checks), [check.line for check in checks if not check.ok]


def test_trials_are_those_of_sweeps_of_one_kind(tmp_path: Path) -> None:
    def trials(**changes: Any) -> list[str]:
        plan = prepare(small_config(tmp_path, **{**CHANGES, **changes})).plan
        return [path.trial_id(trial) for path in plan.paths for trial in path.trials()]

    both = trials()
    assert len(set(both)) == len(both) == 2 * (2 * 2 * 6 + 2 * 3 + 2 + 1)
    taken = ["random_signs", "logistic_regression"]
    alone = set(trials(loss="squared")) | set(trials(loss="hinge", baselines=taken))
    # The reference of a shard is there once, not once a kind.
    assert set(both) < alone
    assert len(alone) == len(both) + 2
    assert sorted(trials(loss=["hinge", "squared"])) == sorted(both)


def test_the_dry_run_says_on_how_many_kinds_an_arm_is_run(tmp_path: Path) -> None:
    shown = prepare(small_config(tmp_path, **CHANGES)).plan.describe()
    listed = (
        "annealing (1 of 2 kinds), logistic_regression, random_signs, spectrahedra (1 of 2 kinds)"
    )
    assert f"baselines         4   {listed}\n" in shown


def test_the_page_has_a_row_for_each_kind_and_arm(run: RunFolder, tmp_path: Path) -> None:
    sets = read_sets(run.location)
    assert [one.kind for one in sets] == [KINDS[1], KINDS[0]]
    found = [(one.problem, one.arm) for compared in sets for one in summarize(compared)]
    assert found == [
        ("hinge", "refined"),
        ("hinge", "random_signs"),
        ("", "logistic_regression"),
        ("squared", "refined"),
        ("squared", "random_signs"),
        ("squared", "annealing"),
        ("squared", "spectrahedra"),
    ]
    page = write_comparison([run.location], tmp_path / "page.html").read_text()
    assert "1 sweep, 8 training problems, 60 quantized networks" in page
    assert ">problem</button>" in page
    # A sweep of two kinds is two sets.
    sets = page.split('id="sets"')[1]
    assert sets.count('<th scope="row" data-sort="two"') == 2
    for words in ("squared, bilinear, binary", "hinge, bilinear, binary"):
        assert f">{words}</td>" in sets


def test_figures_name_arms_that_were_run_and_whole_widths(run: RunFolder) -> None:
    sets = read_sets(run.location)
    names = ["ours", *(NAMES[arm] for arm in ("random_signs", "annealing"))]
    assert list(objective_figure(sets).panels[0].rows) == names
    width = width_figure(sets)
    assert width is not None
    assert {mark.name for mark in width.key} == {NAMES["refined"], *names[1:]}
    assert set(plots.rounding_figure(read_results(run)).panels[0].rows) == {
        f"{loss}, refined, {width}" for loss in ("hinge", "squared") for width in (2, 4, 8)
    }


def test_a_kind_without_a_network_of_ours_is_left_out(run: RunFolder, tmp_path: Path) -> None:
    ours = [row("refined", 10.0), row("refined", None, loss="hinge", status="failed")]
    arms = [row("annealing", 9.0), row("annealing", 9.0, loss="hinge")]
    (one,) = make_sets("one", "standardize", table(ours + arms))
    assert (one.kind, one.problem) == (KINDS[0], "")
    home = tmp_path / "run"
    folder = RunFolder.open(home)
    folder.create()
    folder.write("sweep.yaml", run.read("sweep.yaml"))
    lost = [{**one, "path": "lost"} for one in ours[1:] + arms]
    folder.write_table("results/lost.parquet", table(lost))
    with pytest.raises(InputError, match=r"run: no network of ours is finished, so nothing to com"):
        write_comparison([str(home)], tmp_path / "page.html")


def test_several_classes_have_their_arms_for_each_kind(tmp_path: Path) -> None:
    config = classes_config(
        tmp_path,
        alphabet=["binary", 2],
        widths=[4],
        beta={"fractions": [0.2]},
        baselines=CLASS_ARMS,
        baseline_seconds=0.05,
    )
    outcome = run_sweep(config, str(tmp_path / "out"), SweepOptions(inline=True))
    assert (outcome.exit_code, outcome.failed) == (0, 0)
    assert all(check.ok for check in verify_paths([outcome.location]))
    whole = [one for one in outcome.results.to_pylist() if one["output"] is None]
    arms = [(one["rounding"], one["alphabet"]) for one in whole if one["shard"] != "all"]
    each = [("annealing", "binary"), ("logistic_regression", None)]
    each += [(arm, bits) for arm in ("random_signs", "refined") for bits in ("2", "binary")]
    assert sorted(arms, key=str) == sorted(each * 2, key=str)
    sets = read_sets(outcome.location)
    assert {one.arm for compared in sets for one in summarize(compared)} == {"refined", *CLASS_ARMS}
