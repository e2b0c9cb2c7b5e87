"""What a reviewer sees of a retraining: metrics, tags and files on the sweep's run in MLflow."""

from __future__ import annotations

import json
import math
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.results.folder import RunFolder
from pipeline.retraining.drift import Drift
from pipeline.retraining.gates import Comparison, Gate
from pipeline.tracking.run import names_for
from pipeline.tracking.store import Store

DECISION_FILE = "decision.json"
VERDICT_TAG = "qnn.verdict"
# Columns whose drift becomes a chart; all of them are in the file.
_CHARTED = 20
_HEADING = "## Retraining: "
_NOTE = "mlflow.note.content"


@dataclass(frozen=True)
class Verdict:
    """The gates' decision on one run."""

    reason: str
    training: tuple[str, ...]
    hold_out: tuple[str, ...]
    training_rows: int
    hold_out_rows: int
    gates: tuple[Gate, ...]
    comparison: Comparison | None
    drift: Drift
    notes: tuple[str, ...] = ()
    certified_accuracy: float | None = None

    @property
    def promote(self) -> bool:
        """Whether every gate was passed."""
        return all(gate.passed for gate in self.gates)

    @property
    def word(self) -> str:
        """`promoted` or `refused`."""
        return "promoted" if self.promote else "refused"

    @property
    def line(self) -> str:
        """The verdict and what decided it, on one line."""
        if not self.promote:
            failed = next(gate for gate in self.gates if not gate.passed)
            return f"refused by the gate {failed.name}: {failed.text}"
        metric = next((gate.text for gate in self.gates if gate.name == "metric"), "")
        return f"promoted: {metric}"

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "verdict": self.word,
            "reason": self.reason,
            "training": list(self.training),
            "training_rows": self.training_rows,
            "hold_out": list(self.hold_out),
            "hold_out_rows": self.hold_out_rows,
            "gates": [asdict(gate) for gate in self.gates],
            "comparison": None if self.comparison is None else _for_json(asdict(self.comparison)),
            "drift": self.drift.record(),
            "notes": list(self.notes),
        }


def _for_json(values: dict[str, Any]) -> dict[str, Any]:
    """Null for a number that is not finite: JSON has none."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in values.items()
    }


def write_verdict(verdict: Verdict, folder: RunFolder) -> None:
    """Keep the decision with the run's files."""
    folder.write(DECISION_FILE, json.dumps(verdict.record(), indent=2).encode())


def log_verdict(verdict: Verdict, store: Store, run_id: str, name: str, version: str) -> None:
    """Put the decision on the sweep's run and on the version. Raises what MLflow raises."""
    from mlflow.entities import Metric

    client, now = store.client, int(time.time() * 1000)
    metrics = [Metric(key, value, now, 0) for key, value in _numbers(verdict).items()]
    known = client.get_run(run_id).data.metrics
    client.log_batch(
        run_id, metrics=[one for one in metrics if known.get(one.key) != one.value][:1000]
    )
    with tempfile.TemporaryDirectory(prefix="qnn-retrain-") as work:
        file = Path(work) / DECISION_FILE
        file.write_text(json.dumps(verdict.record(), indent=2), encoding="utf-8")
        client.log_artifact(run_id, str(file))
    client.set_tag(run_id, "mlflow.runName", f"{name} · {verdict.hold_out[-1]} · {verdict.word}")
    client.set_tag(run_id, VERDICT_TAG, verdict.word)
    client.set_tag(run_id, "drift", "over" if verdict.drift.over else "none")
    note = client.get_run(run_id).data.tags.get(_NOTE, "")
    if note.startswith(_HEADING):
        # What an earlier try said of it goes, the sweep's own words stay.
        note = "## " + note.partition("\n\n## ")[2]
    client.set_tag(run_id, _NOTE, f"{_description(verdict)}\n\n{note}")
    client.set_model_version_tag(name, version, VERDICT_TAG, verdict.line[:500])


def _numbers(verdict: Verdict) -> dict[str, float]:
    drift = verdict.drift
    found = {
        "drift/psi_target": drift.target.psi,
        "drift/psi_max": drift.features[0].psi,
        "drift/columns_over": float(len(drift.over)),
        "gates/failed": float(sum(not gate.passed for gate in verdict.gates)),
        "gates/hold_out_rows": float(verdict.hold_out_rows),
    }
    if verdict.certified_accuracy is not None:
        found["gates/certified_accuracy"] = verdict.certified_accuracy
    if verdict.comparison is not None:
        metric = verdict.comparison.metric
        found[f"gates/champion_{metric}"] = verdict.comparison.champion
        found[f"gates/challenger_{metric}"] = verdict.comparison.challenger
        found["gates/p_value"] = verdict.comparison.p_value
    # Of all columns, so that which are charted changes no name.
    names = names_for(one.name for one in drift.features)
    for one in drift.features[:_CHARTED]:
        found[f"drift/psi/{names[one.name]}"] = one.psi
    return found


def _description(verdict: Verdict) -> str:
    def cell(text: str) -> str:
        return text.replace("|", "/").replace("`", "'")

    lines = [
        f"{_HEADING}{verdict.word}",
        "",
        # The page shows some three lines before a reader asks for more.
        f"**{cell(verdict.line)}**",
        "",
        f"{cell(verdict.reason)}.",
        "",
        "| gate | verdict | what was found |",
        "|---|---|---|",
        *(
            f"| {gate.name} | {'passed' if gate.passed else '**refused**'} | {cell(gate.text)} |"
            for gate in verdict.gates
        ),
        "",
        f"Drift of the {verdict.hold_out_rows} fresh rows against the {verdict.training_rows} "
        f"trained on: {cell(verdict.drift.text)}. All columns are in `{DECISION_FILE}`.",
        *(f"\n{cell(note)}" for note in verdict.notes),
    ]
    return "\n".join(lines)
