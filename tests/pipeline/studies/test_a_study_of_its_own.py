"""A made-up study in a room of its own: found by name, planned, run, lost, resumed, verified."""

import importlib
import sys
from pathlib import Path

import pytest

from pipeline.configuration.reading import load_config, parse_config
from pipeline.plans.studies import get_study, study_at, study_names, study_of_file
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_results
from pipeline.results.verification.manifest import check_manifest
from pipeline.sweeps.driver import SweepOptions, run_sweep
from qnn.errors import InputError
from tests.pipeline.small import config_text

INLINE = SweepOptions(inline=True)
ROOM = '''
"""Squares of numbers."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from pipeline.configuration.section import Section
from pipeline.configuration.settings import Resources, TrackingConfig
from pipeline.plans.study import NothingFollows, Step, Study, needed_by
from pipeline.plans.ids import digest_of
from pipeline.results.ledger import read_results, write_results
from pipeline.results.schema import RowSchema
from pipeline.results.verification import Check


class SquaresConfig(Section):
    kind: Literal["squares"]
    name: str
    numbers: tuple[int, ...]
    tracking: TrackingConfig = TrackingConfig()
    resources: Resources = Resources()


@dataclass(frozen=True)
class Row:
    trial: str
    path: str
    shard: str
    number: int
    square: int | None = None
    digits: tuple[str, ...] | None = None
    status: str = "ok"
    error: str | None = None
    seconds: float = 0.0
    versions: str = "{}"


@dataclass(frozen=True)
class Number:
    number: int
    shard: str = "numbers"
    needs: tuple = ()
    networks: int = 1
    estimated_seconds: float = 0.1
    estimated_bytes: float = 1e6

    @cached_property
    def id(self):
        return digest_of(["squares", self.number])

    def titles(self, units):
        return [f"number {unit.number}" for unit in units]

    def run(self, data, folder, tools):
        if self.number == data:
            raise MemoryError("too large")
        square = self.number**2
        row = Row(self.id, self.id, self.shard, self.number, square, tuple(str(square)))
        yield Step(self.id, self.shard, 1, 0, None, 0.0, None)
        write_results(folder, self.id, [vars(row)], STUDY.rows)

    def lost_rows(self, error):
        return [vars(Row(self.id, self.id, self.shard, self.number, status="failed", error=error))]


@dataclass(frozen=True)
class Numbers(NothingFollows):
    units: tuple[Number, ...]
    data: int = 13

    def describe(self):
        return f"{len(self.units)} numbers"


class Squares(Study):
    name = "squares"
    config = SquaresConfig
    rows = RowSchema.of(Row)

    def prepare(self, config):
        return Numbers(tuple(map(Number, config.numbers)))

    def verify(self, location, data=None, fast=False):
        from pipeline.results.folder import RunFolder

        for row in read_results(RunFolder.open(location), self.rows).to_pylist():
            if row["status"] == "ok":
                yield Check(row["trial"], row["square"] == row["number"] ** 2, "square")

    def write_report(self, folder, champion=None):
        folder.write("report.html", b"squares")
        return "report.html"

    def start_tracking(self, config, folder):
        raise NotImplementedError


STUDY = Squares()
'''


@pytest.fixture
def squares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The room, in a folder that `pipeline.studies` looks in too."""
    room = tmp_path / "rooms" / "squares"
    room.mkdir(parents=True)
    (room / "__init__.py").write_text(ROOM)
    rooms = importlib.import_module("pipeline.studies")
    monkeypatch.setattr(rooms, "__path__", [*rooms.__path__, str(room.parent)])
    study_names.cache_clear()
    yield
    sys.modules.pop("pipeline.studies.squares", None)
    vars(rooms).pop("squares", None)
    study_names.cache_clear()


def config_file(folder: Path, numbers: list[int], **more: object) -> Path:
    file = folder / "squares.yaml"
    lines = [f"{key}: {value}" for key, value in more.items()]
    file.write_text("\n".join(["kind: squares", "name: s", f"numbers: {numbers}", *lines]) + "\n")
    return file


def run(file: Path, out: Path):
    study = study_of_file(file)
    return run_sweep(load_config(file, [], study.config), str(out), INLINE)


def test_a_study_is_one_room(squares, tmp_path, caplog):
    assert set(study_names()) >= {"squares", "training"}
    out = tmp_path / "run"
    outcome = run(config_file(tmp_path, [2, 13, 5]), out)
    # One of three units is lost, leaves a failed row, and does not count as done.
    assert (outcome.exit_code, outcome.failed, outcome.choice) == (1, 1, None)
    assert "(numbers): MemoryError: too large" in caplog.text
    study = study_at(str(out))
    rows = read_results(RunFolder.open(out), study.rows).to_pylist()
    found = sorted((row["number"], row["square"], row["digits"], row["error"]) for row in rows)
    assert found == [
        (2, 4, ["4"], None), (5, 25, ["2", "5"], None), (13, None, None, "MemoryError: too large")
    ]  # fmt: skip
    assert (out / "report.html").read_text() == "squares"
    assert [check.ok for check in study.verify(str(out))] == [True, True]
    (manifest,) = check_manifest(RunFolder.open(out), ["squares"])
    assert (manifest.ok, manifest.text) == (
        True, "4 files, 3 rows, as the run left them; not checked: squares"
    )  # fmt: skip
    assert "kind: squares" in (out / "sweep.yaml").read_text()
    again = run(tmp_path / "squares.yaml", out)
    assert (again.reused_paths, again.failed) == (2, 1)


def test_a_fault_in_its_config_is_a_line(squares, tmp_path):
    with pytest.raises(InputError) as error:
        run(config_file(tmp_path, [2], seeds="[1]"), tmp_path / "run")
    known = "kind, name, numbers, tracking, resources"
    assert str(error.value) == f"squares.yaml: seeds: unknown key (known: {known})"


def test_a_study_that_there_is_not_is_a_line(tmp_path):
    file = tmp_path / "sweep.yaml"
    file.write_text("kind: cubes\nname: x\n")
    with pytest.raises(InputError) as error:
        study_of_file(file)
    named = ", ".join(study_names())
    assert str(error.value) == f"sweep.yaml: kind: must be one of {named} (got 'cubes')"


def test_training_is_what_no_kind_means(tmp_path):
    for text in ("name: x\n", "kind: training\nname: x\n", "[", ""):
        (tmp_path / "sweep.yaml").write_text(text)
        assert study_of_file(tmp_path / "sweep.yaml") is get_study("training")
    text = "kind: training\n" + config_text(tmp_path)
    assert parse_config(text, "a.yaml") == parse_config(config_text(tmp_path), "b.yaml")
    assert study_at(str(tmp_path / "nothing")) is get_study("training")
