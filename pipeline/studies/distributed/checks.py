"""`qnn verify` of a distributed sweep: every bound from the rows, in the memory of a block."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from pipeline.configuration.paths import is_archive
from pipeline.configuration.reading import parse_config
from pipeline.datasets.blocks.reader import BlockReader, BlockTable, Reading
from pipeline.datasets.blocks.row_groups import RowGroups
from pipeline.results.folder import CONFIG_FILE, KEPT, RunFolder
from pipeline.results.ledger import read_unit
from pipeline.results.verification import Check
from pipeline.results.verification.manifest import check_manifest
from pipeline.results.verification.of_studies import files_to_verify, judged
from pipeline.studies.distributed.config import DistributedConfig
from pipeline.studies.distributed.path import reading_of
from pipeline.studies.distributed.rows import ROWS
from pipeline.studies.distributed.state import FOLDER
from qnn.certificates.blockwise import ProofPass, proof_over_blocks, proven_bound
from qnn.certificates.record import Certificate
from qnn.errors import CertificateError, InputError
from qnn.losses import get_loss
from qnn.networks.quantized import QuantizedNetwork
from qnn.numerics.blocks import Combine, P, Span, Work, cover, join, shares
from qnn.training.relaxation.blocks.proving import PointPass, add_points

#: the environment's name for how many threads check blocks at a time
WORKERS = "QNN_VERIFY_WORKERS"
# Sums of two machines differ by less, relative to the objective.
_CLOSE = 1e-9
NOT_CHECKED = ("names", "passes", "bytes sent and received", "times", "versions")


class CheckedBlocks:
    """Blocks read by one thread, or by several at a time: the same sums."""

    def __init__(self, table: BlockTable, reading: Reading, workers: int) -> None:
        self.table, self.reading, self.workers = table, reading, workers

    @property
    def count(self) -> int:
        """Number of blocks."""
        return self.table.count

    def reduce(self, work: Work[P], combine: Combine[P]) -> P:
        """As `qnn.numerics.blocks.Blocks`; each thread has its own run of blocks."""
        whole = (0, self.count)

        def part(owned: Span) -> dict[Span, P]:
            reader = BlockReader(self.table)
            spans = cover(whole, owned)
            return {span: reader.reduce(work, combine, span, self.reading) for span in spans}

        owned = shares(self.count, self.workers)
        with ThreadPoolExecutor(len(owned)) as pool:
            parts = {span: sums for found in pool.map(part, owned) for span, sums in found.items()}
        return join(whole, parts, combine)


def verify(location: str, data: str | None = None, fast: bool = False) -> Iterator[Check]:
    """A verdict a row: its network's objective and its bound, again from the rows.

    `data`: where the rows lie now, if not where the config says; `fast` is the same. As many
    threads as the environment's QNN_VERIFY_WORKERS asks for read blocks at a time.
    """
    name = ""
    if is_archive(location):
        folder, file = RunFolder.around(location)
        name = file.rpartition("/")[2]
    else:
        folder = RunFolder.open(location)
    config = _config(folder)
    files, _ = files_to_verify(folder)
    rows = [row for file in files for row in read_unit(folder, file, ROWS).to_pylist()]
    if not name:
        yield from check_manifest(folder, NOT_CHECKED, (*KEPT, FOLDER))
    else:
        rows = [row for row in rows if str(row["certificate"]).endswith(f"/{name}")]
    groups = RowGroups.of(data or config.data.source)
    for row in rows:
        file = str(row["certificate"] or row["trial"])
        yield judged(file, partial(_check, folder, config, groups, row))


def _config(folder: RunFolder) -> DistributedConfig:
    try:
        text = folder.read(CONFIG_FILE).decode()
    except FileNotFoundError:
        raise InputError(f"{folder.label}: has no {CONFIG_FILE}") from None
    return parse_config(text, folder.label, (), DistributedConfig)


def _check(
    folder: RunFolder, config: DistributedConfig, groups: RowGroups, row: dict[str, Any]
) -> str:
    if row["status"] != "ok":
        return f"failed: {row['error']}"
    certificate = Certificate.from_bytes(folder.read(row["certificate"]), row["certificate"])
    network = QuantizedNetwork.from_bytes(folder.read(row["network"]), row["network"])
    proof = proof_over_blocks(certificate)
    if network.preprocessing is None or network.V is None:
        raise ValueError("its network has no preprocessing, or is not bilinear")
    features = {column.name for column in network.preprocessing.layout.columns}
    names = tuple(n for n in groups.columns if n in features or n == config.data.targets[0])
    table = BlockTable.listed(groups, names, proof.block_rows.tolist())
    reading = reading_of(config, network.preprocessing)
    blocks = CheckedBlocks(table, reading, max(int(os.environ.get(WORKERS, "1")), 1))
    Z = (network.U.astype(float) * network.alpha) @ network.V.T.astype(float)
    loss = get_loss(certificate.loss, certificate.loss_parameter)
    work = PointPass(ProofPass(certificate), loss, 0.5 * (Z + Z.T), None)
    sums = blocks.reduce(work, add_points)
    bound = proven_bound(certificate, sums.proof)
    if not certificate.lower_bound <= bound:
        raise CertificateError(f"it states {certificate.lower_bound!r}, but {bound!r} is proven")
    penalty = certificate.beta * certificate.d * float(np.abs(network.alpha).sum())
    _compare(row, certificate, network, sums.loss + penalty)
    return f"bound {bound!r} <= {row['upper_bound']:.12g} over {len(proof.block_rows)} blocks"


def _compare(
    row: dict[str, Any], certificate: Certificate, network: QuantizedNetwork, objective: float
) -> None:
    stated = {
        "lower_bound": certificate.lower_bound, "beta": certificate.beta, "d": certificate.d,
        "loss": certificate.loss, "root": certificate.data_sha256, "neurons": network.neurons,
        "bytes": network.size_in_bytes,
    }  # fmt: skip
    for name, value in stated.items():
        if row[name] != value:
            raise ValueError(f"the row states {name} {row[name]}, its files say {value}")
    if not abs(row["upper_bound"] - objective) <= _CLOSE * abs(objective):
        raise ValueError(
            f"the row states upper_bound {row['upper_bound']}, the network's is {objective}"
        )
    if not row["lower_bound"] <= objective:
        raise ValueError(f"the network's objective {objective} is below the bound")
