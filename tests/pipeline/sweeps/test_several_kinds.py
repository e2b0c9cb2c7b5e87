"""Lists of losses, activations and alphabets: kinds of problem side by side in one sweep."""

import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.commands.cli import main
from pipeline.configuration.beta import Beta
from pipeline.configuration.kinds import Kind, differing_words, kind_of
from pipeline.configuration.reading import dump_config, parse_config
from pipeline.reports.figures import plots
from pipeline.reports.page import collect, render_report
from pipeline.results import summary
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_results, rows_table
from pipeline.results.selection import choose
from pipeline.results.verification import verify_paths
from pipeline.sweeps.dispatch import task_namer
from pipeline.sweeps.driver import SweepOptions, prepare, run_sweep
from pipeline.sweeps.worker.rows import row_of
from pipeline.tracking import text as tracking_text
from qnn.errors import InputError
from tests.pipeline.classes import classes_config
from tests.pipeline.results.test_selection import rows
from tests.pipeline.small import config_text, rows_of, small_config

INLINE = SweepOptions(inline=True)
RELU = {"polynomial": {"a": 0.0937, "b": 0.5, "c": 0.4688}}
SMALL: dict[str, Any] = {"rounding": ["refined"], "seeds": [0], "widths": [4]}
LISTS: dict[str, Any] = {
    **SMALL,
    "loss": ["squared", "logistic"],
    "activation": ["bilinear", RELU],
    "alphabet": ["binary", 2],
}
KINDS = [
    Kind(loss, None, polynomial, alphabet)
    for loss in ("squared", "logistic")
    for polynomial in (None, (0.0937, 0.5, 0.4688))
    for alphabet in ("binary", "2")
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    home = tmp_path_factory.mktemp("kinds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.reports.page.write_report", lambda folder, trial: None)
        outcome = run_sweep(small_config(home, **LISTS), str(home / "run"), INLINE)
    assert (outcome.exit_code, outcome.failed) == (0, 0)
    return RunFolder.open(outcome.location)


def test_every_value_goes_with_every_other(tmp_path):
    config = small_config(tmp_path, **LISTS)
    assert list(config.kinds) == KINDS
    plan = prepare(config).plan
    assert plan.kinds == config.kinds
    assert len(plan.paths) == 3 * 8
    assert (plan.trials, plan.problems) == (3 * 8 * 2, 3 * 8 * 2)
    shown = plan.describe()
    assert "shards            3   fold-00, fold-01, fold-02" in shown
    assert "loss              2   squared, logistic" in shown
    assert "activation        2   bilinear, polynomial (0.0937, 0.5, 0.4688)" in shown
    assert "alphabet          2   binary, 2 bit" in shown
    assert parse_config(dump_config(config), "again") == config


def test_ids_are_those_of_sweeps_of_one_kind(tmp_path):
    def ids(**changes: Any) -> set[str]:
        plan = prepare(small_config(tmp_path, **{**SMALL, **changes})).plan
        trials = {path.trial_id(trial) for path in plan.paths for trial in path.trials()}
        return trials | {path.id for path in plan.paths}

    every = ids(**LISTS)
    alone = [
        ids(loss=loss, activation=activation, alphabet=alphabet)
        for loss in ("squared", "logistic")
        for activation in ("bilinear", RELU)
        for alphabet in ("binary", 2)
    ]
    assert len(every) == sum(map(len, alone))
    assert every == set.union(*alone)
    assert ids(loss=["squared"], activation=["bilinear"], alphabet=["binary"]) == ids() == alone[0]
    assert ids(**{**LISTS, "alphabet": [2, "binary"], "activation": [RELU, "bilinear"]}) == every


def test_a_list_of_one_is_that_one(tmp_path):
    several = small_config(tmp_path, **SMALL, loss=["huber"], loss_parameter=0.5, alphabet=[3])
    assert several == small_config(tmp_path, **SMALL, loss="huber", loss_parameter=0.5, alphabet=3)
    assert several.kinds == (Kind("huber", 0.5, None, "3"),)


def test_the_parameter_of_huber_is_that_of_no_other_loss(tmp_path):
    config = small_config(tmp_path, **SMALL, loss=["huber", "absolute"], loss_parameter=0.5)
    assert config.kinds == (Kind("huber", 0.5), Kind("absolute", None))


def test_rows_are_those_of_a_sweep_of_one_kind(run, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.reports.page.write_report", lambda folder, trial: None)
    kind = {"loss": "logistic", "activation": RELU, "alphabet": 2}
    run_sweep(small_config(tmp_path, **SMALL, **kind), str(tmp_path / "run"), INLINE)
    alone = rows_of(tmp_path / "run").to_pylist()
    mine = {row["trial"]: row for row in rows_of(run.location).to_pylist()}
    search = [row for row in alone if row["shard"] != "all"]
    assert len(search) == 3 * 2
    assert all(mine[row["trial"]] == row for row in search)


def test_each_kind_has_its_own_beta_max_bounds_and_proofs(run):
    table = read_results(run).to_pylist()
    assert {kind_of(row) for row in table} == set(KINDS)
    assert len(table) == 3 * 8 * 2 + 1
    for row in table:
        assert row["beta"] == row["beta_fraction"] * row["beta_max"]
        assert row["lower_bound"] <= row["upper_bound"]
    tops = {(row["shard"], kind_of(row)): row["beta_max"] for row in table}
    assert len({value for (shard, _), value in tops.items() if shard == "fold-00"}) > 4
    checks = list(verify_paths([run.location]))
    assert all(check.ok for check in checks), [check.line for check in checks if not check.ok]
    assert len(checks) == 2 * len(table) + 1  # The manifest.


def test_the_best_of_all_kinds_is_chosen_and_refitted(run):
    results = read_results(run)
    choice = choose(results, "fractions", "classification")
    assert choice is not None
    data = results.to_pandas()
    data["kind"] = [kind_of(row).describe() for row in data.to_dict("records")]
    search = data[data["shard"] != "all"]
    means = search.groupby(["kind", "beta_fraction"])["validation_accuracy"].mean()
    assert choice.mean == pytest.approx(means.max())
    assert choice.mean == pytest.approx(means[choice.kind.describe(), choice.beta.written])
    assert choice.networks == 3
    (final,) = data[data["shard"] == "all"].to_dict("records")
    assert kind_of(final) == choice.kind
    champion = summary.champion_row(summary.frame(results))
    assert champion is not None
    assert champion["trial"] == final["trial"]


def test_a_rerun_computes_nothing(run, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.reports.page.write_report", lambda folder, trial: None)
    config = small_config(tmp_path, **SMALL, alphabet=["binary", "ternary"])
    run_sweep(config, str(tmp_path / "run"), INLINE)
    again = run_sweep(config, str(tmp_path / "run"), INLINE)
    assert (again.exit_code, again.reused_paths) == (0, 6)
    with pytest.raises(InputError, match=r"alphabet is \[binary, ternary\] there and binary here"):
        run_sweep(small_config(tmp_path, **SMALL), str(tmp_path / "run"), INLINE)


def test_several_classes_are_joined_for_each_kind(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.reports.page.write_report", lambda folder, trial: None)
    config = classes_config(tmp_path, alphabet=["binary", 2], widths=[4], beta={"fractions": [0.2]})
    plan = prepare(config).plan
    assert [len(plan.paths), len(plan.joins), plan.trials] == [2 * 2 * 3, 2 * 2, 4]
    outcome = run_sweep(config, str(tmp_path / "run"), INLINE)
    assert (outcome.exit_code, outcome.failed) == (0, 0)
    assert all(check.ok for check in verify_paths([outcome.location]))
    whole = [row for row in outcome.results.to_pylist() if row["output"] is None]
    assert (
        sorted(row["alphabet"] for row in whole if row["shard"] != "all")
        == ["2"] * 2 + ["binary"] * 2
    )


def test_tasks_are_named_by_what_their_kinds_differ_in(tmp_path):
    paths = prepare(small_config(tmp_path, **LISTS)).units
    name = task_namer(paths)
    assert name(paths[:1]) == "small fold-00, squared, bilinear, binary: 2 betas"
    last = "small fold-02, logistic, polynomial, 2 bit: 2 betas and 1 more paths"
    assert name([paths[-1], paths[0]]) == last
    assert len({name([path]) for path in paths}) == len(paths)
    (alone,) = prepare(small_config(tmp_path, **SMALL)).units[:1]
    assert task_namer([alone])([alone]) == "small fold-00: 2 betas"
    joins = prepare(classes_config(tmp_path, alphabet=["binary", 2])).units
    parts = [path for join in joins for path in join.needs]
    assert task_namer(joins)(joins[1:2]).endswith("fold-00, 2 bit: join of 3 outputs")
    assert task_namer(parts)(parts[1:2]).endswith("fold-00, binary, output 1: 2 betas")


def test_settings_of_two_kinds_are_not_one_setting():
    table = rows(b1_w8=0.8) + rows(b1_w8=0.9)
    for row in table[4:]:
        row |= {"trial": f"{row['trial']}t", "alphabet": "ternary"}
    choice = choose(rows_table(table), "fractions", "classification")
    assert choice is not None
    assert (choice.mean, choice.networks) == (pytest.approx(0.9), 4)
    assert choice.kind == Kind("squared", None, None, "ternary")


def test_a_refit_of_another_kind_is_not_the_chosen_network():
    table = rows(b1_w8=0.8) + rows(b1_w8=0.9)
    for row in table[4:]:
        row |= {"trial": f"{row['trial']}t", "alphabet": "ternary"}
    refits = [{**table[k], "shard": "all", "trial": f"final{k}"} for k in (0, 4)]
    # The objective of the other kind is lower, which says nothing.
    refits[0]["upper_bound"] = 0.5
    data = summary.frame(rows_table([*table, *refits]))
    champion = summary.champion_row(data)
    assert champion is not None
    assert champion["trial"] == "final4"


def test_rows_of_earlier_versions_are_of_the_kind_with_the_usual_parameter(tmp_path):
    config = small_config(tmp_path, **SMALL, loss="huber")
    (path, *_) = prepare(config).plan.paths
    row = row_of(path, path.axes(Beta(0.3, "fractions"))).columns
    assert row["loss_parameter"] == 1.0
    assert kind_of({**row, "loss_parameter": None}) == kind_of(row) == config.kinds[0].resolved()


def test_what_differs_names_a_kind():
    relu, square = (0.5, 0.0, 1.0), (1.0, 0.0, 0.0)
    assert differing_words([Kind()]) == [""]
    assert differing_words([Kind("squared"), Kind("hinge")]) == ["squared", "hinge"]
    one = [Kind(), Kind(polynomial=relu, alphabet="2")]
    assert differing_words(one) == ["bilinear, binary", "polynomial, 2 bit"]
    two = [Kind(polynomial=relu), Kind(polynomial=square)]
    assert differing_words(two) == ["polynomial (0.5, 0, 1)", "polynomial (1, 0, 0)"]


BAD: list[tuple[list[str], str]] = [
    (
        ["alphabet=[binary,ternary]"],
        "rounding krivine makes binary weights, but alphabet is ternary: use rounding: [refined], "
        "or alphabet: binary",
    ),
    (
        ["activation=[bilinear,{polynomial: {a: 1}}]"],
        "rounding krivine needs the bilinear activation, but activation is polynomial: use "
        "rounding: [refined]",
    ),
    (
        ["loss=[squared,hinge]", "task=regression", "rounding=[refined]"],
        "loss hinge takes two classes, but task is regression: use absolute, huber or squared",
    ),
    (
        ["loss=[squared,hinge]", "certify=tightened"],
        "certify 'tightened' needs the squared loss: use certify 'relaxation'",
    ),
    (
        ["loss=[squared,hinge]", "loss_parameter=1"],
        "loss_parameter belongs to loss huber, but loss is squared and hinge: remove it",
    ),
    (
        ["loss=[huber,logistic]", "baselines=[random_signs,annealing]"],
        "baseline annealing takes squared loss, bilinear, binary weights (none of 2 kinds is): "
        "remove it",
    ),
    (["loss=[squared,squared]"], "loss: 'squared' occurs twice"),
    (["alphabet=[2,2]"], "alphabet: 2 occurs twice"),
    (["alphabet=[]"], "alphabet: must not be empty"),
    (["alphabet=[binary,9]"], "alphabet[1]: must be"),
    (["loss=[squared,cubic]"], "loss[1]: must be"),
    (["activation=[bilinear,cubic]"], "activation[1]: must be"),
    (
        ["activation=[bilinear,{polynomial: {z: 1}}]"],
        "activation[1].polynomial.z: unknown key (known: a, b, c)",
    ),
    (["activation=[{polynomial: {a: 1}},{polynomial: {a: 1.0, b: 0}}]"], "occurs twice"),
]


@pytest.mark.parametrize(("overrides", "message"), BAD, ids=lambda case: str(case)[:40])
def test_what_does_not_go_together_is_refused_before_anything_is_computed(
    tmp_path, monkeypatch, capsys, overrides, message
):
    file = tmp_path / "sweep.yaml"
    file.write_text(config_text(tmp_path))
    given = [part for override in overrides for part in ("--set", override)]
    out = tmp_path / "run"
    monkeypatch.setattr(sys, "argv", ["qnn", "sweep", str(file), "--out", str(out), *given])
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


def test_the_report_has_a_row_for_each_kind_and_names_the_chosen_one(run):
    results = read_results(run)
    data = summary.frame(results)
    assert summary.problems(data) == sorted(differing_words(KINDS))
    page = render_report(collect(run))
    assert "The best setting of each of the 8 kinds" in page
    champion = summary.champion_row(data)
    assert champion is not None
    assert f"Its setting ({champion['problem']}; β, width and rounding)" in page
    assert "squared loss, polynomial (0.0937, 0.5, 0.4688), 2 bit weights" in page
    best = summary.settings(data).drop_duplicates("problem")
    assert len(best) == 8
    assert len(summary.settings(data)) == 8 * 2
    for word in best["problem"]:
        assert f">{word}</td>" in page


def test_a_report_of_one_kind_says_nothing_of_kinds(tmp_path, monkeypatch):
    outcome = run_sweep(
        small_config(tmp_path, **SMALL, beta={"fractions": [0.1]}), str(tmp_path / "run"), INLINE
    )
    page = Path(outcome.location, "report.html").read_text()
    assert "kinds of problem" not in page
    assert ">problem</button>" not in page
    assert "Its setting (β, width and rounding)" in page


def test_every_figure_keeps_the_kinds_apart(run):
    results = read_results(run)
    kinds = set(differing_words(KINDS))
    panels = plots.bounds_figure(results).panels
    assert {panel.title for panel in panels} == kinds | {f"{kind}: the gap" for kind in kinds}
    for panel in panels:
        if panel.title in kinds:
            rows_of_kind = summary.frame(results).query(
                "problem == @panel.title and shard != 'all'"
            )
            medians = rows_of_kind.groupby("beta_fraction")["lower_bound"].median()
            assert medians.tolist() == list(panel.lines("proven bound")[0].y)
    assert not plots.gap_figure(results).panels  # nothing to see of one width
    data = summary.frame(results)
    two = pd.concat([data, data.assign(width=2 * data["width"])])
    gaps = {panel.title for panel in plots.gap_figure(two).panels}
    assert gaps == {f"{kind}, refined" for kind in kinds}
    assert {panel.title for panel in plots.beta_figure(results).panels} == kinds
    named = {mark.name for mark in plots.size_figure(results).key}
    assert {f"{kind}, refined" for kind in kinds} <= named
    (strips,) = plots.rounding_figure(results).panels
    assert list(strips.rows) == sorted(f"{kind}, refined, 4" for kind in kinds)


def test_mlflow_gets_a_curve_for_each_kind_and_their_names(run, tmp_path):
    data = summary.frame(read_results(run))
    curves = tracking_text.path_metrics(data)
    names = {name.split("/")[1] for name, _, _ in curves}
    assert names == {word.replace(",", "") for word in differing_words(KINDS)}
    search = data[data["shard"] != "all"]
    one = search[(search["problem"] == "logistic, bilinear, 2 bit")]
    top = one[one["beta_fraction"] == 0.3]
    expected = top.groupby("shard")["upper_bound"].min().mean()
    found = {(name, step): value for name, value, step in curves}
    assert found["path/logistic bilinear 2 bit/upper_bound", 0] == pytest.approx(expected)
    config = small_config(tmp_path, **LISTS)
    tags = tracking_text.sweep_tags(config)
    assert (tags["loss"], tags["activation"]) == ("squared, logistic", "bilinear, polynomial")
    assert tags["alphabet"] == "binary, 2"
    row = summary.champion_of(data)
    assert row is not None
    assert tracking_text.network_name(row, "champion").startswith(f"champion · {row.problem} · ")
    text = tracking_text.sweep_description(config, data, row, "here")
    assert "logistic loss, bilinear, 2 bit weights" in text


def test_objectives_of_two_kinds_are_never_pooled(run):
    data = summary.frame(read_results(run))
    best = summary.best_networks(data, 100)
    assert len(best) == 16
    assert isinstance(best, pd.DataFrame)
    assert set(zip(best["problem"], best["beta_fraction"], strict=True)) == {
        (kind, fraction) for kind in differing_words(KINDS) for fraction in (0.3, 0.05)
    }
