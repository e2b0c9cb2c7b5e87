"""What `qnn robustness` writes: a table of rows, and proofs into a folder."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from pipeline.logs.shell import verify_line
from qnn.errors import CertificateError
from qnn.numerics.archive import write_file

NETWORK_FILE = "network.npz"


def share(flags: Iterable[bool]) -> float:
    """How many of the flags are true, in percent: 29 of 100 are 29.0."""
    listed = list(flags)
    return 100.0 * sum(listed) / len(listed)


def verify_command(network: Path, content: bytes, written: Path, place: Path) -> str:
    """The command that proves the certificates at ``place`` again, "-" where there are none.

    written: where they are now; their network is written beside them if need be.
    """
    if not any(written.iterdir()):
        return "-"
    evidence = network
    if network.suffix != ".npz" or network.read_bytes() != content:
        write_file(written / NETWORK_FILE, content)
        evidence = place / NETWORK_FILE
    return verify_line(str(place), within="row-*.npz", data=str(evidence))


def write_table(rows: list[Any], asked: dict[str, Any], digest: str, out: Path) -> None:
    """Rows, records of one class, as Parquet; the network's digest and the question as metadata."""
    import pyarrow as pa

    from pipeline.results.folder import encode_table

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
    write_file(path, content)
    return True
