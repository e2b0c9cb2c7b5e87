"""Partitions arriving night by night: a promotion, nothing new, a refusal, a rollback."""

import json
import logging
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from mlflow.exceptions import MlflowException

from pipeline.commands.retraining import rollback_command
from pipeline.configuration.kinds import kind_of
from pipeline.configuration.reading import parse_config
from pipeline.reports.figures import plots
from pipeline.results import lock
from pipeline.results.folder import RunFolder, StoreError
from pipeline.retraining import run
from pipeline.retraining.champion import files_in_use, find_champion
from pipeline.retraining.decision import look
from pipeline.retraining.gates import certificate_gate
from pipeline.retraining.lease import LEASE_FILE
from pipeline.retraining.run import Retrained, retrain
from pipeline.retraining.state import read_state
from pipeline.studies.training.automatic import settled, stand_in
from pipeline.sweeps.driver import SweepOptions
from pipeline.tracking.aliases import CHAMPION, JOURNAL, PREVIOUS, aliases, promote
from pipeline.tracking.store import Store, open_store, pointed_at
from qnn.certificates import Certificate
from qnn.numerics.archive import pack_arrays, unpack_arrays
from tests.pipeline.retraining.arriving import arrive, config, home_with_store

INLINE = SweepOptions(inline=True)


@pytest.fixture(autouse=True)
def _here_and_without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures and the report take longer than all else and are tested elsewhere."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(plots, "FIGURES", ())
    monkeypatch.setattr("pipeline.reports.page.write_report", lambda folder, trial: None)
    monkeypatch.setattr("pipeline.tracking.tracker.report_of", lambda folder, trial: b"")


class Nights:
    """One home and one data folder, used night after night."""

    def __init__(self, root: Path) -> None:
        self.data, self.home = root / "data", home_with_store(root / "home")

    def run(self, **changes: Any) -> Retrained:
        return retrain(config(self.data, **changes), str(self.home), INLINE)

    def store(self) -> Store:
        return open_store(config(self.data), RunFolder.open(self.home))

    def aliases(self) -> dict[str, str]:
        return aliases(self.store().client, "arriving")


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    return Nights(tmp_path)


def test_without_beta_each_run_chooses_on_its_own_rows(nights: Nights, tmp_path: Path) -> None:
    arrive(nights.data, "day-1.parquet", seed=1)
    arrive(nights.data, "day-2.parquet", seed=2)
    file = tmp_path / "open.yaml"
    file.write_text("data: {source: data, target: target, exclude: [y]}\ntracking: {top: 1}\n")
    standing, unsettled = stand_in(file, ["name=arriving"])
    first = retrain(standing, str(nights.home), INLINE, unsettled=unsettled)
    assert first.verdict is not None
    assert first.verdict.word == "promoted"
    place = nights.home / str(first.decision.run) / "sweep.yaml"
    said = parse_config(place.read_text(), "sweep.yaml")
    assert len(said.beta.points) == len(said.widths) == 1
    assert said.loss == "logistic"
    # A run that goes on reads what it chose.
    again = settled(said, unsettled, str(place.parent))
    assert again == said
    # No reason to train again is the value that stands for the choice; to give one is.
    assert retrain(standing, str(nights.home), INLINE, unsettled=unsettled).sweep is None
    home = RunFolder.open(nights.home)
    assert look(standing, home, unsettled).selection is None
    assert look(standing, home).config_changed


def test_a_week(nights: Nights, caplog: pytest.LogCaptureFixture, capsys: Any) -> None:
    arrive(nights.data, "day-1.parquet", seed=1)
    arrive(nights.data, "day-2.parquet", seed=2)
    first = nights.run()
    assert first.verdict is not None
    assert first.verdict.word == "promoted"
    assert first.verdict.training == ("day-1.parquet",)
    assert first.verdict.hold_out == ("day-2.parquet",)
    assert nights.aliases() == {CHAMPION: "1"}

    nothing = nights.run()
    assert nothing.sweep is None
    assert nothing.decision.reason.startswith("nothing new since the last run (promoted ")

    arrive(nights.data, "day-3.parquet", count=120, seed=3)
    second = nights.run()
    assert second.decision.new == ("day-3.parquet",)
    assert second.verdict is not None
    assert second.verdict.training == ("day-1.parquet", "day-2.parquet")
    assert second.verdict.hold_out_rows == 120
    assert second.verdict.comparison is not None
    assert nights.aliases() == {CHAMPION: "2", PREVIOUS: "1"}

    # Most labels of day 4 are wrong; it came with day 5, so it is learnt from and does not judge.
    arrive(nights.data, "day-4.parquet", count=600, seed=4, noise=0.6)
    arrive(nights.data, "day-5.parquet", count=200, seed=5)
    refused = nights.run()
    assert refused.verdict is not None
    assert refused.verdict.word == "refused"
    (gate,) = [gate for gate in refused.verdict.gates if not gate.passed]
    assert gate.name == "metric"
    assert "McNemar" in gate.text
    assert refused.version == "3"
    assert refused.move is None
    assert nights.aliases() == {CHAMPION: "2", PREVIOUS: "1"}
    assert nights.run().decision.reason.startswith("nothing new since the last run (refused ")

    assert rollback_command("arriving", str(nights.home)) == 0
    said = capsys.readouterr().out
    assert said == ("arriving: rollback: champion is version 1 (was 2), previous is 2\n")
    assert nights.aliases() == {CHAMPION: "1", PREVIOUS: "2"}
    assert nights.run().sweep is None
    state = read_state(RunFolder.open(nights.home))
    assert state is not None
    assert (state.verdict, state.champion and state.champion.version) == ("refused", "2")


