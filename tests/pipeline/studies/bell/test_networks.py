"""Networks in a study of Bell scenarios: trained once by units of their own, never believed."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.configuration.reading import load_config
from pipeline.plans.studies import get_study
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_results
from pipeline.studies.bell.figures import shown_rows
from pipeline.studies.bell.networks import Training
from pipeline.studies.bell.summary import (
    answers,
    asked,
    findings,
    finished,
    groups,
    speedup,
    trained,
)
from pipeline.tracking.store import open_store
from qnn.errors import InputError
from qnn.moments.bell import train_predictor
from qnn.semidefinite.predictors import Network
from tests.pipeline.studies.cases import CASES, checks, copied, refused, rows_of, run
from tests.pipeline.tracked import artifacts_of, runs_of

CASE = CASES["bell"]
NETWORKS = {"widths": [[4], [3, 3]], "training": [3], "seeds": [0, 1]}
CHANGES: dict[str, Any] = {
    "data": {"sets": ["N"], "count": 60}, "levels": ["1+AB"], "steps": [4], "networks": NETWORKS,
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("networks")
    assert run(CASE.file(home, **CHANGES), home / "out", track=True).exit_code == 0
    return home / "out"


def test_each_is_trained_once_and_its_blocks_stand_beside_those_without(whole: Path) -> None:
    results = read_results(RunFolder.open(whole), get_study("bell").rows)
    made, blocks = trained(results), finished(results)
    assert [(row["model"], row["model_seed"]) for row in made] == [
        ("3-3 after 3 steps", 0), ("3-3 after 3 steps", 1),
        ("4 after 3 steps", 0), ("4 after 3 steps", 1),
    ]  # fmt: skip
    assert {row["model_file"] for row in blocks} == {None, *(row["model_file"] for row in made)}
    assert len({row["content"] for row in blocks}) == 1
    file = next(row["model_file"] for row in made if row["model"].startswith("4 "))
    again = train_predictor("2222", "1+AB", 3, 0, (4,))
    assert Network.load(whole / file).to_bytes() == again.to_bytes()
    found = groups(blocks)
    assert [group.model for group in found] == [None, "3-3 after 3 steps", "4 after 3 steps"]
    times = [speedup(group, found) for group in found]
    assert times[0] is None
    assert all(one is not None and one > 0.0 for one in times[1:])
    said = answers(blocks)
    starts = ["cold", *(f"network {group.model}" for group in found[1:])]
    assert [answer.title for answer in said] == [f"2222 1+AB, {start}" for start in starts]
    assert [answer.speedup for answer in said] == times
    # Both seeds of a network are in its answer.
    assert [answer.whole.count for answer in said] == [60, 120, 120]
    assert [answer.open_share("N", 4) for answer in said] == [1 - g.decided_share for g in found]
    assert said[0].open_share("U", 4) is None
    assert asked(said) == [("N", 4)]
    lines = [words for head, words in findings(results) if head == "level"]
    assert ["times faster than cold" in line for line in lines] == [False, True, True]


def test_plans_without_networks_keep_their_ids(tmp_path: Path) -> None:
    study = get_study("bell")
    with_some, without = (
        study.prepare(load_config(CASE.file(tmp_path, **some), [], study.config))
        for some in (CHANGES, {**CHANGES, "networks": None})
    )
    assert {unit.id for unit in without.units} < {unit.id for unit in with_some.units}
    assert "networks" in with_some.describe()
    assert sum(isinstance(unit, Training) for unit in with_some.units) == 4


def test_verify_reads_them_and_refuses_what_they_are_not(whole: Path, tmp_path: Path) -> None:
    assert all(check.ok for check in checks(whole).values())
    out = copied(whole, tmp_path / "out")
    file = next(row["model_file"] for row in rows_of(out) if row["set"] == "training")
    other = train_predictor("2222", "1", 3, 0, (4,))
    (out / file).write_bytes(other.to_bytes())
    assert any("trained for" in check.text for check in refused(out))
    (out / file).write_bytes(train_predictor("2222", "1+AB", 3, 0, (5,)).to_bytes())
    assert any("layers are 5" in check.text for check in refused(out))


@pytest.mark.parametrize("column", ["inside", "certified", "count", "certificates"])
def test_the_row_of_a_training_states_no_verdicts(whole: Path, tmp_path: Path, column: str) -> None:
    out = copied(whole, tmp_path / "out")
    folder, row = RunFolder.open(out), next(r for r in rows_of(out) if r["set"] == "training")
    name = f"results/{row['path']}.parquet"
    table = folder.read_table(name)
    changed = table.to_pylist()[0] | {column: ["one.npz"] if column == "certificates" else 1}
    folder.write_table(name, pa.Table.from_pylist([changed], table.schema))
    (said,) = (check.text for check in refused(out) if check.text.startswith("a row of"))
    assert "states verdicts" in said


def test_a_lost_network_is_trained_again_with_what_needs_it(whole: Path, tmp_path: Path) -> None:
    out = copied(whole, tmp_path / "out")
    before = rows_of(out)
    row = next(row for row in before if row["set"] == "training")
    content = (out / row["model_file"]).read_bytes()
    (out / row["model_file"]).unlink()
    outcome = run(CASE.file(tmp_path, **CHANGES), out)
    assert outcome.exit_code == 0
    assert rows_of(out) == before
    assert (out / row["model_file"]).read_bytes() == content


def test_the_package_s_own_network_stands_beside_none(tmp_path: Path) -> None:
    file = CASE.file(tmp_path, **{**CHANGES, "networks": {"shipped": True}})
    assert run(file, tmp_path / "out").exit_code == 0
    found = {row["model"]: row for row in rows_of(tmp_path / "out")}
    assert set(found) == {None, "shipped"}
    assert found["shipped"]["inconclusive"] <= found[None]["inconclusive"]
    assert np.isclose(found["shipped"]["decided_share"] + found["shipped"]["inconclusive"] / 60, 1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"networks": {}}, "networks: give widths, as [[64, 64]], or shipped: true"),
        ({"networks": {"widths": [[0]]}}, "networks.widths[0][0]: must be at least 1"),
        ({"networks": {"widths": [[]]}}, "networks.widths[0]: must not be empty"),
        ({"networks": {"widths": [[4]], "training": [0]}}, "networks.training[0]: must be at"),
        (
            {"networks": {"shipped": True, "training": [5]}},
            "networks: training is about networks",
        ),
        ({"networks": {"shipped": True, "seeds": [1]}}, "networks: seeds is about networks"),
        ({"networks": {"shipped": True}, "levels": ["1"]}, "no network is shipped"),
    ],
)
def test_bad_input_is_a_line(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        run(CASE.file(tmp_path, **{**CHANGES, **changes}), tmp_path / "out")
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_of_several_networks_the_one_is_drawn_that_leaves_least_of_a_plane_open() -> None:
    left = {(None, None): 9, ("4", 0): 3, ("4", 1): 2, ("8", 0): 5}
    rows = [
        {"scenario": "2222", "level": level, "model": model, "model_seed": seed,
         "inconclusive": count if level == "1" else 9 - count}
        for level in ("1", "2") for (model, seed), count in left.items()
    ]  # fmt: skip
    shown = [(row["level"], row["model"], row["model_seed"]) for row in shown_rows(rows)]
    assert shown == [("1", None, None), ("1", "4", 1), ("2", None, None), ("2", "8", 0)]


def test_the_page_and_the_tracked_run_have_them(whole: Path) -> None:
    page = (whole / "report.html").read_text()
    assert "The networks that were trained" in page
    assert "left open" in page
    assert "times faster than without" in page.replace("\n", " ")
    config = load_config(CASE.file(whole.parent, **CHANGES), [], get_study("bell").config)
    store = open_store(config, RunFolder.open(whole))
    (tracked,) = runs_of(store, "sweep")
    assert tracked.data.metrics["networks_trained"] == 4
    artifacts = artifacts_of(store, tracked.info.run_id)
    assert sum(name.startswith("networks/") for name in artifacts) == 4
