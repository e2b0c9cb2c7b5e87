"""`qnn verify` of a study of quantization: all from the files of the run alone."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from pipeline.configuration.paths import is_archive
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_unit
from pipeline.results.verification import Check, verify_paths
from pipeline.results.verification.of_studies import judged_folder
from pipeline.studies.quantization.rows import ROWS
from pipeline.studies.quantization.units import STATES
from qnn.certificates.layers import LayerCertificate
from qnn.certificates.layers.record import rows_of
from qnn.quantization.graph.export import stored_bits
from qnn.quantization.graph.reading import require_onnx

Array = np.ndarray
Row = dict[str, Any]

RELATIVE = 1e-6
UNCHECKED = "divergences and figures on rows held out not checked: the rows are not in the folder"
NOT_CHECKED = ("divergences", "figures on rows held out", "times", "versions")


def verify(location: str, data: str | None = None, fast: bool = False) -> Iterator[Check]:
    """A verdict a results file and a certificate. InputError where there is nothing to check.

    Certificates are proven again from their rows; a row's figures, its network's bytes and codes
    are held against them. `fast`: long searches are not repeated.
    """
    if is_archive(location):
        yield from verify_paths([location], data, fast)
        return
    folder = RunFolder.open(location)
    rows, certificates = partial(_check_rows, folder), partial(_check_certificate, folder, fast)
    yield from judged_folder(folder, rows, certificates, NOT_CHECKED)


def _check_rows(folder: RunFolder, file: str, named: dict[str, str]) -> str:
    rows = read_unit(folder, file, ROWS).to_pylist()
    if rows[0]["status"] != "ok":
        return f"failed: {rows[0]['error']}"
    for row in rows:
        if len(row["certificates"]) != len(row["evidence"]):
            raise ValueError(f"layer {row['layer']}: its certificates and their rows do not pair")
        named |= dict(zip(row["certificates"], row["evidence"], strict=True))
    codes = _stored_codes(folder, rows)
    for row in rows:
        _check_layer(folder, row, codes[row["place"]])
    count = sum(len(row["certificates"]) for row in rows)
    what = f"the codes of its network are those of {count} certificates" if count else "no proofs"
    return f"{len(rows)} layers, {what}; {UNCHECKED}"


def _stored_codes(folder: RunFolder, rows: list[Row]) -> dict[int, list[tuple[int, Array]]]:
    """By layer the bits and codes (m', d) of its parts in the network's file, which is checked."""
    onnx = require_onnx()
    content = folder.read(rows[0]["network"])
    for row in rows:
        if (row["network"], row["digest"], row["file_bytes"]) != (
            rows[0]["network"], hashlib.sha256(content).hexdigest(), len(content)
        ):  # fmt: skip
            raise ValueError("the network's file is not the one that its rows state")
    model = onnx.load_from_string(content)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    found: dict[int, list[tuple[int, Array]]] = {}
    for row in rows:
        names = [(bits, f"_l{row['place']}.w{bits}") for bits in (2, 4, 8)]
        parts = [(b, onnx.numpy_helper.to_array(stored[n])) for b, n in names if n in stored]
        found[row["place"]] = [(b, part.astype(np.int64).reshape(len(part), -1))
                               for b, part in parts]  # fmt: skip
    return found


def _check_layer(folder: RunFolder, row: Row, codes: list[tuple[int, Array]]) -> None:
    where = f"layer {row['layer']}"
    size = math.ceil(sum(bits * part.size for bits, part in codes) / 8)
    neurons = sum(len(part) for _, part in codes)
    if (row["bytes"], row["neurons"]) != (size, neurons):
        raise ValueError(f"{where}: states {row['bytes']} bytes, its network has {size}")
    found = [LayerCertificate.from_bytes(folder.read(f), f) for f in row["certificates"]]
    if not found:
        return
    true = {
        "value": sum(float(one.value.sum()) for one in found),
        "proven": sum(float(one.bound.sum()) for one in found),
        "mean_bits": float(np.concatenate([one.bits for one in found]).mean()),
        **{state: sum(one.counts().get(state, 0) for one in found) for state in STATES},
    }
    for name, value in true.items():
        if not math.isclose(row[name], value, rel_tol=RELATIVE, abs_tol=0.0):
            raise ValueError(f"{where}: states {name} {row[name]}, its certificates {value}")
    # Both are relative to one size of the objective.
    if not math.isclose(
        row["bound_share"] * true["value"], row["error_share"] * true["proven"],
        rel_tol=RELATIVE, abs_tol=1e-300,
    ):  # fmt: skip
        raise ValueError(f"{where}: its shares of error and bound do not fit its certificates")
    mine = [(stored_bits(one.bits), one.codes.astype(np.int64)) for one in found]
    if _in_any_order(codes) != _in_any_order(
        [(int(b), q[None]) for bits, part in mine for b, q in zip(bits, part, strict=True)]
    ):
        raise ValueError(f"{where}: the network's codes are not those of its certificates")


def _in_any_order(parts: list[tuple[int, Array]]) -> list[tuple[int, ...]]:
    """Neurons' bits and codes sorted: a file has rows, and the next layer's columns, reordered."""
    return sorted((bits, *np.sort(neuron).tolist()) for bits, part in parts for neuron in part)


def _check_certificate(folder: RunFolder, fast: bool, file: str, named: dict[str, str]) -> str:
    certificate = LayerCertificate.from_bytes(folder.read(file), file)
    if file not in named:
        raise ValueError("no row names it, so its rows are not known")
    evidence = folder.read(named[file])
    rows_of(evidence, named[file])
    return certificate.check(evidence, fast)
