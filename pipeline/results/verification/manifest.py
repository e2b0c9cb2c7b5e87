"""What a finished run's folder holds, so that what is missing, dropped or swapped is missed.

`manifest.json` has the SHA-256 of each file that `qnn verify` reads, whatever the study, and the
number of rows that the plan expects of each unit of work. The driver removes it before it changes
anything and writes it last, at once: a folder without one is of an earlier version, or its sweep
did not come to its end. It guards against loss and mix-ups, not against somebody who writes it
anew: what a file states is checked on its own.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pipeline.logs.messages import one_line
from pipeline.results.folder import CONFIG_FILE, KEPT, RESULTS, RunFolder, rows_in
from pipeline.results.ledger import LOST_SUFFIX, unit_id_of
from pipeline.results.verification.verdict import Check

MANIFEST = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """`files`: the SHA-256 of each by its name; `units`: the rows that each should have, by id."""

    files: Mapping[str, str]
    units: Mapping[str, int]

    @classmethod
    def of(cls, folder: RunFolder, units: Mapping[str, int], kept: Sequence[str] = KEPT) -> Self:
        """The folder as it is; `kept`: the folders in it that its study leaves for good."""
        names = [name for one in kept for name in folder.files(one)]
        names += [CONFIG_FILE] if folder.exists(CONFIG_FILE) else []
        return cls({name: _digest(folder.read(name)) for name in names}, dict(units))

    @classmethod
    def read(cls, folder: RunFolder) -> Self | None:
        """The folder's; None where it has none. `ValueError` where it is damaged."""
        try:
            content = json.loads(folder.read(MANIFEST))
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError):
            raise ValueError("not a manifest: it is not JSON") from None
        if not isinstance(content, dict) or set(content) != {"format", "files", "units"}:
            raise ValueError("not a manifest: it must have format, files and units")
        if content["format"] != FORMAT:
            raise ValueError(f"its format is not {FORMAT}: use the version that wrote it")
        if not (_maps(content["files"], str) and _maps(content["units"], int)):
            raise ValueError("not a manifest: a file has no digest, or a unit no number of rows")
        return cls(content["files"], content["units"])

    def write(self, folder: RunFolder) -> None:
        """Put it in the folder. Raises `StoreError`."""
        content = {"format": FORMAT, "files": dict(self.files), "units": dict(self.units)}
        folder.write(MANIFEST, json.dumps(content, indent=1, sort_keys=True).encode())

    def faults(self, folder: RunFolder, kept: Sequence[str] = KEPT) -> Iterator[tuple[str, str]]:
        """Files that are not as they were left, and units without their rows, each with why."""
        names = {name for one in kept for name in folder.files(one)}
        for name in sorted(names - set(self.files)):
            yield name, "is not in the manifest: the run did not leave it here"
        for name, digest in sorted(self.files.items()):
            try:
                found = _digest(folder.read(name))
            except FileNotFoundError:
                yield name, "is in the manifest, but the file is missing"
                continue
            if found != digest:
                yield name, "is not the file that the run left here (SHA-256 differs)"
        rows = _rows_of_units(folder)
        for unit in sorted(set(self.units) | set(rows)):
            wanted, found_rows = self.units.get(unit, 0), rows.get(unit, 0)
            if wanted != found_rows:
                yield f"{RESULTS}/{unit}", f"has {found_rows} rows, the plan expects {wanted}"


def check_manifest(
    folder: RunFolder, not_checked: Sequence[str], kept: Sequence[str] = KEPT
) -> Iterator[Check]:
    """The folder is as its sweep left it; `not_checked`: what a study can say of nothing else."""
    limits = "not checked: " + ", ".join(not_checked)
    try:
        manifest = Manifest.read(folder)
        if manifest is None:
            yield Check(MANIFEST, True, f"none, so dropped files and rows are not missed; {limits}")
            return
        faults = [Check(file, False, text) for file, text in manifest.faults(folder, kept)]
    except (OSError, ValueError) as error:
        yield Check(MANIFEST, False, one_line(error))
        return
    yield from faults
    if not faults:
        count = f"{len(manifest.files)} files, {sum(manifest.units.values())} rows"
        yield Check(MANIFEST, True, f"{count}, as the run left them; {limits}")


def _rows_of_units(folder: RunFolder) -> dict[str, int]:
    """Rows of each unit; one that was lost and then done counts by what it did."""
    found: dict[str, int] = {}
    files = folder.files(RESULTS, ".parquet")
    for file in sorted(files, key=lambda name: not name.endswith(LOST_SUFFIX)):
        try:
            found[unit_id_of(file)] = rows_in(folder.read(file), file)
        except (OSError, ValueError):
            continue  # Its digest tells; what is damaged has no rows.
    return found


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _maps(value: Any, kind: type) -> bool:
    return isinstance(value, dict) and all(type(entry) is kind for entry in value.values())