def test_kinds_of_problem_compete_for_the_champion(nights: Nights) -> None:
    kinds: dict[str, Any] = {
        "loss": ["squared", "logistic"],
    }
    arrive(nights.data, "day-1.parquet", count=90, seed=1)
    arrive(nights.data, "day-2.parquet", seed=2)
    for night, count in enumerate((90, 120), start=3):
        done = nights.run(**kinds, baselines=["annealing"], baseline_seconds=0.01)
        assert done.sweep is not None
        assert done.sweep.choice is not None
        assert done.verdict is not None
        row = done.sweep.champion
        assert row is not None
        rows = done.sweep.results.to_pylist()
        search = [one for one in rows if one["shard"] != "all" and one["rounding"] == "refined"]
        # The champion's kind is that of the best mean validation accuracy, whatever objectives say.
        means = {
            kind: np.mean([one["validation_accuracy"] for one in search if kind_of(one) == kind])
            for kind in map(kind_of, search)
        }
        assert len(means) == 2
        kind = kind_of(row.columns)
        assert means[kind] == pytest.approx(max(means.values()))
        assert kind == done.sweep.choice.kind
        # Its certificate is proven again, and speaks of its own kind.
        folder = RunFolder.open(done.sweep.location)
        certified = next(gate for gate in done.verdict.gates if gate.name == "certificate")
        assert certified.passed, certified.text
        assert row.bounds.certificate in certified.text
        certificate = Certificate.load(Path(folder.location) / row.bounds.certificate)
        assert (certificate.loss, certificate.alphabet) == (row.axes.loss, row.axes.alphabet)
        arrive(nights.data, f"day-{night}.parquet", count=count, seed=night)
    comparison = done.verdict.comparison
    assert comparison is not None
    # The metric gate compares labels, which all kinds have in common.
    assert comparison.metric == "accuracy"


def test_a_network_that_is_not_robust_enough_is_not_promoted(nights: Nights) -> None:
    arrive(nights.data, "1.csv", seed=1, count=80)
    arrive(nights.data, "2.csv", seed=2, count=20)
    asked = {"radius": 0.05, "unit": "range", "certified_accuracy": 1.0, "nodes": 50}
    done = nights.run(retrain={"robustness": asked})
    assert done.verdict is not None
    (gate,) = [gate for gate in done.verdict.gates if not gate.passed]
    share = done.verdict.certified_accuracy
    assert share is not None
    assert done.verdict.line == f"refused by the gate robustness: {gate.text}"
    assert gate.text.startswith(f"certified accuracy {share:.4f} whatever happens within ±5 % of")
    assert "at least 1 is asked" in gate.text
    assert (done.move, nights.aliases()) == (None, {})
    store = nights.store()
    (run,) = store.client.search_runs(
        [store.experiment_id], filter_string="tags.`qnn.role` = 'sweep'"
    )
    assert run.data.metrics["gates/certified_accuracy"] == share < 1.0
    # How the gate judges is no reason to train again.
    lower = config(nights.data, retrain={"robustness": {**asked, "certified_accuracy": 0.0}})
    assert look(lower, RunFolder.open(nights.home)).selection is None


