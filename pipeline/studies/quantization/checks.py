"""`qnn verify` of a study of quantization: all from the files of the run alone."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
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

# Errors of layers are computed once more than the certificates' values, with less care.
RELATIVE = 1e-6
UNCHECKED = "divergences and figures on rows held out not checked: the rows are not in the folder"
NOT_CHECKED = (
    "settings",
    "float weights and inputs of layers",
    "steps, biases and nodes of the network's file",
    "what shares of error and bound are relative to",
    "gaps of the bits' allocation",
    "divergences",
    "figures on rows held out",
    "damping, error and bits of layers without certificates",
    "times",
    "versions",
)


@dataclass(frozen=True)
class Named:
    """What a row says of one of its certificates: the file of its rows, and how many they are."""

    evidence: str
    rows: int


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


def _check_rows(folder: RunFolder, file: str, named: dict[str, Named]) -> str:
    rows = read_unit(folder, file, ROWS).to_pylist()
    if len({row["status"] for row in rows}) != 1:
        raise ValueError("some of its rows failed, not all: they are of one network")
    if rows[0]["status"] != "ok":
        return f"failed: {rows[0]['error']}"
    if len({row["place"] for row in rows}) != len(rows):
        raise ValueError("two of its rows are of one layer")
    for row in rows:
        _name(row, named)
    codes = _stored_codes(folder, rows)
    found = {row["place"]: _certificates(folder, row) for row in rows}
    orders = [_rows_in_file(certificates) for certificates in found.values() if certificates]
    for row in rows:
        certificates = found[row["place"]]
        _check_size(row, codes[row["place"]])
        if certificates:
            _check_proofs(row, certificates)
            _check_codes(row, certificates, codes[row["place"]], orders)
        else:
            _check_unproven(row)
    count = sum(len(certificates) for certificates in found.values())
    what = f"the codes of its network are those of {count} certificates" if count else "no proofs"
    bare = sum(not certificates for certificates in found.values())
    less = f" ({bare} layers have none)" if count and bare else ""
    return f"{len(rows)} layers, {what}{less}; {UNCHECKED}"


def _name(row: Row, named: dict[str, Named]) -> None:
    where = f"layer {row['layer']}"
    if len(row["certificates"]) != len(row["evidence"]):
        raise ValueError(f"{where}: its certificates and their rows do not pair")
    for file, evidence in zip(row["certificates"], row["evidence"], strict=True):
        if file in named:
            raise ValueError(f"{where}: its certificate {file} is another's too")
        named[file] = Named(evidence, row["rows"])


def _certificates(folder: RunFolder, row: Row) -> list[LayerCertificate]:
    """Those that a row names, one for each of its layer's groups."""
    names, layer = row["certificates"], row["layer"]
    blocks = [layer] if len(names) == 1 else [f"{layer}.{g}" for g in range(len(names))]
    found = [LayerCertificate.from_bytes(folder.read(name), name) for name in names]
    for name, block, one in zip(names, blocks, found, strict=True):
        if one.layer != block:
            raise ValueError(f"layer {layer}: {name} speaks of {one.layer}, not of {block}")
    return found


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


def _check_size(row: Row, codes: list[tuple[int, Array]]) -> None:
    true = {
        "bytes": math.ceil(sum(bits * part.size for bits, part in codes) / 8),
        "neurons": sum(len(part) for _, part in codes),
        "inputs": codes[0][1].shape[1] if codes else 0,
    }
    for name, value in true.items():
        if row[name] != value:
            raise ValueError(
                f"layer {row['layer']}: states {row[name]} {name}, its network has {value}"
            )


def _check_unproven(row: Row) -> None:
    """A layer without certificates states nothing that only they could prove."""
    for name in ("value", "proven", "bound_share", *STATES):
        if row[name] is not None and not (name in STATES and row[name] == 0):
            raise ValueError(
                f"layer {row['layer']}: states {name} {row[name]}, but no certificate proves it"
            )


def _check_proofs(row: Row, found: list[LayerCertificate]) -> None:
    where = f"layer {row['layer']}"
    true = {
        "value": sum(float(one.value.sum()) for one in found),
        "proven": sum(float(one.bound.sum()) for one in found),
        "mean_bits": float(np.concatenate([one.bits for one in found]).mean()),
        **{state: sum(one.counts().get(state, 0) for one in found) for state in STATES},
    }
    for name, value in true.items():
        if row[name] != value:
            raise ValueError(f"{where}: states {name} {row[name]}, its certificates {value}")
    # Both are relative to one size of the objective.
    error, bound = row["error_share"], row["bound_share"]
    fits = math.isfinite(error) and math.isfinite(bound) and math.isclose(
        bound * true["value"], error * true["proven"], rel_tol=RELATIVE, abs_tol=0.0
    )  # fmt: skip
    if not fits or (true["value"] == 0.0 and (error, bound) != (0.0, 0.0)):
        raise ValueError(f"{where}: its shares of error and bound do not fit its certificates")


def _check_codes(
    row: Row,
    found: list[LayerCertificate],
    codes: list[tuple[int, Array]],
    orders: list[Array],
) -> None:
    """The file has the certificates' codes: rows by their type, and columns as they were.

    orders: those of the rows of the network's layers, one of which the columns may follow instead.
    """
    q, order = _codes_of(found), _rows_in_file(found)
    types = np.concatenate([stored_bits(one.bits) for one in found])[order]
    stored = np.concatenate([np.full(len(part), bits) for bits, part in codes])
    in_file = np.concatenate([part for _, part in codes])
    same = in_file.shape == q.shape and np.array_equal(stored, types)
    if not (same and any(np.array_equal(in_file, p[order]) for p in _columns(q, orders))):
        raise ValueError(
            f"layer {row['layer']}: the network's codes are not those of its certificates"
        )


def _codes_of(found: list[LayerCertificate]) -> Array:
    """(m, d) of a whole layer."""
    if len({one.codes.shape[1] for one in found}) != 1:
        raise ValueError(f"{found[0].layer}: its groups have different numbers of inputs")
    return np.concatenate([one.codes for one in found]).astype(np.int64)


def _rows_in_file(found: list[LayerCertificate]) -> Array:
    """The neurons (m,) of a layer as its file has them: by the type that their codes take."""
    types = np.concatenate([stored_bits(one.bits) for one in found])
    return np.argsort(types, kind="stable")


def _columns(q: Array, orders: list[Array]) -> Iterator[Array]:
    """The codes (m, d) as they are, and with columns in the order of a layer that they read."""
    yield q
    m, d = q.shape
    for order in orders:
        if d % len(order) == 0:
            yield q.reshape(m, len(order), -1)[:, order].reshape(m, d)


def _check_certificate(folder: RunFolder, fast: bool, file: str, named: dict[str, Named]) -> str:
    certificate = LayerCertificate.from_bytes(folder.read(file), file)
    row = named.get(file)
    if row is None:
        raise ValueError("no row names it, so its rows are not known")
    evidence = folder.read(row.evidence)
    X, _ = rows_of(evidence, row.evidence)
    if len(X) != row.rows:
        raise ValueError(f"its row states {row.rows} rows, {row.evidence} has {len(X)}")
    return certificate.check(evidence, fast)
