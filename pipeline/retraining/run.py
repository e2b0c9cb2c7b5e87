"""One retraining from beginning to end; every step may be cut off and is then done again.

The order makes that safe: the window's table, the sweep in a folder named after its content, the
registered version, the verdict's file, the aliases (with their own journal), and the state. Old
runs are removed after that.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import numpy as np
from rich.console import Console

from pipeline.configuration.reading import SweepConfig
from pipeline.datasets.examples import classes_of
from pipeline.results.folder import RunFolder, StoreError
from pipeline.results.record import NetworkRow
from pipeline.retraining.champion import (
    Champion,
    files_in_use,
    find_champion,
    registered_version,
)
from pipeline.retraining.decision import Decision, look, settings_of
from pipeline.retraining.drift import measure_drift
from pipeline.retraining.gates import (
    Comparison,
    Gate,
    certificate_gate,
    metric_gate,
    robustness_gate,
    rollback_gates,
    size_gate,
    use_gate,
)
from pipeline.retraining.lease import Lease
from pipeline.retraining.partitions import beside
from pipeline.retraining.record import Verdict, log_verdict, write_verdict
from pipeline.retraining.retention import prune
from pipeline.retraining.state import ChampionFiles, State, settings_digest, write_state
from pipeline.retraining.window import Selection, Window, build, run_config, write_window
from pipeline.studies.training.automatic import Keys, settled
from pipeline.studies.training.prepared import prepare
from pipeline.sweeps.driver import SweepOptions, SweepOutcome, run_sweep
from pipeline.sweeps.interrupts import Interrupts
from pipeline.tracking import tracker
from pipeline.tracking.aliases import Move, promote
from pipeline.tracking.store import (
    Store,
    find_run,
    open_store,
    said_in_a_line,
    sweep_key,
    tracking_uri,
)
from qnn.errors import InputError
from qnn.networks.quantized import QuantizedNetwork

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Retrained:
    """What became of a run: `verdict` and `version` are None where the sweep itself failed."""

    decision: Decision
    sweep: SweepOutcome | None = None
    verdict: Verdict | None = None
    version: str | None = None
    move: Move | None = None


def retrain(
    config: SweepConfig,
    out: str,
    options: SweepOptions,
    console: Console | None = None,
    unsettled: Keys = (),
) -> Retrained:
    """Train on what is new and promote what passes the gates, in the folder `out`.

    `unsettled`: keys that are chosen by cross-validation on the rows that are trained on.

    Raises:
        InputError: the data, the config or the state are not usable, or another retraining runs.
        StoreError: the folder cannot be read or written, MLflow is away or lacks what it should
            have, or the lease was lost.
        SweepInterrupted: SIGHUP, SIGINT or SIGTERM; the same command goes on.
    """
    home = RunFolder.open(out)
    tracking_uri(config, home)
    home.create()
    with Interrupts(out), Lease(home) as lease:
        home.clean()
        decision = look(config, home, unsettled)
        if decision.selection is None or decision.run is None:
            return Retrained(decision)
        run = _Retraining(
            config, home, decision, decision.selection, decision.run, lease, unsettled
        )
        return run.go(options, console)


class _Retraining:
    """One run, with what all its steps need."""

    def __init__(
        self,
        config: SweepConfig,
        home: RunFolder,
        decision: Decision,
        selection: Selection,
        run: str,
        lease: Lease,
        unsettled: Keys,
    ) -> None:
        self.home, self.decision, self.run, self.lease = home, decision, run, lease
        self.selection = selection
        self.folder = RunFolder.open(beside(home.location, run))
        self.settings = settings_of(config)
        self.config, self.original = run_config(config, self.folder), config
        self.unsettled = unsettled

    def go(self, options: SweepOptions, console: Console | None) -> Retrained:
        log.info("%s; run %s", self.decision.reason, self.run)
        for line in self.decision.left_out:
            log.warning("%s", line)
        window = build(self.original, self.selection, self.settings)
        self.folder.create()
        write_window(self.original, window, self.folder)
        self.config = settled(self.config, self.unsettled, self.folder.location, console)
        start = partial(tracker.start, home=self.home, crown=False)
        outcome = run_sweep(self.config, self.folder.location, options, console, start)
        self.lease.check()
        if outcome.exit_code or outcome.champion is None:
            return Retrained(self.decision, outcome)
        return self._decide(outcome, outcome.champion, window)

    def _decide(self, outcome: SweepOutcome, row: NetworkRow, window: Window) -> Retrained:
        """Judge the network that the sweep has chosen, move the aliases, write the state."""
        name, uri = self.config.registered_model, tracking_uri(self.config, self.home)
        with said_in_a_line(uri):
            store = open_store(self.config, self.home)
            champion = find_champion(store, name, self.home, self.decision.state)
            key = sweep_key(self.folder)
            # After an interrupted move was finished, which changes its tags.
            version = registered_version(store, name, key, row.identity.trial)
        verdict = self._judge(row, champion, window, outcome.cautions, rollback_gates(version))
        write_verdict(verdict, self.folder)
        with said_in_a_line(uri):
            log_verdict(verdict, store, _sweep_run(store, key), name, version.version)
            self.lease.check()
            number = str(version.version)
            move = promote(store.client, name, number) if verdict.promote else None
            state = self._finish(verdict, row, store, number)
        if self.settings.keep_runs is not None:
            in_use = {self.run} | ({state.champion.run} if state.champion else set())
            prune(self.home, store, name, self.settings.keep_runs, in_use)
        return Retrained(self.decision, outcome, verdict, number, move)

    def _judge(
        self,
        row: NetworkRow,
        champion: Champion | None,
        window: Window,
        cautions: tuple[str, ...],
        more: tuple[Gate, ...],
    ) -> Verdict:
        prepared = prepare(self.config)
        table, test = prepared.table, prepared.split.test_rows
        file = str(row.fit.network)
        network = QuantizedNetwork.from_bytes(self.folder.read(file), file)
        size = (row.fit.bytes or 0) + (row.identity.preprocessing_bytes or 0)
        certified, fits = certificate_gate(self.folder, row), size_gate(size, self.settings)
        rows, target = table.take(test), np.asarray(table.target[test])
        gate, comparison = self._compare(champion, network, rows, target)
        gates, share = [certified, gate, fits, use_gate(cautions), *more], None
        if (wanted := self.settings.robustness) is not None:
            robust, share = robustness_gate(network, rows, target, wanted)
            gates.append(robust)
        development = prepared.split.development_rows
        drift = measure_drift(
            table.columns, table.target, development, test, self.settings.drift_threshold
        )
        if drift.over:
            log.warning("drift: %s", drift.text)
        return Verdict(
            reason=self.decision.reason,
            training=self.selection.training,
            hold_out=self.selection.hold_out,
            training_rows=window.training_rows,
            hold_out_rows=window.hold_out_rows,
            gates=tuple(gates),
            comparison=comparison,
            drift=drift,
            certified_accuracy=share,
        )

    def _compare(
        self,
        champion: Champion | None,
        network: QuantizedNetwork,
        rows: dict[str, np.ndarray],
        target: np.ndarray,
    ) -> tuple[Gate, Comparison | None]:
        if champion is None:
            return Gate("metric", True, "no champion yet, nothing to compare with"), None
        classes = classes_of(network) if self.config.task == "classification" else None
        try:
            predicted = champion.predict(rows, target, classes)
        except InputError as error:
            return Gate(
                "metric",
                False,
                f"the champion ({champion.text}) cannot read these rows ({error}); set "
                "tracking.registered_model to another name to start anew",
            ), None
        scale = network.preprocessing.target.scale if network.preprocessing else 1.0
        said = network.predict(rows)
        return metric_gate(target, predicted, said, self.config.task, self.settings, scale)

    def _finish(self, verdict: Verdict, row: NetworkRow, store: Store, version: str) -> State:
        name, last = self.config.registered_model, self.decision.state
        before = None if last is None else last.champion_of(name)
        files = ChampionFiles(run=self.run, network=str(row.fit.network), version=version)
        state = State(
            config=settings_digest(self.original, self.unsettled),
            partitions={one.name: one.digest for one in self.decision.partitions},
            run=self.run,
            verdict=verdict.word,
            reason=verdict.line,
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            champion=files_in_use(store, name, self.home, (files, before)) or before,
            model=name,
        )
        write_state(self.home, state)
        return state


def _sweep_run(store: Store, key: str) -> str:
    run_id = find_run(store, key)
    if run_id is None:
        raise StoreError("MLflow: the sweep's run is gone; run it again")
    return run_id
