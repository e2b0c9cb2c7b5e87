"""A study's units: one network quantized by one method within one budget, from one split."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.plans.ids import digest_of
from pipeline.plans.study import Step, Tools, Unit
from pipeline.results.folder import CERTIFICATES, NETWORKS, RunFolder
from pipeline.results.ledger import write_results
from pipeline.studies.quantization.rows import EVIDENCE_FOLDER, ROWS, LayerRow
from pipeline.sweeps.worker.rows import package_versions
from qnn.certificates.layers.record import rows_bytes
from qnn.errors import InputError

if TYPE_CHECKING:
    from qnn.quantization import Quantized

Array = np.ndarray
# Seconds a weight with proofs at the step, roughly.
_SECONDS = 2e-3
# More rows say no more about a network.
_MOST_HELD_OUT = 2000


@dataclass(frozen=True)
class Inputs:
    """What units share: rows (n, ...), their classes (n,) or None, the models' bytes by name."""

    rows: Array
    labels: Array | None
    models: Mapping[str, bytes]


@dataclass(frozen=True)
class Quantization:
    """A model, a method, a budget, a seed; `content`: the digest of the model and the rows."""

    model: str
    method: str
    budget: float
    seed: int
    bits: tuple[int, ...]
    certify: str
    group: str
    tune: str
    activation_bits: int
    held_out: float
    calibration: int
    layers: tuple[str, ...]
    weights: int
    content: str
    needs: tuple[Unit, ...] = ()

    @cached_property
    def id(self) -> str:
        """From all that decides the rows."""
        return digest_of(
            ["quantization", self.model, self.method, self.budget, self.seed, list(self.bits),
             self.certify, self.group, self.tune, self.activation_bits, self.held_out,
             self.calibration, self.content]
        )  # fmt: skip

    @property
    def shard(self) -> str:
        """The model."""
        return self.model

    @property
    def networks(self) -> int:
        """A row a layer."""
        return len(self.layers)

    @property
    def estimated_seconds(self) -> float:
        """Rough: so much a weight, little without proofs."""
        return 0.5 + self.weights * _SECONDS * (0.1 if self.certify == "none" else 1.0)

    @property
    def estimated_bytes(self) -> float:
        """The interpreter, and the layers' rows a few times."""
        return 600e6 + 32.0 * self.weights

    def titles(self, units: Sequence[Quantization]) -> list[str]:
        """Model, method, budget, seed."""
        return [unit.title for unit in units]

    @property
    def title(self) -> str:
        """The unit in a few words."""
        return f"{self.model}, {self.method}, {self.budget:g} bits, seed {self.seed}"

    def split(self, count: int) -> tuple[Array, Array]:
        """Numbers of the rows for calibration and of those held out."""
        order = np.random.default_rng(self.seed).permutation(count)
        cut = max(1, round(self.held_out * count))
        return order[cut : cut + self.calibration], order[:cut][:_MOST_HELD_OUT]

    def run(self, data: Inputs, folder: RunFolder, tools: Tools) -> Iterator[Step]:
        """Quantize, check in onnxruntime, write network and proofs, and commit."""
        start, begin = time.process_time(), time.perf_counter()
        try:
            rows = self._finished(data, folder)
            error = None
        except InputError as fault:
            rows, error = self._failed(str(fault)), str(fault)
        seconds, spent = time.perf_counter() - begin, time.process_time() - start
        rows = [replace(row, seconds=seconds, cpu_seconds=spent) for row in rows]
        failed = 0 if error is None else len(rows)
        yield Step(self.id, self.shard, len(rows), failed, None, seconds, error)
        write_results(folder, self.id, [vars(row) for row in rows], ROWS)

    def lost_rows(self, error: str) -> list[dict[str, Any]]:
        """A failed row a layer."""
        return [vars(row) for row in self._failed(error)]

    def _failed(self, error: str) -> list[LayerRow]:
        return [replace(row, status="failed", error=error) for row in self._planned()]

    def _planned(self) -> list[LayerRow]:
        versions = package_versions()
        return [
            LayerRow(
                f"{self.id}-{k}", self.id, self.shard, self.model, self.method, self.budget,
                self.seed, layer, k, versions=versions,
            )
            for k, layer in enumerate(self.layers)
        ]  # fmt: skip

    def _finished(self, data: Inputs, folder: RunFolder) -> list[LayerRow]:
        from qnn.quantization import quantize
        from qnn.quantization.options import shaped_rows
        from qnn.quantization.runtime import check_in_runtime

        kept, out = self.split(len(data.rows))
        made = quantize(
            data.models[self.model], data.rows[kept], self.budget, self.bits, self.method,
            self.certify, group=self.group, tune=self.tune, seed=self.seed,
            activation_bits=self.activation_bits,
        )  # fmt: skip
        assert made.graph is not None
        held_out = shaped_rows(data.rows[out], made.graph.shape)
        check_in_runtime(made, held_out)
        content = made.model.SerializeToString(deterministic=True)
        name = f"{NETWORKS}/{self.id}.onnx"
        folder.write(name, content)
        labels = None if data.labels is None else data.labels[out]
        whole: dict[str, Any] = {
            "file_bytes": len(content),
            "float_bytes": made.bytes_before,
            "bits_gap": made.allocation.gap,
            "bits_lagrangian_gap": made.allocation.proven_gap,
            "network": name,
            "digest": hashlib.sha256(content).hexdigest(),
            "calibration_divergence": made.divergence,
            **measured(made, held_out, labels),
        }
        return [replace(row, **whole, **self._layer(row, made, folder)) for row in self._planned()]

    def _layer(self, row: LayerRow, made: Quantized, folder: RunFolder) -> dict[str, Any]:
        """What the layer's report says, and its certificates written."""
        report = made.layers[row.place]
        figures: dict[str, Any] = {
            "inputs": report.inputs,
            "neurons": report.neurons,
            "rows": report.rows,
            "mean_bits": report.mean_bits,
            "bytes": report.bytes,
            "damp": report.damp,
            "error_share": report.error,
            "bound_share": report.bound,
            **{state: report.states.get(state, 0) for state in STATES},
        }
        graph = made.graph
        assert graph is not None
        groups = next(layer.groups for layer in graph.layers if layer.name == report.name)
        blocks = [report.name] if groups == 1 else [f"{report.name}.{g}" for g in range(groups)]
        found = [(made.certificates[b], made.rows[b]) for b in blocks if b in made.certificates]
        if not found:
            return {**figures, "certificates": (), "evidence": ()}
        certificates, evidence = [], []
        for g, (certificate, (X, weights)) in enumerate(found):
            certificates.append(f"{CERTIFICATES}/{row.trial}-{g}.npz")
            evidence.append(f"{EVIDENCE_FOLDER}/{row.trial}-{g}.npz")
            folder.write(evidence[-1], rows_bytes(X, weights))
            folder.write(certificates[-1], certificate.to_bytes())
        return {
            **figures,
            "value": sum(float(certificate.value.sum()) for certificate, _ in found),
            "proven": sum(float(certificate.bound.sum()) for certificate, _ in found),
            "certificates": tuple(certificates),
            "evidence": tuple(evidence),
        }


STATES = ("optimal", "optimal_at_scale", "bounded")


def measured(made: Quantized, rows: Array, labels: Array | None) -> dict[str, float | None]:
    """Divergence, agreement and accuracies on rows that the calibration never saw."""
    from qnn.quantization.graph.execution import logits_of, run
    from qnn.quantization.tuning import classes_of, divergence

    graph = made.graph
    assert graph is not None
    name = logits_of(graph)
    weights = {layer: done.weights for layer, done in made.quantized.items()}
    X = rows.astype(np.float32).astype(np.float64)
    reference, logits = run(graph, X)[name], run(graph, X, weights, made.grids)[name]
    found: dict[str, float | None] = {"divergence": divergence(reference, logits)}
    if classes_of(reference):
        before, after = reference.argmax(axis=1), logits.argmax(axis=1)
        found["agreement"] = float((before == after).mean())
        if labels is not None:
            found["accuracy"] = float((after == labels).mean())
            found["float_accuracy"] = float((before == labels).mean())
    return found
