"""While a proof takes long, its bounds are shown as they close in; nothing of that stays."""

import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipeline.plans.study import Step
from pipeline.results.folder import RunFolder, StoreError
from pipeline.results.ledger import read_results
from pipeline.sweeps import under_way
from pipeline.sweeps.driver import SweepOptions, prepare, run_sweep
from pipeline.sweeps.events import TaskBegun
from pipeline.sweeps.progress import StepReporter, Tally, reporter
from pipeline.sweeps.under_way import UNDER_WAY, Hearing, Saying
from pipeline.sweeps.worker.path import run_path
from tests.pipeline.small import small_config

SIZE: dict[str, Any] = {
    "shards": {"kind": "kfold", "count": 2},
    "beta": {"fractions": [0.05]},
    "seeds": [0],
    "widths": [16],
    "rounding": ["refined"],
}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.open(tmp_path / "run")


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_way, "LOOK_EVERY", 0.0)


@pytest.mark.usefixtures("at_once")
def test_what_a_unit_says_is_heard_until_it_ends(folder):
    hearing = Hearing(folder)
    assert hearing.look() == ""
    first, second = Saying(folder, "a"), Saying(folder, "b")
    first("β 1: half")
    assert hearing.look() == "β 1: half"
    second("β 2: less")
    assert hearing.look() == "β 1: half (and 1 more)"
    first.end()
    assert hearing.look() == "β 2: less"
    # Its worker died: the driver takes the line away.
    hearing.close()
    assert hearing.look() == ""
    assert folder.files(UNDER_WAY) == []


@pytest.mark.usefixtures("at_once")
def test_the_last_word_counts_and_none_takes_much_time(folder, monkeypatch):
    hearing, saying = Hearing(folder), Saying(folder, "a")
    saying("one")
    saying.ready = 0.0
    saying("two")
    assert hearing.look() == "two"
    monkeypatch.setattr(folder, "write", pytest.fail)
    saying.ready = float("inf")
    saying("three")


def test_a_folder_that_cannot_be_used_is_no_fault_here(folder, monkeypatch):
    def refuse(*arguments: Any) -> None:
        raise StoreError("full")

    monkeypatch.setattr(under_way, "LOOK_EVERY", 0.0)
    for name in ("write", "files", "remove", "read", "remove_folder"):
        monkeypatch.setattr(folder, name, refuse)
    saying, hearing = Saying(folder, "a"), Hearing(folder)
    saying("one")
    saying.end()
    assert hearing.look() == ""
    hearing.close()


@pytest.mark.parametrize("level", ["relaxation", "tightened", "exact"])
def test_bounds_are_said_as_they_close_in(folder, tmp_path, level):
    prepared = prepare(small_config(tmp_path, **SIZE, certify=level))
    unit, said = prepared.units[0], []
    data = prepared.data.shard(unit.shard)
    folder.create()
    list(run_path(unit.spec, data, folder, say=said.append))
    (row,) = read_results(folder).to_pylist()
    points = row["bounds"] or []
    assert len(said) == len(points)
    for line, point in zip(said, points, strict=True):
        assert line.startswith(f"fold-00, β {row['beta']:.4g}: bound {point['lower']:.6g} of ")
        assert f" of {point['upper']:.6g}, gap " in line
    assert bool(said) == (level != "relaxation")


def test_a_sweep_shows_it_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.reports.page.write_report", lambda folder, trial: None)
    said: list[str] = []
    good = Saying.__call__

    def heard(self: Saying, text: str) -> None:
        self.ready = 0.0
        good(self, text)
        monkeypatch.setattr(under_way, "LOOK_EVERY", 0.0)
        said.append(Hearing(self.folder).look())

    monkeypatch.setattr(Saying, "__call__", heard)
    config = small_config(tmp_path, **SIZE, certify="exact")
    outcome = run_sweep(config, str(tmp_path / "run"), SweepOptions(inline=True))
    assert outcome.exit_code == 0
    # Two folds and the refit, each seen in the folder at the moment when it is said.
    assert {line.partition(",")[0] for line in said} == {"fold-00", "fold-01", "all"}
    assert not (tmp_path / "run" / UNDER_WAY).exists()


