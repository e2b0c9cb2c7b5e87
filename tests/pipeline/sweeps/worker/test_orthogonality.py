"""Arms whose weights are kept near orthonormal: rows, ids, verification, extension, bad input."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.configuration.reading import load_config, parse_config
from pipeline.reports.comparison.page import write_comparison
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_results
from pipeline.results.record import ORTHOGONALITY
from pipeline.results.verification import verify_paths
from pipeline.sweeps.driver import SweepOptions, prepare, run_sweep
from qnn.errors import InputError
from tests.pipeline.classes import classes_config
from tests.pipeline.small import config_text, small_config

AON = {"kind": "aon", "order": 2}
CHANGES: dict[str, Any] = {
    "baselines": ["straight_through", "float_mlp", "random_signs"],
    "baseline_seconds": 0.05,
    "orthogonality": [{"kind": "none"}, AON],
    "seeds": [0],
    "widths": [4],
    "beta": {"fractions": [0.1]},
    "rounding": ["refined"],
    "shards": {"kind": "kfold", "count": 2},
}


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qnn.training.arms.references.float_mlp.STEPS", 30)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("orthogonality")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qnn.training.arms.references.float_mlp.STEPS", 30)
        assert run(folder).exit_code == 0
    return folder


def run(folder: Path, **changes: Any) -> Any:
    config = small_config(folder, **CHANGES | changes)
    return run_sweep(config, str(folder / "out"), SweepOptions(inline=True))


def settings_in(results: pa.Table) -> dict[str, list[tuple[Any, ...]]]:
    found: dict[str, list[tuple[Any, ...]]] = {}
    for row in results.to_pylist():
        setting = tuple(row[name] for name in ORTHOGONALITY)
        found.setdefault(row["rounding"], []).append((row["seed"], *setting))
    return found


def test_rows_say_kind_order_iterations_and_gain(whole: Path) -> None:
    found = settings_in(read_results(RunFolder.open(whole / "out")))
    both = sorted([(0, "none", 1, 1, True), (0, "aon", 2, 1, True)] * 2)
    assert sorted(found["straight_through"]) == sorted(found["float_mlp"]) == both
    assert set(found["refined"]) == {(0, None, None, None, None)}
    assert set(found["random_signs"]) == {(0, None, None, None, None)}
    assert [c.line for c in verify_paths([str(whole / "out")]) if not c.ok] == []


def test_the_comparison_has_a_line_each(whole: Path, tmp_path: Path) -> None:
    write_comparison([str(whole / "out")], str(tmp_path / "page.html"))
    page = (tmp_path / "page.html").read_text()
    for arm in ("straight-through", "float MLP"):
        for setting in ("orthogonality none", "orthogonality aon order 2"):
            assert f"{arm}, {setting}" in page
    assert "random neurons, refitted, orth" not in page


@pytest.mark.parametrize(
    ("arm", "change"),
    [
        ("float_mlp", {"orthogonality_order": 3}),
        ("straight_through", {"orthogonality": None}),
        ("refined", {"orthogonality": "none"}),
        ("random_signs", dict(zip(ORTHOGONALITY, ("aon", 2, 1, True), strict=True))),
    ],
)
def test_a_row_that_was_not_asked_for_is_refused(
    whole: Path, tmp_path: Path, arm: str, change: dict[str, Any]
) -> None:
    import shutil

    shutil.copytree(whole / "out", tmp_path / "out")
    folder = RunFolder.open(tmp_path / "out")
    file = next(
        name for name in folder.files("results", ".parquet")
        if arm in folder.read_table(name)["rounding"].to_pylist()
    )  # fmt: skip
    table = folder.read_table(file)
    rows = [row | change if row["rounding"] == arm else row for row in table.to_pylist()]
    folder.write_table(file, pa.Table.from_pylist(rows, schema=table.schema))
    bad = [check.text for check in verify_paths([str(tmp_path / "out")]) if not check.ok]
    assert any("asks for no such orthogonality" in text for text in bad)


def test_ids_without_it_stay_and_each_setting_has_its_own(tmp_path: Path) -> None:
    plain = prepare(small_config(tmp_path, **CHANGES | {"orthogonality": None})).plan.paths[0]
    asked = prepare(small_config(tmp_path, **CHANGES)).plan.paths[0]
    turned = prepare(
        small_config(tmp_path, **CHANGES | {"orthogonality": [AON, {"kind": "none"}]})
    ).plan.paths[0]
    assert plain.id != asked.id == turned.id
    ids = [{path.trial_id(one): one for one in path.trials()} for path in (plain, asked)]
    assert {one.rounding for one in (ids[0][key] for key in ids[0].keys() & ids[1].keys())} == {
        "refined",
        "random_signs",
    }
    assert len(ids[1]) == asked.networks == 1 + 1 + 2 + 2
    one = prepare(small_config(tmp_path, **CHANGES | {"orthogonality": AON})).plan.paths[0]
    listed = prepare(small_config(tmp_path, **CHANGES | {"orthogonality": [AON]})).plan.paths[0]
    assert one.id == listed.id
    # What a sweep without the key wrote before there was one.
    assert "orthogonality" not in plain._told


def test_more_seeds_extend_a_finished_folder(tmp_path: Path) -> None:
    assert run(tmp_path).exit_code == 0
    outcome = run(tmp_path, seeds=[0, 1])
    assert (outcome.exit_code, outcome.failed) == (0, 0)
    found = settings_in(outcome.results)
    assert len(found["float_mlp"]) == len(set(found["float_mlp"])) * 2 == 2 * 2 * 2
    trials = outcome.results["trial"].to_pylist()
    assert len(trials) == len(set(trials))
    # With two seeds there is something to pair.
    write_comparison([str(tmp_path / "out")], str(tmp_path / "page.html"))
    for page in (tmp_path / "page.html", tmp_path / "out" / "report.html"):
        text = page.read_text()
        assert "Weights near orthonormal" in text
        assert "after Holm" in text


def test_one_seed_is_no_comparison(whole: Path) -> None:
    assert "Weights near orthonormal" not in (whole / "out" / "report.html").read_text()


def test_several_classes_have_one_float_network(tmp_path: Path) -> None:
    changes = {key: CHANGES[key] for key in ("baseline_seconds", "orthogonality", "widths")}
    config = classes_config(tmp_path, baselines=["float_mlp"], seeds=[0, 1], **changes)
    outcome = run_sweep(config, str(tmp_path / "out"), SweepOptions(inline=True))
    assert outcome.failed == 0
    rows = [row for row in outcome.results.to_pylist() if row["rounding"] == "float_mlp"]
    assert {(row["seed"], row["orthogonality"]) for row in rows} == {
        (seed, kind) for seed in (0, 1) for kind in ("none", "aon")
    }
    assert all(row["output"] is None and row["test_accuracy"] > 0.3 for row in rows)
    assert [c.line for c in verify_paths([str(tmp_path / "out")]) if not c.ok] == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"orthogonality": {"kind": "qr"}}, "orthogonality.kind: must be 'none', "),
        ({"orthogonality": {"kind": "aon", "order": 0}}, "orthogonality.order: must be at least 1"),
        ({"orthogonality": [AON, AON]}, "occurs twice"),
        ({"orthogonality": []}, "orthogonality: must not be empty"),
        ({"orthogonality": {"order": "2"}}, "orthogonality.order: "),
        ({"orthogonality": [{"gain": 1}]}, "orthogonality[0].gain: must be true or false"),
        ({"orthogonality": AON, "baselines": ["annealing"]},
         "orthogonality belongs to baselines straight_through and float_mlp: add one, or"),
        ({"baselines": ["float_mlp"], "task": "regression"}, "float_mlp is a classifier"),
    ],
)  # fmt: skip
def test_bad_input_is_a_line(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        parse_config(config_text(tmp_path, **CHANGES | changes), "x.yaml")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_the_example_sweep_is_planned() -> None:
    config = load_config(Path(__file__).parents[4] / "infra" / "sweeps" / "orthonormal.yaml")
    plan = prepare(config).plan
    assert sum(unit.networks for unit in plan.units) == 2 * 10 * (1 + 6 + 6)
