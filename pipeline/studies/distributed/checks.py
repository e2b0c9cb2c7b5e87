"""`qnn verify` of a distributed sweep: every bound from the rows, in the memory of a block."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from pipeline.configuration.beta import column_of
from pipeline.configuration.paths import is_archive
from pipeline.configuration.reading import parse_config
from pipeline.datasets.blocks.reader import BlockReader, BlockTable, Reading
from pipeline.datasets.blocks.row_groups import RowGroups
from pipeline.results.folder import CERTIFICATES, CONFIG_FILE, KEPT, NETWORKS, RunFolder
from pipeline.results.ledger import read_unit
from pipeline.results.verification import Check
from pipeline.results.verification.manifest import check_manifest
from pipeline.results.verification.of_studies import check_lost, files_to_verify, judged
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
from qnn.numerics.gaps import relative_gap
from qnn.training.relaxation.blocks.proving import PointPass, add_points

Row = dict[str, Any]

#: the environment's name for how many threads check blocks at a time
WORKERS = "QNN_VERIFY_WORKERS"
# Sums of two machines differ by less, relative to the objective.
_CLOSE = 1e-9
NOT_CHECKED = (
    "names", "the relaxation's value above the bound", "beta_max, of which beta is a fraction",
    "solver", "actors", "passes", "bytes sent and received", "times", "versions",
)  # fmt: skip


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
    threads as the environment's QNN_VERIFY_WORKERS asks for read blocks at a time. A certificate
    that no row names, of a run that did not come to its end, is proven with its network. Raises
    InputError for a single file that no row names.
    """
    name = None
    if is_archive(location):
        folder, name = RunFolder.around(location)
    else:
        folder = RunFolder.open(location)
    config = _config(folder)
    files, certificates = files_to_verify(folder)
    rows: list[Row] = []
    damaged = [c for c in (judged(f, partial(_read, folder, f, rows)) for f in files) if not c.ok]
    if name is None:
        yield from check_manifest(folder, NOT_CHECKED, (*KEPT, FOLDER))
        yield from check_lost(folder)
    else:
        rows = [row for row in rows if name in (row["certificate"], row["network"])]
        if not (rows or damaged):
            raise InputError(f"{name}: no row of the run names it")
    yield from damaged
    run = _Verification(folder, config, RowGroups.of(data or config.data.source))
    for row in rows:
        yield judged(str(row["certificate"] or row["trial"]), partial(run.check_row, row))
    rest = sorted({*certificates} - run.named) if name is None else []
    for file in rest:
        yield judged(file, partial(run.check_certificate, file))


def _config(folder: RunFolder) -> DistributedConfig:
    try:
        text = folder.read(CONFIG_FILE).decode()
    except FileNotFoundError:
        raise InputError(f"{folder.label}: has no {CONFIG_FILE}") from None
    return parse_config(text, folder.label, (), DistributedConfig)


def _read(folder: RunFolder, file: str, rows: list[Row]) -> str:
    found = read_unit(folder, file, ROWS).to_pylist()
    rows.extend(found)
    return f"{len(found)} rows"


class _Verification:
    """A run and its rows; `named`: the certificates that its finished rows name."""

    def __init__(self, folder: RunFolder, config: DistributedConfig, groups: RowGroups) -> None:
        self.folder, self.config, self.groups = folder, config, groups
        self.named: set[str] = set()

    def check_row(self, row: Row) -> str:
        """The bound, the objective, and what else the row says of both its files."""
        if row["status"] != "ok":
            return f"failed: {row['error']}"
        if row["certificate"] in self.named:
            raise ValueError("its certificate is another row's too")
        self.named.add(row["certificate"])
        certificate, network = self._files(row["certificate"], row["network"])
        bound, objective = self._again(certificate, network)
        _compare(row, certificate, network, objective)
        _check_beta(row, self.config)
        return f"bound {bound!r} <= {row['upper_bound']:.12g} over {row['blocks']} blocks"

    def check_certificate(self, file: str) -> str:
        """The bound of one that no row names; its network says how rows are read."""
        network = f"{NETWORKS}/{file.removeprefix(f'{CERTIFICATES}/')}"
        if not self.folder.exists(network):
            raise ValueError("no row and no network names it, so nothing says how rows are read")
        bound, _ = self._again(*self._files(file, network))
        return f"bound {bound!r}; no row names it"

    def _files(self, certificate: str, network: str) -> tuple[Certificate, QuantizedNetwork]:
        read = self.folder.read
        return (
            Certificate.from_bytes(read(certificate), certificate),
            QuantizedNetwork.from_bytes(read(network), network),
        )

    def _again(self, certificate: Certificate, network: QuantizedNetwork) -> tuple[float, float]:
        """The bound that the rows prove, and the network's objective on them."""
        proof = proof_over_blocks(certificate)
        if network.preprocessing is None or network.V is None:
            raise ValueError("its network has no preprocessing, or is not bilinear")
        features = {column.name for column in network.preprocessing.layout.columns}
        target = self.config.data.targets[0]
        names = tuple(n for n in self.groups.columns if n in features or n == target)
        table = BlockTable.listed(self.groups, names, proof.block_rows.tolist())
        reading = reading_of(self.config, network.preprocessing)
        blocks = CheckedBlocks(table, reading, max(int(os.environ.get(WORKERS, "1")), 1))
        Z = (network.U.astype(float) * network.alpha) @ network.V.T.astype(float)
        loss = get_loss(certificate.loss, certificate.loss_parameter)
        work = PointPass(ProofPass(certificate), loss, 0.5 * (Z + Z.T), None)
        sums = blocks.reduce(work, add_points)
        bound = proven_bound(certificate, sums.proof)
        if not certificate.lower_bound <= bound:
            raise CertificateError(
                f"it states {certificate.lower_bound!r}, but {bound!r} is proven"
            )
        penalty = certificate.beta * certificate.d * float(np.abs(network.alpha).sum())
        return bound, sums.loss + penalty


def _compare(
    row: Row, certificate: Certificate, network: QuantizedNetwork, objective: float
) -> None:
    proof = proof_over_blocks(certificate)
    for name in ("beta", "loss", "alphabet"):
        if getattr(network, name) != getattr(certificate, name):
            raise ValueError(f"its network was made for another {name} than its certificate")
    lower, upper = certificate.lower_bound, row["upper_bound"]
    if not abs(upper - objective) <= _CLOSE * abs(objective):
        raise ValueError(f"the row states upper_bound {upper}, the network's is {objective}")
    stated = {
        "lower_bound": lower, "beta": certificate.beta, "d": certificate.d,
        "n": int(proof.block_rows.sum()), "blocks": len(proof.block_rows),
        "loss": certificate.loss, "root": certificate.data_sha256, "neurons": network.neurons,
        "bytes": network.size_in_bytes, "gap": relative_gap(upper, lower),
        "relaxation_gap": relative_gap(row["relaxation"], lower),
    }  # fmt: skip
    for name, value in stated.items():
        if row[name] != value:
            raise ValueError(f"the row states {name} {row[name]}, its files say {value}")
    if not lower <= row["relaxation"] + _CLOSE * abs(lower):
        raise ValueError(f"the row states relaxation {row['relaxation']}, below the bound")
    if not lower <= objective:
        raise ValueError(f"the network's objective {objective} is below the bound")


def _check_beta(row: Row, config: DistributedConfig) -> None:
    """As it is written it is one that the run's config asks for."""
    column = column_of(config.beta.form)
    if row[column] not in [beta.written for beta in config.beta.points]:
        raise ValueError(f"the row states {column} {row[column]}, the config asks for no such one")
