"""What a path has done so far, in the run's folder: enough to go on after the driver's death."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.results.folder import RunFolder
from qnn.certificates.blockwise import BlockFacts
from qnn.features.preprocessing import Preprocessing
from qnn.numerics.archive import pack_arrays, unpack_arrays
from qnn.training.relaxation.blocks.compressed import Compressed
from qnn.training.relaxation.blocks.low_rank import Scan
from qnn.training.relaxation.streaming.compression import Compression

#: where it lies; the preprocessing stays for who verifies
FOLDER = "blocks"


@dataclass(frozen=True)
class PathState:
    """The files of one path; each is written whole, and found again by the same config."""

    folder: RunFolder
    path: str

    def _file(self, name: str) -> str:
        return f"{FOLDER}/{self.path}/{name}"

    def _read(self, name: str) -> bytes | None:
        try:
            return self.folder.read(self._file(name))
        except FileNotFoundError:
            return None

    def preprocessing(self) -> Preprocessing | None:
        """What the first pass has fitted."""
        found = self._read("preprocessing.json")
        return None if found is None else Preprocessing.from_json(found.decode())

    def checksums(self) -> tuple[int, ...]:
        """Of the raw rows that it was fitted to, one a block; none in an older folder."""
        found = self._read("checksums.json")
        return () if found is None else tuple(json.loads(found))

    def keep_preprocessing(self, preprocessing: Preprocessing, checksums: tuple[int, ...]) -> None:
        """Keep both; the preprocessing last."""
        self.folder.write(self._file("checksums.json"), json.dumps(checksums).encode())
        self.folder.write(self._file("preprocessing.json"), preprocessing.to_json().encode())

    def first(self) -> Compressed | Scan | None:
        """What all βs share."""
        found = self._read("first.npz")
        if found is None:
            return None
        return _first_of(unpack_arrays(found, self._file("first.npz"), "first pass's"))

    def keep_first(self, first: Compressed | Scan) -> None:
        """Keep it."""
        self.folder.write(self._file("first.npz"), pack_arrays(_arrays_of(first)))

    def finished(self, index: int) -> tuple[dict[str, Any], np.ndarray, np.ndarray] | None:
        """The row of a β that is done, and its P and N."""
        row, arrays = self._read(f"{index}.json"), self._read(f"{index}.npz")
        if row is None or arrays is None:
            return None
        held = unpack_arrays(arrays, self._file(f"{index}.npz"), "solution")
        return json.loads(row), held["P"], held["N"]

    def keep_finished(self, index: int, row: dict[str, Any], P: np.ndarray, N: np.ndarray) -> None:
        """Keep it; the row last."""
        self.folder.write(self._file(f"{index}.npz"), pack_arrays({"P": P, "N": N}))
        self.folder.write(self._file(f"{index}.json"), json.dumps(row).encode())


def _listed(blocks: tuple[BlockFacts, ...]) -> dict[str, np.ndarray]:
    return {
        "rows": np.array([block.rows for block in blocks], dtype=np.int64),
        "digests": np.array([list(block.digest) for block in blocks], dtype=np.uint8),
    }


def _arrays_of(first: Compressed | Scan) -> dict[str, np.ndarray]:
    listed = _listed(first.blocks)
    if isinstance(first, Compressed):
        data = first.data
        return {**listed, "gram": data.gram, "cross": data.cross, "square": np.array(data.square),
                "d": np.array(data.d)}  # fmt: skip
    return {**listed, "M": first.M, "diagonal": first.diagonal, "zero": np.array(first.zero),
            "smoothing": np.array(first.smoothing)}  # fmt: skip


def _first_of(arrays: dict[str, np.ndarray]) -> Compressed | Scan:
    pairs = zip(arrays["rows"].tolist(), arrays["digests"], strict=True)
    blocks = tuple(
        BlockFacts(index, rows, digest.tobytes(), 0.0) for index, (rows, digest) in enumerate(pairs)
    )
    if "gram" in arrays:
        n, d = int(arrays["rows"].sum()), int(arrays["d"])
        data = Compression(n, d, arrays["gram"], arrays["cross"], float(arrays["square"]), "")
        return Compressed(data, blocks)
    return Scan(
        blocks, arrays["M"], arrays["diagonal"], float(arrays["zero"]), float(arrays["smoothing"])
    )
