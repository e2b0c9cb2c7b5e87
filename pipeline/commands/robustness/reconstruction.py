"""`qnn robustness DECODER LATENTS --images FILE`: how far a decoder's images can get."""

from __future__ import annotations

import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.commands.robustness.files import (
    keep_proven,
    share,
    verify_command,
    write_table,
)
from pipeline.commands.writing.folders import new_folder
from qnn.errors import InputError

if TYPE_CHECKING:
    from pipeline.datasets.examples import Examples
    from qnn.networks.layered import LayeredNetwork
    from qnn.robustness import Limits, Reconstruction

Array = np.ndarray


@dataclass(frozen=True)
class ReconstructedRow:
    """An image of the file, bounded.

    proven: the certified upper bound of the reconstruction loss in the box of latents; attack: the
    loss of the worst latents found in it; seconds: of processor time. radius: in the unit that was
    asked in, None where each latent has its own.
    """

    row: int
    radius: float | None
    threshold: float | None
    status: str
    proven: float
    attack: float
    method: str
    nodes: int
    seconds: float
    certificate: str | None


@dataclass(frozen=True)
class Decoding:
    """The files and the question: radius, one or by column, in units of `unit` or `deviations`."""

    network: Path
    latents: str
    images: str | None
    deviations: str | None
    radius: float | dict[str, float]
    unit: str
    threshold: float | None
    effort: str

    def refuse(self, others: dict[str, Any]) -> None:
        """InputError for what does not go with a decoder; others: an option's name and value."""
        if self.images is None:
            raise InputError("--threshold and --deviations go with --images: the decoder's targets")
        given = [name for name, value in others.items() if value]
        if self.unit == "scale":
            given.append("--unit scale")
        if given:
            raise InputError(f"{given[0]} does not go with --images")
        if self.deviations is not None and self.unit != "raw":
            raise InputError("--deviations and --unit are both the radius's unit: give one of them")

    @property
    def words(self) -> str:
        """The box of latents in words."""
        unit = " deviations" if self.deviations else ""
        unit = " of the range" if self.unit == "range" else unit
        if isinstance(self.radius, dict):
            parts = [f"±{value:g}{unit} of {name}" for name, value in self.radius.items()]
            return ", ".join(parts)
        return f"±{self.radius:g}{unit} of each latent"


@dataclass(frozen=True)
class Places:
    """Where rows and proofs go, each None for nowhere."""

    out: Path | None
    certificates: Path | None


def reconstructions(asked: Decoding, places: Places, limit: int | None, search: Limits) -> Work:
    """Bound the first images of the files and write what was found; what was done, for the exit."""
    start = time.process_time()
    work = Work(asked, search)
    with new_folder(places.certificates) as place:
        work.run(limit, place)
        if place is not None and places.certificates is not None:
            again = verify_command(asked.network, work.content, place, places.certificates)
        if places.out is not None:
            question = {"radius": asked.radius, "unit": asked.unit, "effort": asked.effort}
            write_table(work.rows, question, sha256(work.content).hexdigest(), places.out)
    print(sentence(work.rows, asked))
    print(f"{len(work.rows)} images, {time.process_time() - start:.1f} s of processor time")
    if places.out is not None:
        print(places.out)
    if places.certificates is not None:
        count = sum(row.certificate is not None for row in work.rows)
        print(f"{count} certificates: {again}")
    return work


