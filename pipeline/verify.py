"""Checking a run again from its files alone: nothing is solved, nothing is written.

A certificate: its data file has the digest it names, the independent checker proves its bound, and
it states that bound. A network: its objective on the training matrix, its gap, its neurons and its
bytes are those of its row, and it lies above the bound. Any fault is a line, never a traceback.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.datafile import matrices
from pipeline.redact import redact
from pipeline.store import (
    CERTIFICATES,
    LOST_SUFFIX,
    NETWORKS,
    RESULTS,
    RESULTS_SCHEMA,
    RunFolder,
    data_file,
    decode_table,
    one_line,
)
from qnn.activations import Polynomial
from qnn.archive import unpack_arrays
from qnn.baselines import CEILINGS, REFERENCES
from qnn.certificates import Certificate, verify
from qnn.errors import InputError, NotProvenAgainError, QnnError
from qnn.losses import get_loss
from qnn.network import QuantizedNetwork
from qnn.problem import Problem
from qnn.solvers.result import relative_gap

# Sums of n products in another order (other BLAS, other machine) differ by far less than this.
RELATIVE = 1e-9
# A maker of certificates states a little less than what is proven, never this much less.
STATED = 1e-6

# Arms whose rows have figures but no quantized network, so no file to check.
UNCERTIFIED = (*CEILINGS, *REFERENCES)

Row = dict[str, Any]


@dataclass(frozen=True)
class Check:
    """The verdict on one file: a line of `qnn verify`.

    `proven` is False where a long proof was skipped, as asked, and all else is right.
    """

    file: str
    ok: bool
    text: str
    proven: bool = True

    @property
    def line(self) -> str:
        """`ok    networks/….npz  objective …`."""
        verdict = "FAIL" if not self.ok else "ok  " if self.proven else "skip"
        return f"{verdict}  {self.file}  {self.text}"


class _Failure(Exception):
    """Why a file is not what it claims to be; one line."""


class _Skipped(Exception):
    """What was not proven again, where everything else is right; one line."""


def verify_paths(
    paths: Sequence[str], data: str | None = None, fast: bool = False
) -> Iterator[Check]:
    """Check run folders (paths or URIs) and single certificate or network files, in this order.

    `data` is the training matrix for single files that do not lie in a run's folder; `fast` skips
    proofs by enumeration, and their verdicts say so. Raises `InputError` where a path does not
    exist; everything else is a verdict.
    """
    for path in paths:
        if path.endswith(".npz"):
            yield _single(path, data, fast)
        else:
            yield from verify_run(path, fast)


def verify_run(location: str, fast: bool = False) -> Iterator[Check]:
    """Check all certificates and networks of a run's folder, and that every row has its files."""
    folder = RunFolder.open(location)
    files = folder.files()
    if not any(file.startswith((f"{RESULTS}/", f"{CERTIFICATES}/")) for file in files):
        raise InputError(
            f"{redact(location)}: no results or certificates in it; give a run's folder or an "
            ".npz file of one"
        )
    run = _Run(folder, fast=fast)
    yield from run.read_rows(files)
    certificates = {file for file in files if file.startswith(f"{CERTIFICATES}/")}
    certificates = {file for file in certificates if file.endswith(".npz")} | set(run.certified)
    networks = {file for file in files if file.startswith(f"{NETWORKS}/")}
    networks = {file for file in networks if file.endswith(".npz")} | set(run.networks)
    for file in sorted(certificates, key=run.order):
        yield _judge(file, run.check_certificate)
    for file in sorted(networks, key=run.order):
        yield _judge(file, run.check_network)


def verify_files(location: str, files: Sequence[str]) -> list[Check]:
    """Check some certificates and networks of a run's folder, named relative to it."""
    folder = RunFolder.open(location)
    run = _Run(folder)
    for _ in run.read_rows(folder.files(RESULTS)):
        pass  # Damaged results are the business of a check of the whole folder.
    return [
        _judge(
            file,
            run.check_certificate if file.startswith(f"{CERTIFICATES}/") else run.check_network,
        )
        for file in files
    ]


