"""What is said of the data is said once, however often a command reads them."""

import logging
import sys
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.commands.cli import main
from pipeline.logs.console import held_back, set_up_logging


@pytest.fixture
def package() -> logging.Logger:
    """The package's logger, as it was afterwards."""
    logger = logging.getLogger("pipeline")
    before = logger.handlers, logger.level, logger.propagate
    yield logger
    logger.handlers, logger.level, logger.propagate = before


@pytest.mark.parametrize("mode", ["text", "json"])
def test_a_notice_of_the_data_is_written_once(
    mode: str,
    package: logging.Logger,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("QNN_LOG", mode)
    set_up_logging(Console(stderr=True))
    for _ in range(2):
        logging.getLogger("pipeline.datasets.sources").warning("left out %s", "'index'")
        logging.getLogger("pipeline.sweeps.dispatch").warning("trying again")
    logging.getLogger("pipeline.sweeps.events").warning("not promoted: constant")
    written = capsys.readouterr().err
    assert written.count("left out 'index'") == 1
    assert written.count("trying again") == 2
    # Beside the table it is printed for people; a log of JSON has it too.
    assert written.count("not promoted") == (1 if mode == "json" else 0)


def test_held_back_notices_are_a_list_and_no_lines(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("pipeline.datasets.sources")
    with held_back() as held:
        logger.warning("one")
        logger.warning("one")
    assert held == ["one"]
    assert not caplog.records
    logger.warning("two")
    assert [record.getMessage() for record in caplog.records] == ["two"]


def test_a_dry_run_says_each_thing_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{k},{(7 * k) % 11},{('Yes', 'yes', 'no')[k % 3]}" for k in range(60)]
    (tmp_path / "t.csv").write_text("\n".join([",a,target", *rows]) + "\n")
    (tmp_path / "t.yaml").write_text("name: t\ndata: {source: t.csv, target: target}\n")
    monkeypatch.setattr(sys, "argv", ["qnn", "sweep", str(tmp_path / "t.yaml"), "--dry-run"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    said = capsys.readouterr()
    assert (said.out + said.err).count("only counts the rows") == 1
    assert (said.out + said.err).count("differ only in case or blanks") == 1
