"""The tables at the end of a sweep: the mean that sorts is printed, and arms beside ours."""

import re
from typing import Any

import pyarrow as pa
import pytest
from rich.console import Console

from pipeline.commands.terminal import print_outcome
from pipeline.logs.console import console_of_tables
from pipeline.reports.page import ReportInput, render_report
from pipeline.results.record import RESULTS_SCHEMA
from pipeline.results.selection import choose
from pipeline.results.summary import OURS, beside_ours, best_networks, frame, settings
from pipeline.sweeps.driver import SweepOutcome
from tests.pipeline.synthetic import results_table


def with_arms(better: float) -> pa.Table:
    """A sweep's rows with two arms: straight_through worse than ours, rbf_svm by so much better."""
    rows = results_table(shards=2, betas=3, seeds=2, refit=False).to_pylist()
    best = max(row["validation_accuracy"] for row in rows)
    made = []
    for row in rows:
        if row["rounding"] == "refined" and row["width"] == 8:
            made.append({**row, "rounding": "straight_through", "trial": row["trial"][::-1],
                         "validation_accuracy": 0.5, "test_accuracy": 0.5})  # fmt: skip
    reference = dict.fromkeys(RESULTS_SCHEMA.names) | {
        "path": rows[0]["path"], "dataset": rows[0]["dataset"], "shard": "fold-00", "seed": 0,
        "rounding": "rbf_svm", "status": "ok", "bytes": 9000, "trial": "0" * 16,
        "seconds": 1.0, "validation_accuracy": best + better, "test_accuracy": best + better,
    }  # fmt: skip
    return pa.Table.from_pylist([*rows, *made, reference], schema=RESULTS_SCHEMA)


def print_results(results: pa.Table, console: Console) -> None:
    made: dict[str, Any] = {
        "location": "run", "failed": 0, "reused_paths": 0, "report": None, "exit_code": 0,
        "tracking_command": None, "tracking_error": None, "champion": None,
    }  # fmt: skip
    choice = choose(results, "fractions", "classification")
    print_outcome(SweepOutcome(results=results, choice=choice, **made), console)


def printed(results: pa.Table) -> str:
    console = Console(record=True, width=160)
    print_results(results, console)
    return console.export_text()


def test_the_mean_that_sorts_the_table_is_printed():
    results = results_table(shards=3, betas=4, refit=False)
    means = settings(frame(results))["validation_accuracy"]
    lines = [line for line in printed(results).splitlines() if "fold-" in line]
    shown = [re.findall(r"(\d+\.\d) %", line)[-3] for line in lines]
    assert shown == [f"{100 * mean:.1f}" for mean in means[: len(lines)]]
    assert [float(value) for value in shown] == sorted(map(float, shown), reverse=True)


@pytest.mark.parametrize("better", [0.01, -0.3])
def test_arms_are_shown_beside_ours_also_where_they_are_better(better):
    results = with_arms(better)
    arms = beside_ours(results)["arm"].tolist()
    assert arms == (["rbf_svm", OURS, "straight_through"] if better > 0 else
                    [OURS, "rbf_svm", "straight_through"])  # fmt: skip
    text = printed(results).partition("baselines")[2]
    places = [text.index(f" {arm} ") for arm in arms]
    assert places == sorted(places)


def test_an_arm_stands_beside_ours_with_one_kind_of_problem_and_one_orthogonality():
    rows = results_table(shards=2, betas=1, seeds=1, refit=False).to_pylist()
    ours = [row for row in rows if row["rounding"] == "refined" and row["width"] == 8]

    def arm(name: str, accuracy: float, **more: Any) -> list[dict[str, Any]]:
        known = {"rounding": name, "validation_accuracy": accuracy, "test_accuracy": accuracy}
        return [{**row, **known, "trial": f"{accuracy}{row['trial']}", **more} for row in ours]

    made = [
        *ours,
        *arm("random_signs", 0.7),
        *arm("random_signs", 0.9, loss="squared_hinge"),
        *arm("straight_through", 0.6, orthogonality="none"),
        *arm("straight_through", 0.8, orthogonality="soft"),
    ]
    found = beside_ours(pa.Table.from_pylist(made, schema=RESULTS_SCHEMA)).set_index("arm")
    assert found["networks"].to_dict() == {OURS: 2, "random_signs": 2, "straight_through": 2}
    assert found.loc["random_signs", "test_accuracy"] == pytest.approx(0.9)
    assert found.loc["straight_through", "test_accuracy"] == pytest.approx(0.8)


def test_without_arms_there_is_no_table_of_them():
    assert not len(beside_ours(results_table(shards=2, betas=2)))
    assert "baselines" not in printed(results_table(shards=2, betas=2, refit=False))


def test_the_file_of_each_network_is_said_where_there_is_room():
    results = results_table(shards=2, betas=2, refit=False)
    best = best_networks(frame(results), 8)["network"].tolist()
    text = printed(results)
    assert len(best) > 1
    assert all(name in text for name in best)
    assert f"network  run/{best[0]}\n" in text
    console = Console(record=True, width=80)
    print_results(results, console)
    narrow = console.export_text()
    assert f"network  run/{best[0]}\n" in narrow
    assert best[1] not in narrow


@pytest.mark.parametrize(
    ("stored", "words"), [("float", "as float64"), ("4", "of 4 bits"), ("common", "of one size")]
)
def test_the_terminal_says_what_bytes_count_in_the_reports_words(stored: str, words: str) -> None:
    rows = results_table(shards=2, betas=2, refit=False).to_pylist()
    rows = [{**row, "second_layer": stored} for row in rows]
    results = pa.Table.from_pylist(rows, schema=RESULTS_SCHEMA)
    (line,) = re.findall("^bytes  .*$", printed(results), re.MULTILINE)
    assert f"weights as bits, second layer {words}; with its encoding" in line
    best = best_networks(frame(results), 1).iloc[0]
    own, encoding = best["bytes"], best["preprocessing_bytes"]
    assert f"{own + encoding:.0f} bytes ({encoding:.0f} bytes of numbers, categories and" in line
    page = render_report(ReportInput(results=results))
    assert f"weights as bits, second layer {words}" in page
    assert line.partition("this network has ")[2] in page


@pytest.mark.parametrize(("share", "said"), [(0.975, True), (0.79, False), (None, False)])
def test_an_accuracy_that_one_class_gives_is_said(share: float | None, said: bool) -> None:
    rows = results_table(shards=2, betas=2, refit=False).to_pylist()
    rows = [{**row, "test_majority_share": share} for row in rows]
    text = printed(pa.Table.from_pylist(rows, schema=RESULTS_SCHEMA))
    note = "note: chosen by accuracy, and 97.5 % of the test rows are of one class; metric: "
    assert (note in text) == said


@pytest.mark.parametrize("columns", [None, "60"])
def test_a_pipe_gets_whole_lines_and_a_screen_what_it_has(
    columns: str | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    results = results_table(shards=2, betas=2, refit=False)
    names = {shard: f"site={shard} of a long name that wraps" for shard in ("fold-00", "fold-01")}
    rows = [{**row, "shard": names[row["shard"]]} for row in results.to_pylist()]
    named = pa.Table.from_pylist(rows, schema=results.schema)
    print_results(named, console_of_tables())
    shown = capsys.readouterr().out
    assert (any(name in shown for name in names.values())) == (columns is None)