def test_what_a_reviewer_finds(nights: Nights, caplog: pytest.LogCaptureFixture) -> None:
    arrive(nights.data, "1.csv", seed=1, count=100)
    arrive(nights.data, "2.csv", seed=2, count=100, shift=2.0)
    with caplog.at_level(logging.WARNING):
        done = nights.run(retrain={"max_bytes": 10, "drift_threshold": 0.5})
    assert "drift: largest PSI" in caplog.text
    assert done.verdict is not None
    assert [gate.name for gate in done.verdict.gates if not gate.passed] == ["size"]
    home = RunFolder.open(nights.home)
    assert done.decision.run is not None
    record = json.loads(home.read(f"{done.decision.run}/decision.json"))
    assert record["verdict"] == "refused"
    assert {"a", "b", "c", "d"} == {one["name"] for one in record["drift"]["features"]}
    assert set("abcd") <= set(record["drift"]["over"])
    store = open_store(config(nights.data), home)
    (run,) = store.client.search_runs(
        [store.experiment_id], filter_string="tags.`qnn.role` = 'sweep'"
    )
    assert run.data.tags["qnn.verdict"] == "refused"
    assert run.data.tags["mlflow.note.content"].startswith("## Retraining: refused")
    assert run.data.metrics["gates/failed"] == 1
    for one in record["drift"]["features"]:
        assert run.data.metrics[f"drift/psi/{one['name']}"] == one["psi"] > 0.5
    with pointed_at(store):
        files = [entry.path for entry in store.client.list_artifacts(run.info.run_id)]
    assert "decision.json" in files
    assert nights.aliases() == {}
    # The budget is no reason to train again, and without one the next data decide.
    assert look(config(nights.data), home).selection is None


def test_a_lost_registry_does_not_make_any_network_the_champion(
    nights: Nights, caplog: pytest.LogCaptureFixture
) -> None:
    arrive(nights.data, "1.parquet", seed=1, count=100)
    arrive(nights.data, "2.parquet", seed=2, count=100)
    assert nights.run().move is not None
    store = open_store(config(nights.data), RunFolder.open(nights.home))
    store.client.delete_registered_model("arriving")
    arrive(nights.data, "3.parquet", seed=3, count=500, noise=0.8)
    arrive(nights.data, "4.parquet", seed=4, count=200)
    with caplog.at_level(logging.WARNING):
        done = nights.run()
    assert "compared with its file" in caplog.text
    assert done.verdict is not None
    assert done.verdict.word == "refused"
    assert done.verdict.comparison is not None


