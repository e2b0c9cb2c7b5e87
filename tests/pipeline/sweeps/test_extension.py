"""A finished sweep gets more seeds, widths and β: what is there stays, byte for byte."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.commands.cli import app
from pipeline.configuration.reading import parse_config
from pipeline.configuration.yaml_text import dump_yaml
from pipeline.results.folder import RunFolder
from pipeline.results.verification import verify_paths
from pipeline.sweeps.driver import SweepOptions, SweepOutcome, run_sweep
from qnn.errors import InputError
from tests.pipeline.classes import write_classes
from tests.pipeline.small import SWEEP, small_config, write_data

SMALL: dict[str, Any] = {
    "shards": {"kind": "kfold", "count": 2},
    "beta": {"fractions": [0.3, 0.1]},
    "seeds": [0],
    "widths": [4],
    "rounding": ["refined"],
}


@pytest.fixture(autouse=True)
def _no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.reports.page.write_report", lambda folder, trial: None)


def run(home: Path, out: str = "run", **changes: Any) -> SweepOutcome:
    config = small_config(home, **{**SMALL, **changes})
    return run_sweep(config, str(home / out), SweepOptions(inline=True))


def files(home: Path, out: str = "run") -> dict[str, bytes]:
    """What is not a refit's, of which there is one a sweep."""
    folder = RunFolder.open(home / out)
    names = folder.files("results") + folder.files("certificates") + folder.files("networks")
    return {name: folder.read(name) for name in names if not _of_refit(folder, name)}


def _of_refit(folder: RunFolder, name: str) -> bool:
    return name.startswith("results/") and "all" in folder.read_table(name)["shard"].to_pylist()


def key_figures(outcome: SweepOutcome) -> dict[str, tuple[float, float]]:
    return {
        row["trial"]: (row["upper_bound"], row["lower_bound"])
        for row in outcome.results.to_pylist() if row["shard"] != "all"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "new"),
    [
        ({"seeds": [0, 1]}, 4),
        ({"widths": [4, 6, 8]}, 8),
        ({"beta": {"fractions": [0.3, 0.1, 0.05]}}, 2),
        ({"rounding": ["refined", "krivine"]}, 4),
        ({"seeds": [0, 1], "widths": [4, 8], "beta": {"fractions": [0.5, 0.3, 0.1]}}, 20),
    ],
)
def test_only_what_is_new_is_computed_and_all_of_it_verifies(tmp_path, changes, new):
    first = run(tmp_path)
    before = files(tmp_path)
    rounded = []
    with pytest.MonkeyPatch.context() as patch:
        from pipeline.sweeps.worker import path

        kept = path.keep_network
        patch.setattr(path, "keep_network", lambda row, *a: rounded.append(row) or kept(row, *a))
        second = run(tmp_path, **changes)
    assert (second.exit_code, second.failed) == (0, 0)
    assert len([row for row in rounded if row.identity.shard != "all"]) == new
    after = files(tmp_path)
    assert {name: after.get(name) for name in before if "results" in name} == {
        name: content for name, content in before.items() if "results" in name
    }
    assert key_figures(first).items() <= key_figures(second).items()
    assert [check.line for check in verify_paths([str(tmp_path / "run")]) if not check.ok] == []
    # The same networks as a sweep that had them from the start; bounds as far as they are solved.
    fresh = key_figures(run(tmp_path, "fresh", **changes))
    assert set(fresh) == set(key_figures(second))
    if "beta" not in changes:
        assert fresh == key_figures(second)
    third = run(tmp_path, **changes)
    assert third.failed == 0
    assert files(tmp_path) == after


def test_what_cannot_be_extended_says_so_in_a_line_and_changes_nothing(tmp_path):
    run(tmp_path, seeds=[0, 1])
    before = files(tmp_path)
    config = (tmp_path / "run" / "sweep.yaml").read_bytes()
    for changes, said in (
        ({"seeds": [0]}, "not narrowed: seeds no longer has 1"),
        ({"seeds": [0, 1], "widths": [8]}, "not narrowed: widths no longer has 4"),
        ({"seeds": [0, 1], "beta": {"fractions": [0.3]}}, "not narrowed: beta no longer has 0.1"),
        ({"seeds": [0, 1], "shards": {"kind": "kfold", "count": 3}}, "shards.count is 2 there"),
        ({"seeds": [0, 1, 2], "loss": "hinge"}, "what can be extended: seeds, widths"),
    ):
        with pytest.raises(InputError, match=said) as refused:
            run(tmp_path, **changes)
        assert "\n" not in str(refused.value)
        assert files(tmp_path) == before
        assert (tmp_path / "run" / "sweep.yaml").read_bytes() == config


def test_an_extension_that_was_cut_off_goes_on(tmp_path):
    run(tmp_path)
    run(tmp_path, seeds=[0, 1])
    folder = RunFolder.open(tmp_path / "run")
    added = [
        name for name in folder.files("results")
        if set(folder.read_table(name)["seed"].to_pylist()) == {1}
    ]  # fmt: skip
    whole = files(tmp_path)
    folder.remove(added[0])
    again = run(tmp_path, seeds=[0, 1])
    assert again.failed == 0
    assert set(files(tmp_path)) == set(whole)
    assert all(check.ok for check in verify_paths([str(tmp_path / "run")]))


def test_several_outputs_are_extended_too(tmp_path):
    sweep = {**SWEEP, **SMALL, "data": {"source": str(write_classes(tmp_path))}}

    def go(**changes: Any) -> SweepOutcome:
        config = parse_config(dump_yaml(sweep | changes), "classes.yaml")
        return run_sweep(config, str(tmp_path / "run"), SweepOptions(inline=True))

    first = go()
    second = go(seeds=[0, 1])
    assert (second.exit_code, second.failed) == (0, 0)
    assert key_figures(first).items() <= key_figures(second).items()
    assert [one.line for one in verify_paths([str(tmp_path / "run")]) if not one.ok] == []


def test_baselines_are_extended_with_the_seeds(tmp_path):
    arms = {"baselines": ["annealing", "logistic_regression"], "baseline_seconds": 0.01}
    run(tmp_path, **arms)
    second = run(tmp_path, **arms, seeds=[0, 1])
    assert (second.exit_code, second.failed) == (0, 0)
    trials = second.results["trial"].to_pylist()
    assert len(trials) == len(set(trials))


def test_the_dry_run_compares_with_what_is_there(tmp_path):
    write_data(tmp_path)
    file = tmp_path / "small.yaml"
    file.write_text(dump_yaml({**SWEEP, **SMALL}))
    out = tmp_path / "run"

    def dry(*more: str) -> str:
        result = CliRunner().invoke(
            app, ["sweep", str(file), "--dry-run", "--out", str(out), *more]
        )
        if isinstance(result.exception, InputError):
            return str(result.exception)
        return result.output.splitlines()[-1]

    assert dry().endswith("run: new")
    run(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert dry().endswith("4 of 4 are done, 0 are new")
    assert dry("--set", "seeds=[0,1,2]").endswith("4 of 12 are done, 8 are new; extends seeds")
    assert "loss is squared there and hinge here" in dry("--set", "loss=hinge")
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
