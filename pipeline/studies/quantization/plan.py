"""What a study of quantization will do: read models and rows, plan the units."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.datasets.numbers import read_rows
from pipeline.plans.description import axis, description, rough_time
from pipeline.plans.study import NothingFollows
from pipeline.studies.quantization.config import QuantizationConfig
from pipeline.studies.quantization.units import Inputs, Quantization
from qnn.errors import InputError
from qnn.quantization.graph.reading import Graph, read_model
from qnn.quantization.options import Options, checked, checked_rows, shaped_rows
from qnn.quantization.runtime import require_onnxruntime

Array = np.ndarray


@dataclass(frozen=True)
class QuantizationPlan(NothingFollows):
    """The units, and what they share."""

    config: QuantizationConfig
    units: tuple[Quantization, ...]
    data: Inputs

    def describe(self) -> str:
        """The axes, and how much work that is."""
        config = self.config
        seconds = sum(unit.estimated_seconds for unit in self.units)
        layers = sum(unit.networks for unit in self.units)
        kept, out = self.units[0].split(len(self.data.rows))
        axes = [
            axis("models", tuple(self.data.models)),
            axis("methods", config.methods),
            axis("budgets", config.budgets),
            axis("seeds", config.seeds),
            ("rows", len(kept), f"for calibration, {len(out)} held out"),
        ]
        work = f"{len(self.units)} networks of {layers} layers, {rough_time(seconds)} of one core"
        facts = [("work", f"{work} (rough)"), ("proofs", f"certify: {config.certify}")]
        return description(f"study {config.name}: post-training quantization", axes, facts)


def prepare(config: QuantizationConfig) -> QuantizationPlan:
    """Read and check everything. Raises InputError, a line, where something does not fit."""
    require_onnxruntime()
    for budget in config.budgets:
        checked(Options(budget, config.bits, certify=config.certify, group=config.group))
    graphs = _graphs(config)
    rows = read_rows(config.data.source).astype(np.float32)
    for name, graph in graphs.items():
        try:
            checked_rows(graph, rows)
        except InputError as error:
            raise InputError(f"{config.data.source}, for {name}: {error}") from None
    labels = None if config.data.labels is None else _labels(config.data.labels.source, len(rows))
    models = {name: graph.model.SerializeToString() for name, graph in graphs.items()}
    data = Inputs(rows, labels, models)
    units = tuple(_units(config, graphs, data))
    if len(units[0].split(len(rows))[0]) < 8:
        raise InputError(f"{config.data.source}: {len(rows)} rows leave fewer than 8 to calibrate")
    return QuantizationPlan(config, units, data)


def _graphs(config: QuantizationConfig) -> dict[str, Graph]:
    graphs: dict[str, Graph] = {}
    for model in config.models:
        name = Path(model.source).stem
        if name in graphs:
            raise InputError(f"models: two are called {name}: rename a file")
        graphs[name] = read_model(model.source)
    return graphs


def _labels(source: str, count: int) -> Array:
    values = read_rows(source)
    flat = values.reshape(-1)
    if values.size != count or not (np.isfinite(flat) & (flat == np.rint(flat))).all():
        raise InputError(
            f"{source}: must hold one whole number, the class, for each of {count} rows"
        )
    return flat.astype(np.int64)


def _units(config: QuantizationConfig, graphs: dict[str, Graph], data: Inputs) -> Any:
    labels = b"" if data.labels is None else data.labels.tobytes()
    for (name, graph), method, budget, seed in product(
        graphs.items(),
        dict.fromkeys(config.methods),
        dict.fromkeys(config.budgets),
        sorted(set(config.seeds)),
    ):
        rows = shaped_rows(data.rows, graph.shape)
        content = sha256(repr(rows.shape).encode() + rows.tobytes() + labels)
        content.update(data.models[name])
        yield Quantization(
            name, method, budget, seed, config.bits, config.certify, config.group, config.tune,
            config.activation_bits, config.data.held_out, config.data.calibration,
            tuple(layer.name for layer in graph.layers),
            sum(layer.W.size for layer in graph.layers),
            content.hexdigest(),
        )  # fmt: skip
