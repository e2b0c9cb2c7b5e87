"""The files of a run one after another, each with its verdict."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from pipeline.configuration.paths import is_archive, parted
from pipeline.logs.redact import redact
from pipeline.logs.shell import verify_line
from pipeline.results.folder import CERTIFICATES, NETWORKS, RESULTS, RunFolder
from pipeline.results.verification.certificates import (
    check_certificate,
    check_other,
    check_streamed,
)
from pipeline.results.verification.evidence import Evidence
from pipeline.results.verification.held_out import MEASURED, HeldOut, Read
from pipeline.results.verification.manifest import check_manifest
from pipeline.results.verification.networks import check_network
from pipeline.results.verification.rows import Rows
from pipeline.results.verification.statements import NOT_CHECKED
from pipeline.results.verification.verdict import Check, judge
from qnn.certificates import Certificate, kind_of, read_certificate
from qnn.certificates.layers.record import LAYER_SUFFIX, ROWS_SUFFIX
from qnn.certificates.proofs.streamed import StreamedProof
from qnn.errors import InputError
from qnn.numerics.archive import unpack_arrays

# What `qnn csp` and `qnn robustness` write beside their certificates, by what these call it.
_EVIDENCE = ("problem", "network")
# Where `qnn retrain` keeps its runs.
_RETRAINED = "runs"


def verify_paths(
    paths: Sequence[str], data: str | None = None, fast: bool = False, read: Read | None = None
) -> Iterator[Check]:
    """Check run folders (paths or URIs) and single certificate or network files, in this order.

    `data` is the training matrix for single files that do not lie in a run's folder; `fast` skips
    proofs by enumeration, and their verdicts say so; `read` reads the source of a whole folder
    again, for what was measured on rows held out, None where it is not to be looked at. Raises
    `InputError` where a path does not exist; everything else is a verdict.
    """
    for path in paths:
        if is_archive(path):
            yield _single(path, data, fast)
        else:
            yield from verify_run(path, fast, read, data)


def verify_run(
    location: str, fast: bool = False, read: Read | None = None, data: str | None = None
) -> Iterator[Check]:
    """Check a run's folder: its manifest, its rows, all its certificates and networks.

    A folder of certificates alone, as commands without a sweep write it, is no run's: each is
    proven on the evidence beside it, or on `data`.
    """
    folder = RunFolder.open(location)
    files = folder.files()
    if not any(file.startswith((f"{RESULTS}/", f"{CERTIFICATES}/")) for file in files):
        alone = [file for file in files if _is_alone(file)]
        if not alone:
            raise _nothing_in(location, files)
        base, query = parted(location)
        yield from (_single(f"{base.rstrip('/')}/{file}{query}", data, fast) for file in alone)
        return
    run = _Verification(folder, fast=fast)
    yield from run.rows.read(files)
    yield from check_manifest(folder, (MEASURED, *NOT_CHECKED) if read is None else NOT_CHECKED)
    run.held_out = HeldOut(read, run.rows.config)
    checks = (
        (CERTIFICATES, run.rows.certified, run.check_certificate),
        (NETWORKS, run.rows.networks, run.check_network),
    )
    for kept, named, check in checks:
        there = {file for file in files if file.startswith(f"{kept}/") and file.endswith(".npz")}
        for file in sorted(there | set(named), key=run.rows.order):
            yield judge(file, check)
    if read is not None:
        yield run.held_out.verdict


def _is_alone(file: str) -> bool:
    """Whether a file of a folder is a certificate of a command without a sweep, by its name."""
    evidence = file.endswith(ROWS_SUFFIX) or file.removesuffix(".npz") in _EVIDENCE
    return "/" not in file and file.endswith(".npz") and not evidence


def _nothing_in(location: str, files: Sequence[str]) -> InputError:
    said = f"{redact(location)}: no results or certificates in it"
    if any(file.startswith(f"{_RETRAINED}/") for file in files):
        line = verify_line(redact(location).rstrip("/"), within=f"{_RETRAINED}/*")
        return InputError(f"{said}, but in its runs: {line}")
    return InputError(f"{said}; give a run's folder or an .npz file of one")


def verify_files(location: str, files: Sequence[str]) -> list[Check]:
    """Check some certificates and networks of a run's folder, named relative to it."""
    run = _Verification(RunFolder.open(location))
    run.read_quietly()
    return [judge(file, run.check_of(file)) for file in files]


class _Verification:
    """The rows of a folder and what they rest on."""

    def __init__(self, folder: RunFolder, data: str | None = None, fast: bool = False) -> None:
        self.rows, self.evidence = Rows(folder), Evidence(folder, data, fast)
        self.held_out = HeldOut(None, None)

    def read_quietly(self) -> None:
        for _ in self.rows.read(self.evidence.folder.files(RESULTS)):
            pass  # Damaged results are the business of a check of the whole folder.

    def check_certificate(self, file: str) -> str:
        return check_certificate(self.evidence, self.rows, file)

    def check_network(self, file: str) -> str:
        return check_network(self.evidence, self.rows, file, self.held_out)

    def check_of(self, file: str) -> Callable[[str], str]:
        certificate = file.startswith(f"{CERTIFICATES}/")
        return self.check_certificate if certificate else self.check_network


def _single(path: str, data: str | None, fast: bool = False) -> Check:
    """One file: its data are found two levels up, where its run's folder is, or given."""
    folder, file = RunFolder.around(path)
    if not folder.exists(file):
        raise InputError(f"{redact(path)}: no such file")
    run = _Verification(folder, data, fast)
    run.read_quietly()

    def check(name: str) -> str:
        arrays = unpack_arrays(folder.read(name), path, "certificate or network")
        if kind_of(arrays) is None and "nu" not in arrays:
            return run.check_network(name)
        certificate = read_certificate(arrays, name)
        if isinstance(certificate, Certificate):
            if isinstance(certificate.proof, StreamedProof):
                return check_streamed(certificate, data)
            return run.check_certificate(name)
        return check_other(certificate, data or _beside(path, certificate.evidence), fast)

    return replace(judge(file, check), file=path)


def _beside(path: str, evidence: str | None) -> str | None:
    """The file of a certificate's evidence that lies beside it; None where there is none."""
    beside = os.path.join(os.path.dirname(path), f"{evidence}.npz")
    if path.endswith(LAYER_SUFFIX):
        beside = path.removesuffix(LAYER_SUFFIX) + ROWS_SUFFIX
    elif evidence not in _EVIDENCE:
        return None
    return beside if os.path.isfile(beside) else None