def _judge(file: str, check: Callable[[str], str]) -> Check:
    try:
        return Check(file, True, check(file))
    except _Failure as failure:
        return Check(file, False, str(failure))
    except _Skipped as skipped:
        return Check(file, True, str(skipped), proven=False)
    except FileNotFoundError:
        return Check(file, False, "the file is missing")
    except (QnnError, OSError, ValueError) as error:
        return Check(file, False, one_line(str(error).removeprefix(f"{file}: ")))


def _single(path: str, data: str | None, fast: bool = False) -> Check:
    """One file: its data are found two levels up, where its run's folder is, or given."""
    full = path if "://" in path else os.path.abspath(path)
    parts = full.rsplit("/", 2)
    folder = RunFolder.open(parts[0] if len(parts) == 3 and parts[0] else "/")
    file = "/".join(parts[1:])
    if not folder.exists(file):
        raise InputError(f"{redact(path)}: no such file")
    run = _Run(folder, data, fast)
    for _ in run.read_rows(folder.files(RESULTS)):
        pass  # Damaged results are the business of a check of the whole folder.

    def check(name: str) -> str:
        arrays = unpack_arrays(folder.read(name), path, "certificate or network")
        return run.check_certificate(name) if "nu" in arrays else run.check_network(name)

    verdict = _judge(file, check)
    return replace(verdict, file=path)


