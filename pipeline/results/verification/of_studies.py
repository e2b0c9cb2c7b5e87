"""What `qnn verify` does with the folder of any study's run: which files, and a verdict on each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from pipeline.logs.messages import one_line
from pipeline.logs.redact import redact
from pipeline.results.folder import CERTIFICATES, KEPT, RESULTS, RunFolder
from pipeline.results.ledger import LOST_SUFFIX
from pipeline.results.verification.manifest import check_manifest
from pipeline.results.verification.verdict import Check, fault
from qnn.errors import InputError, NotProvenAgainError


def files_to_verify(folder: RunFolder) -> tuple[Sequence[str], Sequence[str]]:
    """The results files and certificates of a folder. InputError where it has neither."""
    results = [file for file in folder.files(RESULTS, ".parquet") if not file.endswith(LOST_SUFFIX)]
    certificates = folder.files(CERTIFICATES, ".npz")
    if not results and not certificates:
        raise InputError(f"{redact(folder.label)}: no results or certificates in it")
    return results, certificates


def judged_folder(
    folder: RunFolder,
    check_rows: Callable[[str, dict[str, Any]], str],
    check_certificate: Callable[[str, dict[str, Any]], str],
    not_checked: Sequence[str],
    kept: Sequence[str] = KEPT,
    proven: bool = True,
) -> Iterator[Check]:
    """A verdict on the manifest, each results file and each certificate, there or only named.

    Both checks take a file and what rows say of certificates by their files, which `check_rows`
    fills in; they return and raise as those of `judged`. `not_checked`, `kept`: as for the
    manifest; `proven`: whether the rows are, where they pass. Raises InputError where there is
    nothing to check.
    """
    results, certificates = files_to_verify(folder)
    yield from check_manifest(folder, not_checked, kept)
    yield from check_lost(folder)
    named: dict[str, Any] = {}
    for file in results:
        yield judged(file, partial(check_rows, file, named), proven)
    for file in sorted({*certificates, *named}):
        yield judged(file, partial(check_certificate, file, named))


def check_lost(folder: RunFolder) -> Iterator[Check]:
    """Verdicts on files of lost work whose rows say that it was done: nothing proves them."""
    for file in folder.files(RESULTS, LOST_SUFFIX):
        check = judged(file, partial(_all_failed, folder, file))
        if not check.ok:
            yield check


def _all_failed(folder: RunFolder, file: str) -> str:
    statuses = folder.read_table(file)["status"].to_pylist()
    if set(statuses) != {"failed"}:
        raise ValueError("a file of lost work with rows that did not fail")
    return f"{len(statuses)} rows lost"


def judged(file: str, check: Callable[[], str], proven: bool = True) -> Check:
    """The verdict of a check that returns what it found right and raises what is wrong."""
    try:
        return Check(file, True, check(), proven)
    except NotProvenAgainError as skipped:
        return Check(file, True, str(skipped), proven=False)
    except FileNotFoundError as error:
        return Check(file, False, f"a file is missing ({one_line(error)})")
    except Exception as error:  # damaged files make readers raise errors of any kind
        return Check(file, False, fault(error))
