"""Getting a network out: ONNX, a dependency-free C header, JSON."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from qnn.errors import InputError
from qnn.networks.exports.c_header import to_c, to_main
from qnn.networks.exports.json import to_json
from qnn.networks.exports.onnx import to_onnx
from qnn.networks.quantized import QuantizedNetwork
from qnn.numerics.archive import write_file

__all__ = ["FORMATS", "export_network", "to_c", "to_json", "to_main", "to_onnx"]

Files = dict[str, bytes]


def _onnx_files(network: QuantizedNetwork, name: str) -> Files:
    return {name: to_onnx(network)}


def _c_files(network: QuantizedNetwork, name: str) -> Files:
    example = f"{name.removesuffix('.h')}_main.c"
    return {name: to_c(network).encode(), example: to_main(name).encode()}


def _json_files(network: QuantizedNetwork, name: str) -> Files:
    return {name: to_json(network).encode()}


#: format → (suffix, what makes the files of it by name)
FORMATS: dict[str, tuple[str, Callable[[QuantizedNetwork, str], Files]]] = {
    "onnx": (".onnx", _onnx_files),
    "c": (".h", _c_files),
    "json": (".json", _json_files),
}


def export_network(
    network: QuantizedNetwork, format: str, path: str | os.PathLike[str]
) -> list[Path]:
    """Write the network as "onnx", "c" or "json"; return the files written, the main one first.

    `path` is the file of the network; "c" writes an example program beside it. Raises InputError
    for another format, a name that does not fit it, and networks that it cannot express.
    """
    if format not in FORMATS:
        raise InputError(f"format {format!r} is not known: choose one of {', '.join(FORMATS)}")
    target = Path(path)
    suffix, make = FORMATS[format]
    if target.suffix != suffix:
        raise InputError(f"{target}: a file of format {format} must end in {suffix}")
    files = make(network, target.name)
    written = []
    for name, content in files.items():
        write_file(target.parent / name, content)
        written.append(target.parent / name)
    return written