@pytest.mark.parametrize("text", ["site=[/x], β 1: bound 1 of 2", "[red]bound"])
def test_a_terminal_shows_the_line_as_it_is(text):
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=200, color_system=None)
    tally = Tally(total=4)
    with reporter(tally, console) as bar:
        tally.add(Step("p", "s", 1, 0, 0.5, 0.0, None))
        tally.under_way = text
        bar.update()
    assert f"best gap 50 %, {text}" in stream.getvalue()


@pytest.mark.parametrize("kind", ["xterm-256color", "dumb"])
def test_the_windows_title_says_how_far_it_is_and_is_put_back(kind):
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=200, _environ={"TERM": kind})
    tally = Tally(total=4)
    with reporter(tally, console) as bar:
        for _ in range(3):
            tally.add(Step("p", "s", 1, 0, 0.5, 0.0, None))
            bar.update()
            bar.update()
    titles = re.findall(r"\x1b\]0;(.*?)\x07|\x1b\[(2[23];2t)", stream.getvalue())
    kept, back = ("", "22;2t"), ("", "23;2t")
    shown = [(f"{share} % of 4 trials", "") for share in (25, 50, 75)]
    assert titles == ([] if kind == "dumb" else [kept, *shown, back])


def test_where_no_terminal_is_no_title_is_written():
    stream = io.StringIO()
    tally = Tally(total=4)
    with reporter(tally, Console(file=stream)) as bar:
        bar.update()
    assert stream.getvalue() == ""


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_before_there_is_a_result_it_is_said_what_is_waited_for(monkeypatch, caplog):
    monkeypatch.setattr("pipeline.sweeps.progress.LINE_EVERY", 0.0)
    caplog.set_level("INFO", "pipeline")
    tally = Tally(total=4)
    with reporter(tally, Console(file=io.StringIO())) as bar:
        for event in (TaskBegun("p"), Step("p", "s", 1, 0, 0.5, 0.0, None), TaskBegun("q")):
            tally.under_way = tally.news
            bar.update()
            tally.add(event)
        tally.under_way = tally.news
        bar.update()
    starting, begun, *done = lines(caplog)
    assert starting.startswith("0/4 trials, Ray's workers are starting, 0 s")
    assert begun.startswith("0/4 trials, no result yet, 0 s")
    assert all(line.startswith("1/4 trials, best gap 50 %, 0 s, less than 1 s") for line in done)


def test_a_terminal_says_it_before_there_is_any_news() -> None:
    stream = io.StringIO()
    tally = Tally(total=4)
    tally.under_way = tally.news
    console = Console(file=stream, force_terminal=True, width=200, color_system=None)
    bar = reporter(tally, console)
    with bar:
        bar.bar.refresh()
        assert "0/4 Ray's workers are starting" in stream.getvalue()


def test_workers_say_that_they_begin_and_a_sweep_shows_it(tmp_path, monkeypatch):
    shown: list[str] = []
    good = Tally.text

    def seen(self: Tally) -> str:
        shown.append(self.under_way)
        return good(self)

    monkeypatch.setattr(Tally, "text", seen)
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=200, color_system=None)
    options = SweepOptions(inline=True)
    config = small_config(tmp_path, **SIZE)
    assert run_sweep(config, str(tmp_path / "run"), options, console).exit_code == 0
    assert "no result yet" in shown
    assert shown[-1] == ""


def test_steps_of_a_pipe_are_a_line_every_tenth_and_one_line_on_a_terminal(caplog):
    caplog.set_level("INFO", "pipeline")
    with StepReporter("choosing", Console(file=io.StringIO())) as steps:
        for k in range(70):
            steps.tell(k, 70, f"kind [/{k}]")
    assert lines(caplog) == [
        f"choosing, {k + 1} of at most 70: kind [/{k}]" for k in range(0, 70, 7)
    ]
    caplog.clear()
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, color_system=None)
    with StepReporter("choosing", console) as steps:
        for k in range(70):
            steps.tell(k, 70, f"kind [/{k}]")
    assert lines(caplog) == []
    # Rewritten in its place, and gone at the end.
    text = stream.getvalue()
    assert "choosing, 70 of at most 70: kind [/69]" in text
    assert text.count("\n") == 1
    assert text.endswith("\x1b[1A\x1b[2K")
