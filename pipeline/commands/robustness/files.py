"""What `qnn robustness` writes: a table of rows, a folder of proofs; all or nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from pipeline.logs.shell import verify_line
from qnn.errors import CertificateError, InputError

NETWORK_FILE = "network.npz"


def refuse_places(out: Path | None, certificates: Path | None) -> None:
    """InputError where nothing could be written, or a folder holds something."""
    for place in (out, certificates):
        if place is not None and not place.absolute().parent.is_dir():
            raise InputError(f"{place}: its folder does not exist")
    if certificates is not None and not _is_new(certificates):
        raise InputError(f"{certificates}: exists and is no empty folder: give a new one")


def share(flags: Iterable[bool]) -> float:
    """How many of the flags are true, in percent: 29 of 100 are 29.0."""
    listed = list(flags)
    return 100.0 * sum(listed) / len(listed)


def _is_new(place: Path) -> bool:
    return not place.exists() or (place.is_dir() and not any(place.iterdir()))


def put(path: Path, content: bytes) -> None:
    """Write a file in a folder that is made if need be; InputError, one line, if it cannot be."""
    from qnn.numerics.archive import write_file

    try:
        path.parent.mkdir(exist_ok=True)
        write_file(path, content)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None


def verify_command(network: Path, content: bytes, place: Path) -> str:
    """The command that proves the certificates again; writes their network if need be."""
    if network.suffix == ".npz" and network.read_bytes() == content:
        evidence = network
    else:
        evidence = place / NETWORK_FILE
        put(evidence, content)
    return verify_line(str(place), within="row-*.npz", data=str(evidence))


def write_table(rows: list[Any], asked: dict[str, Any], digest: str, out: Path) -> None:
    """Rows, records of one class, as Parquet; the network's digest and the question as metadata."""
    import pyarrow as pa

    from pipeline.results.folder import encode_table
    from qnn.numerics.archive import write_file

    kinds = {"int": pa.int64(), "bool": pa.bool_(), "float": pa.float64()}
    types = {field.name: str(field.type).split(" | ")[0] for field in fields(rows[0])}
    schema = pa.schema(
        [(name, kinds.get(kind, pa.string())) for name, kind in types.items()],
        metadata={"network_sha256": digest, "asked": json.dumps(asked)},
    )
    table = pa.Table.from_pylist([asdict(row) for row in rows], schema=schema)
    write_file(out, encode_table(table))


def keep_proven(certificate: Any, network: bytes, path: Path) -> bool:
    """Whether the certificate's bytes prove it of the network's file; then they are at `path`."""
    content = certificate.to_bytes()
    try:
        type(certificate).from_bytes(content, path.name).check(network)
    except CertificateError as error:
        print(f"{path.name}: its proof is refused ({error}): report this")
        return False
    put(path, content)
    return True