class _Run:
    """The rows of a run by the files that they name, and the matrices read last."""

    def __init__(self, folder: RunFolder, data: str | None = None, fast: bool = False) -> None:
        self.folder, self.data, self.fast = folder, data, fast
        self.certified: dict[str, list[Row]] = defaultdict(list)
        self.networks: dict[str, Row] = {}
        self.matrices = lru_cache(maxsize=4)(self._matrices)
        self.certificate = lru_cache(maxsize=64)(self._certificate)

    def read_rows(self, files: Sequence[str]) -> Iterator[Check]:
        """Read the results; yields a verdict for each file of them that is not sound."""
        for file in files:
            if not file.startswith(f"{RESULTS}/") or not file.endswith(".parquet"):
                continue
            try:
                table = decode_table(self.folder.read(file), file)
                if table.schema.names != RESULTS_SCHEMA.names:
                    raise _Failure("not the columns of a results file")
                rows = table.cast(RESULTS_SCHEMA).to_pylist()
            except _Failure as failure:
                yield Check(file, False, str(failure))
                continue
            except (QnnError, OSError, ValueError, pa.ArrowException) as error:
                yield Check(file, False, one_line(str(error).removeprefix(f"{file}: ")))
                continue
            if file.endswith(LOST_SUFFIX):
                continue
            yield from self._take(file, rows)

    def _take(self, file: str, rows: list[Row]) -> Iterator[Check]:
        for row in rows:
            if row["certificate"]:
                self.certified[row["certificate"]].append(row)
            if row["status"] != "ok":
                continue
            if row["rounding"] in UNCERTIFIED:
                if row["lower_bound"] is not None or row["network"] or row["certificate"]:
                    yield Check(
                        file, False, f"trial {row['trial']}: no proof speaks of such an arm"
                    )
                continue
            if not row["network"] or not row["certificate"]:
                yield Check(file, False, f"trial {row['trial']} names no network or certificate")
            elif row["network"] in self.networks:
                yield Check(file, False, f"trial {row['trial']}: its network is another's too")
            else:
                self.networks[row["network"]] = row

    def order(self, file: str) -> tuple[str, str]:
        """Sort key that keeps files of one training matrix together."""
        row = self.networks.get(file) or next(iter(self.certified.get(file, [])), None)
        return ("" if row is None else data_file(row["dataset"] or "", row["shard"] or ""), file)

    def _matrices(self, file: str) -> tuple[np.ndarray, np.ndarray]:
        try:
            if self.data is not None:
                parts = os.path.abspath(self.data).rpartition("/")
                content = RunFolder.open(parts[0] or "/").read(parts[2])
            else:
                content = self.folder.read(file)
        except FileNotFoundError:
            raise _Failure(f"its data {self.data or file} are missing (give --data)") from None
        return matrices(decode_table(content, file))

    def _certificate(self, file: str) -> Certificate:
        arrays = unpack_arrays(self.folder.read(file), file, "certificate")
        return Certificate.from_arrays(arrays, file)

    def check_certificate(self, file: str) -> str:
        """Return what is proven; raises where it is not."""
        certificate = self.certificate(file)
        X, y = self.matrices(certificate.data)
        stated, skipped = certificate.lower_bound, False
        try:
            bound = verify(certificate, X, y, self.fast)
        except NotProvenAgainError:
            bound, skipped = stated, True
        if bound - stated > STATED * max(1.0, abs(bound)):
            raise _Failure(f"states the bound {stated:.10g}, but {bound:.10g} is proven")
        for row in self.certified.get(file, []):
            data = data_file(row["dataset"], row["shard"])
            _same(row, "lower_bound", stated, exact=True)
            _same(row, "beta", certificate.beta, exact=True)
            if certificate.data != data:
                raise _Failure(f"speaks of {certificate.data}, its rows of {data}")
        if skipped:
            raise _Skipped(f"bound {stated:.8g} NOT proven again: its enumeration was skipped")
        return f"bound {bound:.8g}"

    def check_network(self, file: str) -> str:
        """Return the objective; raises where the network is not what its row says."""
        network = QuantizedNetwork.from_bytes(self.folder.read(file), file)
        row = self.networks.get(file)
        if row is None:
            return self._check_rowless(network)
        certificate = self.certificate(row["certificate"])
        X, y = self.matrices(data_file(row["dataset"], row["shard"]))
        objective, loss = _objective(network, X, y, row["beta"], certificate)
        _same(row, "upper_bound", objective)
        # At an optimal second layer the sum hardly moves with alpha, its two parts do.
        _same(row, "loss_value", loss, scale=abs(objective))
        _same(row, "gap", relative_gap(objective, certificate.lower_bound), scale=1.0)
        _same(row, "lower_bound", certificate.lower_bound, exact=True)
        _same(row, "neurons", network.neurons, exact=True)
        _same(row, "bytes", network.size_in_bytes, exact=True)
        if network.beta != row["beta"] or network.loss != row["loss"]:
            raise _Failure("was made for another beta or loss than its row says")
        for name in ("loss_parameter", "activation", "alphabet", "second_layer"):
            if getattr(network, name) != row[name]:
                raise _Failure(
                    f"its {name} is {getattr(network, name)!r}, its row says {row[name]!r}"
                )
        if (certificate.activation, certificate.alphabet, certificate.loss) != (
            network.activation,
            network.alphabet,
            network.loss,
        ) or not _same_polynomial(certificate, network):
            raise _Failure("its certificate speaks of networks of another kind")
        if objective < certificate.lower_bound * (1 - np.sign(certificate.lower_bound) * RELATIVE):
            raise _Failure(f"objective {objective:.10g} below the bound: impossible")
        return f"objective {objective:.8g}, gap {100 * row['gap']:.3g} %"

    def _check_rowless(self, network: QuantizedNetwork) -> str:
        if self.data is None:
            return "readable; no row speaks of it (its path is unfinished)"
        if network.beta is None or network.loss is None:
            raise _Failure("names no beta or loss, so it has no objective")
        X, y = self.matrices("")
        objective, _ = _objective(network, X, y, network.beta, None)
        return f"objective {objective:.8g}; no row to compare"


def _objective(
    network: QuantizedNetwork,
    X: np.ndarray,
    y: np.ndarray,
    beta: float,
    certificate: Certificate | None,
) -> tuple[float, float]:
    """Loss plus penalty, and the loss; its parameter stands in the certificate of its problem."""
    parameter = network.loss_parameter if certificate is None else certificate.loss_parameter
    loss = get_loss(network.loss or "squared", parameter)
    activation = "bilinear" if network.polynomial is None else Polynomial(*network.polynomial)
    problem = Problem(X, y, beta, loss, activation, network.alphabet)
    objective = problem.objective(network)
    return objective, objective - problem.budget * float(np.abs(network.alpha).sum())


def _same_polynomial(certificate: Certificate, network: QuantizedNetwork) -> bool:
    stated = None if certificate.polynomial is None else tuple(certificate.polynomial)
    return stated == network.polynomial


def _same(
    row: Row, column: str, found: float, exact: bool = False, scale: float | None = None
) -> None:
    said = row[column]
    size = abs(found) if scale is None else scale
    if said is None or not (said == found if exact else abs(said - found) <= RELATIVE * size):
        raise _Failure(f"its row says {column} {said!r}, its files say {found!r}")