class Work:
    """The images of one file and the decoder that is asked for them."""

    def __init__(self, asked: Decoding, search: Limits) -> None:
        from pipeline.datasets.examples import load_network, read_numbers
        from qnn.networks.layered import LayeredNetwork

        self.asked, self.search = asked, search
        loaded = load_network(asked.network)
        if not isinstance(loaded, LayeredNetwork):
            raise InputError(f"{asked.network}: is no decoder of ReLU layers")
        if loaded.left_out:
            raise InputError(
                f"{asked.network}: ends with a {loaded.left_out}, of whose images no loss is "
                "bounded: export the decoder without it, and images as it gives them then"
            )
        self.decoder: LayeredNetwork = loaded
        self.content = loaded.to_bytes()
        self.latents: Examples = read_numbers(asked.latents, loaded.d, "latents")
        self.images = self._beside(str(asked.images), loaded.outputs, "outputs")
        self.radii = self._radii()
        self.rows: list[ReconstructedRow] = []
        self.refused = 0

    def _beside(self, source: str, width: int, what: str) -> Array:
        """The matrix of a file with as many rows as there are latents."""
        from pipeline.datasets.examples import read_numbers

        found = read_numbers(source, width, what)
        if found.n != self.latents.n:
            raise InputError(
                f"{source}: has {found.n} rows, but {self.asked.latents} has {self.latents.n}"
            )
        return np.asarray(found.rows)

    def _radii(self) -> Array:
        """How far each latent of each row may move (n, d)."""
        radius, _ = self.latents.radii(self.asked.radius, self.asked.unit)
        shape = (self.latents.n, self.decoder.d)
        if isinstance(radius, dict):
            radius = [radius.get(name, 0.0) for name in self.latents.names]
        radii = np.broadcast_to(np.asarray(radius, dtype=np.float64), shape)
        if self.asked.deviations is None:
            return radii
        each = self._beside(self.asked.deviations, self.decoder.d, "latents")
        if np.any(each < 0.0):
            row = int(np.argmax((each < 0.0).any(axis=1)))
            raise InputError(f"{self.asked.deviations}: row {row + 1} has a negative deviation")
        return np.asarray(radii * each)

    def run(self, limit: int | None, place: Path | None) -> None:
        """Bound the first images, a progress bar on stderr; write certificates as they come."""
        from rich.console import Console
        from rich.progress import track

        count = self.latents.n if limit is None else min(limit, self.latents.n)
        console = Console(stderr=True)
        for index in track(range(count), "images", console=console, transient=True):
            self.rows.append(self._bounded(index, place))

    def _bounded(self, index: int, place: Path | None) -> ReconstructedRow:
        from qnn.robustness import certify_reconstruction

        asked = self.asked
        try:
            found = certify_reconstruction(
                self.decoder, self.latents.row(index), self.images[index], self.radii[index],
                asked.threshold, asked.effort, search=self.search,
            )  # fmt: skip
        except InputError as error:
            raise InputError(f"{asked.latents}, row {index + 1}: {error}") from None
        return ReconstructedRow(
            row=index,
            radius=asked.radius if isinstance(asked.radius, float) else None,
            threshold=asked.threshold,
            status=found.verdict,
            proven=found.upper_bound,
            attack=found.lower_bound,
            method=found.certificate.method,
            nodes=found.nodes,
            seconds=found.seconds,
            certificate=self._kept(found, f"row-{index:06d}.npz", place),
        )

    def _kept(self, found: Reconstruction, name: str, place: Path | None) -> str | None:
        """The name of a certificate that says what was asked, written after its bytes were proven.

        With a threshold that is one of a row that stays below it, without one any.
        """
        if place is None or (self.asked.threshold is not None and found.verdict != "robust"):
            return None
        kept = keep_proven(found.certificate, self.content, place / name)
        self.refused += not kept
        return name if kept else None

    @property
    def proven(self) -> float:
        """Percent of the images that provably stay at or below the threshold."""
        return share(row.status == "robust" for row in self.rows)


def sentence(rows: list[ReconstructedRow], asked: Decoding) -> str:
    """What an engineer wants to know, in one sentence."""
    within = f"whatever happens within {asked.words}"
    if asked.threshold is None:
        attack, proven = (np.median([getattr(row, name) for row in rows]) for name in
                          ("attack", "proven"))  # fmt: skip
        return (
            f"half of the images provably stay within a reconstruction loss of {proven:.4g} "
            f"{within}; against our best attack within {attack:.4g}"
        )
    robust = share(row.status == "robust" for row in rows)
    held = share(row.status != "vulnerable" for row in rows)
    return (
        f"{robust:.4g} % of the images provably stay within a reconstruction loss of "
        f"{asked.threshold:g} {within}, {held:.4g} % against our best attack"
    )