def test_a_lease_lost_while_the_candidate_is_judged_stops_the_promotion(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process takes the folder over, as on an object store, once the verdict is logged."""
    home = RunFolder.open(nights.home)
    logged = run.log_verdict

    def taken_over(*arguments: Any) -> None:
        logged(*arguments)
        home.write(LEASE_FILE, b'{"token": "other", "host": "elsewhere"}')

    monkeypatch.setattr(lock, "SETTLE", 0.0)
    arrive(nights.data, "1.parquet", seed=1)
    arrive(nights.data, "2.parquet", seed=2)
    with monkeypatch.context() as disturbed:
        disturbed.setattr(lock, "acquire_lock", lock.TokenLock)
        disturbed.setattr(run, "log_verdict", taken_over)
        with pytest.raises(StoreError, match="another retraining took this folder over"):
            nights.run()
    assert nights.aliases() == {}
    model = nights.store().client.get_registered_model("arriving")
    assert JOURNAL not in model.tags
    assert read_state(home) is None
    # What was registered waits for the next run, which promotes it.
    home.remove(LEASE_FILE)
    done = nights.run()
    assert (done.version, done.verdict and done.verdict.word) == ("1", "promoted")
    assert nights.aliases() == {CHAMPION: "1"}


def test_a_version_that_was_rolled_back_is_refused_by_the_next_try(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrive(nights.data, "day-1.parquet", seed=1)
    arrive(nights.data, "day-2.parquet", seed=2)
    nights.run()
    home = RunFolder.open(nights.home)
    before = read_state(home)
    arrive(nights.data, "day-3.parquet", count=120, seed=3)
    with monkeypatch.context() as disturbed:
        disturbed.setattr(run, "write_state", Mock(side_effect=SystemExit))
        with pytest.raises(SystemExit):
            nights.run()
    assert nights.aliases() == {CHAMPION: "2", PREVIOUS: "1"}
    rollback_command("arriving", str(nights.home))
    done = nights.run()
    assert done.verdict is not None
    assert (done.version, done.move, done.verdict.word) == ("2", None, "refused")
    assert done.verdict.line.startswith("refused by the gate rollback: version 2 was rolled back (")
    assert nights.aliases() == {CHAMPION: "1", PREVIOUS: "2"}
    state = read_state(home)
    assert before is not None
    assert state is not None
    assert (state.verdict, state.champion) == ("refused", before.champion)
    assert json.loads(home.read(f"{done.decision.run}/decision.json"))["verdict"] == "refused"
    store = nights.store()
    newest = store.client.search_runs(
        [store.experiment_id], filter_string="tags.`qnn.role` = 'sweep'", max_results=1
    )[0]
    note = newest.data.tags["mlflow.note.content"]
    assert note.startswith("## Retraining: refused")
    assert (note.count("## Retraining"), note.count("## Certified")) == (1, 1)
    # What an alias was put on by hand is found among the runs.
    assert files_in_use(store, "arriving", home, ()) == before.champion
    promote(store.client, "arriving", "2")
    found = files_in_use(store, "arriving", home, (before.champion,))
    assert found is not None
    assert (found.run, found.version) == (done.decision.run, "2")
    assert home.exists(f"{found.run}/{found.network}")


def test_what_mlflow_lacks_is_one_line_and_made_again(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrive(nights.data, "day-1.parquet", seed=1)
    arrive(nights.data, "day-2.parquet", seed=2)
    with monkeypatch.context() as disturbed:
        disturbed.setattr(run, "log_verdict", Mock(side_effect=MlflowException("it is\naway")))
        with pytest.raises(StoreError, match=r"^MLflow: sqlite:.*: MlflowException: it is away$"):
            nights.run()
    # Somebody tidies up: the version goes, or the whole model.
    client = nights.store().client
    client.delete_model_version("arriving", "1")
    assert nights.run().version == "2"
    assert nights.aliases() == {CHAMPION: "2"}
    (nights.home / "retrain.json").unlink()
    client.delete_registered_model("arriving")
    assert nights.run().version == "1"
    assert nights.aliases() == {CHAMPION: "1"}


def test_another_name_of_the_model_starts_anew(nights: Nights) -> None:
    arrive(nights.data, "day-1.parquet", seed=1)
    arrive(nights.data, "day-2.parquet", seed=2)
    nights.run()
    done = nights.run(tracking={"top": 1, "registered_model": "other"})
    assert done.decision.config_changed
    assert done.verdict is not None
    assert done.verdict.line == "promoted: no champion yet, nothing to compare with"
    store, home = nights.store(), RunFolder.open(nights.home)
    assert aliases(store.client, "other") == nights.aliases() == {CHAMPION: "1"}
    state = read_state(home)
    assert state is not None
    assert state.model == "other"
    store.client.delete_registered_model("other")
    lost = find_champion(store, "other", home, state)
    assert lost is not None
    assert lost.version is None
    assert find_champion(store, "third", home, state) is None
    old = state.model_copy(update={"model": None})
    assert find_champion(store, "third", home, old) is not None


def test_the_certificate_is_proven_again_from_the_files(nights: Nights) -> None:
    arrive(nights.data, "1.parquet", seed=1)
    arrive(nights.data, "2.parquet", seed=2)
    done = nights.run()
    assert done.sweep is not None
    assert done.sweep.champion is not None
    row, run = done.sweep.champion, RunFolder.open(done.sweep.location)
    gate = certificate_gate(run, row)
    assert gate.passed
    assert f"{row.bounds.certificate}: bound " in gate.text
    certificate = dict(unpack_arrays(run.read(row.bounds.certificate), "x", "certificate"))
    certificate["nu"] = 1.01 * certificate["nu"]
    run.write(row.bounds.certificate, pack_arrays(certificate))
    assert not certificate_gate(run, row).passed


def test_data_and_home_may_be_uris(nights: Nights) -> None:
    arrive(nights.data, "1 a%.parquet", seed=1)
    arrive(nights.data, "2 b%.parquet", seed=2)
    settings = config(nights.data)
    data = settings.data.model_copy(update={"source": nights.data.as_uri()})
    settings = settings.model_copy(update={"data": data})
    done = retrain(settings, nights.home.as_uri(), INLINE)
    assert done.move is not None
    assert nights.aliases() == {CHAMPION: "1"}
    assert retrain(settings, nights.home.as_uri(), INLINE).sweep is None


def test_several_targets_are_retrained_and_a_champion_of_fewer_is_told(nights: Nights) -> None:
    several = {"exclude": ["target"], "target": ["y", "d"]}
    arrive(nights.data, "day-1.parquet", seed=1)
    arrive(nights.data, "day-2.parquet", seed=2)
    first = nights.run(task="regression", columns=several)
    assert first.verdict is not None
    assert first.verdict.word == "promoted"
    arrive(nights.data, "day-3.parquet", count=120, seed=3)
    second = nights.run(task="regression", columns=several)
    assert second.verdict is not None
    assert second.verdict.comparison is not None
    assert second.verdict.comparison.metric == "rmse"
    third = nights.run(task="regression", columns={**several, "target": "y"})
    assert third.verdict is not None
    assert third.verdict.word == "refused"
    gate = next(gate for gate in third.verdict.gates if gate.name == "metric")
    assert "cannot read these rows (it predicts 2 targets); set tracking.registered_model" in (
        gate.text
    )
