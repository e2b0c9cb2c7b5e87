"""`qnn verify` of a study of robustness: all from the files of the run alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache, partial
from hashlib import sha256
from typing import Any

import numpy as np

from pipeline.configuration.paths import is_archive
from pipeline.datasets.examples import answers, classes_of, network_of
from pipeline.results.folder import CERTIFICATES, NETWORKS, RunFolder
from pipeline.results.ledger import read_unit
from pipeline.results.verification import Check, verify_paths
from pipeline.results.verification.of_studies import judged, judged_folder
from pipeline.studies.robustness.asked import means, scaled
from pipeline.studies.robustness.rows import ROWS
from qnn.certificates.robustness import Question, RobustnessCertificate
from qnn.certificates.robustness.regions import cells_of
from qnn.errors import CertificateError
from qnn.robustness.threat import Rows, Threat, within

Row = dict[str, Any]
UNCHECKED = "labels, settings, ranges, times, nodes and the margins of attacks not checked"
NOT_CHECKED = ("labels", "settings", "ranges", "times", "nodes", "margins of attacks", "versions")


def verify(location: str, data: str | None = None) -> Iterator[Check]:
    """A verdict a results file and a certificate. InputError where there is nothing to check.

    `data`: the network of a single certificate that does not lie among the run's own.
    """
    if is_archive(location):
        yield from _single(location, data, *RunFolder.around(location))
        return
    folder = RunFolder.open(location)
    run = _Verification(folder)
    yield from judged_folder(folder, run.check_rows, run.check_certificate, NOT_CHECKED)


def _single(location: str, data: str | None, folder: RunFolder, file: str) -> Iterator[Check]:
    if not file.startswith(f"{CERTIFICATES}/"):
        yield from verify_paths([location], data)
        return
    check = judged(file, partial(_Verification(folder).check_certificate, file, {}))
    yield replace(check, file=location)


class _Verification:
    """A run's folder, the networks read last."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.rows = lru_cache(maxsize=4)(self._rows)

    def check_rows(self, file: str, named: dict[str, Row]) -> str:
        """Every row of a results file against its network: answers, witnesses, counts."""
        rows = read_unit(self.folder, file, ROWS).to_pylist()
        done = [row for row in rows if row["status"] == "ok"]
        for row in done:
            if row["certificate"] is None or row["certificate"] in named:
                raise ValueError(f"row {row['row']}: has no certificate, or another's")
            named[row["certificate"]] = row
            self._check_row(row)
        return f"{len(done)} rows asked again, {len(rows) - len(done)} failed; {UNCHECKED}"

    def check_certificate(self, file: str, named: dict[str, Row]) -> str:
        """Prove it with its network's file; where a row names it, it must be about that row."""
        content = self.folder.read(file)
        certificate = RobustnessCertificate.from_bytes(content, file)
        rows = self.rows(f"{NETWORKS}/{certificate.question.network_sha256[:24]}.npz")
        words = certificate.check(rows.data)
        row = named.get(file)
        if row is None:
            return f"{words}; no row names it"
        asked = _question(self.rows(row["network_file"]), row)
        if row["proven"] != certificate.lower_bound:
            raise CertificateError(f"proves {certificate.lower_bound}, not {row['proven']}")
        if replace(certificate, question=asked).to_bytes() != content:
            raise CertificateError("is about another question than its row")
        return words

    def _check_row(self, row: Row) -> None:
        rows = self.rows(row["network_file"])
        label, question = _label(rows, row), _question(rows, row)
        numbers, categories = question.numbers, question.categories
        (predicted,) = answers(rows.network, rows.table(numbers[None], [categories]))
        true = {
            "predicted": str(predicted),
            "correct": predicted == label,
            "radii": json.dumps(question.radii.tolist()),
        }
        for name, value in true.items():
            if row[name] != value:
                raise ValueError(f"row {row['row']}: states {name} {row[name]}, it is {value}")
        if not row["labelled"] and not row["correct"]:
            raise ValueError(f"row {row['row']}: its label is not the network's answer")
        _check_bounds(rows, row, question, label)

    def _rows(self, file: str) -> Rows:
        content = self.folder.read(file)
        if file != f"{NETWORKS}/{sha256(content).hexdigest()[:24]}.npz":
            raise ValueError(f"{file}: is another network than its name says")
        return Rows(network_of(content))


def _label(rows: Rows, row: Row) -> Any:
    for label in classes_of(rows.network):
        if str(label) == row["label"]:
            return label
    raise ValueError(f"row {row['row']}: the network knows no label {row['label']!r}")


def _question(rows: Rows, row: Row, at: float | None = None) -> Question:
    """What the row says was asked, from its raw row, radius (or another one) and label."""
    numbers, categories = json.loads(row["example"])
    x: Any = np.array(numbers, dtype=np.float64)
    if rows.preprocessing is not None:
        x = dict(zip(rows.names, numbers, strict=True))
        names = [column.name for column in rows.categorical]
        x |= {
            name: np.array([value], dtype=object)
            for name, value in zip(names, categories, strict=True)
        }
    shape = None if row["shape"] is None else json.loads(row["shape"])
    radius, unit = row["radius"] if at is None else at, row["unit"]
    if shape is not None:
        radius = scaled(shape, radius)
        unit = "raw" if unit == "range" else unit
    elif unit == "range":
        # Ranges are of the whole file, which a run's folder does not have.
        radius, unit = json.loads(row["radii"]), "raw"
    limits = None if row["limits"] is None else json.loads(row["limits"])
    flips = () if row["flips"] is None else tuple(json.loads(row["flips"]))
    threat = Threat(radius, row["norm"], unit, **means(limits, flips))
    return rows.question(x, threat, _label(rows, row))


def _check_bounds(rows: Rows, row: Row, question: Question, label: Any) -> None:
    """Verdict, bounds and witness of a row, one against the other."""
    name = f"row {row['row']}"
    if not row["proven"] <= row["attack"]:
        raise ValueError(f"{name}: its bounds are crossed")
    broken = row["verdict"] == "vulnerable"
    if not broken and row["verdict"] != ("robust" if row["proven"] > 0.0 else "open"):
        raise ValueError(f"{name}: its bounds do not say {row['verdict']}")
    if row["largest"]:
        attacked = row["attacked_radius"]
        if row["shape"] is None or (row["radius"] > 0.0 and row["verdict"] != "robust"):
            raise ValueError(f"{name}: its largest radius is not proven")
        if broken != (attacked == 0.0) or not (attacked is None or row["radius"] <= attacked):
            raise ValueError(f"{name}: its radii are crossed")
        broken = attacked is not None
        question = _question(rows, row, attacked)
    if broken and not _breaks(rows, question, label, row["witness"]):
        raise ValueError(f"{name}: its witness is no other answer in the region")


def _breaks(rows: Rows, question: Question, label: Any, witness: str | None) -> bool:
    if witness is None:
        return False
    numbers, categories = json.loads(witness)
    numbers = np.array(numbers, dtype=np.float64)
    if numbers.shape != question.numbers.shape or list(categories) not in cells_of(question):
        return False
    if not within(question, numbers):
        return False
    (answer,) = answers(rows.network, rows.table(numbers[None], [tuple(categories)]))
    return bool(answer != label)
