"""MLflow, written by the driver alone: one run a sweep, child runs for the best, one champion.

Runs are few (MLflow writes some 5 to 20 a second), so the trials themselves are a table. All is
written at the end from the result table and can be written again: whatever is there already is
found by its tag and not doubled.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.configuration.reading import SweepConfig
from pipeline.results import summary
from pipeline.results.fitness import reasons_against_choice
from pipeline.results.folder import RunFolder
from pipeline.results.record import RESULTS_ROWS, NetworkRow
from pipeline.results.selection import Choice
from pipeline.tracking import text
from pipeline.tracking.aliases import promote
from pipeline.tracking.networks import NetworkRuns, points_of
from pipeline.tracking.run import TrackedRun
from pipeline.tracking.store import sweep_key
from pipeline.tracking.study_run import StudyRun
from pipeline.tracking.sweep_files import report_of, write_sweep_files
from pipeline.tracking.versions import register, version_of_sweep
from qnn.certificates.record import Certificate


def start(
    config: SweepConfig, folder: RunFolder, home: RunFolder | None = None, crown: bool = True
) -> SweepTracker:
    """Open the store and take up the folder's run, or make it; as `SweepTracker`."""
    return SweepTracker(config, folder, home, crown)


class SweepTracker(StudyRun):
    """A sweep's run in MLflow.

    `crown` False registers the chosen network without giving it the alias of the champion, as does
    anything that speaks against its use.
    """

    def __init__(
        self, config: SweepConfig, folder: RunFolder, home: RunFolder | None, crown: bool
    ) -> None:
        super().__init__(config, folder, RESULTS_ROWS, home)
        self.crown, self.key = crown, sweep_key(folder)
        self._begin = time.monotonic()

    def tags(self) -> dict[str, str]:
        """What the config says of the sweep."""
        return text.sweep_tags(self.config)

    def logged(self, rows: list[dict[str, Any]]) -> Any:
        """The rows, which of them is the champion, and what the config asks of MLflow."""
        return rows, self.champion, self.config.tracking.top, self.config.registered_model

    def is_whole(self) -> bool:
        """Whether the chosen network is registered: a version may have been deleted since."""
        if self.champion is None:
            return True
        name = self.config.registered_model
        return version_of_sweep(self.store.client, name, self.key, self.champion) is not None

    def log(self, run: TrackedRun, results: pa.Table, choice: Choice | None) -> None:
        """The sweep's own run, the runs of its best networks, and the champion's version."""
        data = summary.frame(results)
        champion = summary.champion_of(data, self.champion)
        figures = points_of(text.sweep_metrics(data, champion, choice))
        run.log(
            parameters=text.parameters(self.config), points=[*figures, *text.path_metrics(data)]
        )
        if champion is not None and not run.has_data:
            self._log_data(champion.row)
        against = reasons_against_choice(
            results, choice, None if champion is None else champion.row
        )
        networks = NetworkRuns(self.store, self.folder, self.run_id, self.key, results)
        with tempfile.TemporaryDirectory(prefix="qnn-mlflow-") as place:
            work = Path(place)
            report = report_of(self.folder, self.champion)
            write_sweep_files(work / "sweep", self.config, results, data, report)
            self.store.client.log_artifacts(self.run_id, str(work / "sweep"))
            best = networks.log(work, data, champion, self.config.tracking.top)
        if best is not None and champion is not None:
            name, metric = self.config.registered_model, summary.metric_of(data)
            version = register(self.store, name, best, champion, metric, self.key, against)
            if self.crown and not against:
                promote(self.store.client, name, version)
        note = text.sweep_description(self.config, data, champion, self.folder.address)
        tags = {
            "mlflow.loggedArtifacts": '[{"path": "results/table.json", "type": "table"}]',
            "mlflow.note.content": note,
        }
        versions = results["versions"].drop_null()
        if len(versions):
            tags["qnn.versions"] = versions[0].as_py()
        run.log(points=[("wall_seconds", time.monotonic() - self._begin, 0)], tags=tags)

    def _log_data(self, row: NetworkRow) -> None:
        """The training matrix of the chosen network, with the digest that its certificate names."""
        from mlflow.data.code_dataset_source import CodeDatasetSource
        from mlflow.data.meta_dataset import MetaDataset
        from mlflow.entities import DatasetInput, InputTag

        # Those of several outputs speak of one matrix; the first has the digest with its target.
        name = row.bounds.files[0]
        certificate = Certificate.from_bytes(self.folder.read(name), name)
        source = CodeDatasetSource(
            tags={
                "mlflow.source.name": text.sweep_tags(self.config)["dataset"],
                "training_matrix": certificate.data,
                "sha256": certificate.data_sha256,
            }
        )
        # The store keeps 36 characters of a digest.
        dataset = MetaDataset(
            source, name=row.identity.dataset, digest=certificate.data_sha256[:32]
        )
        given = DatasetInput(
            dataset._to_mlflow_entity(), [InputTag("mlflow.data.context", "train")]
        )
        self.store.client.log_inputs(self.run_id, datasets=[given])
