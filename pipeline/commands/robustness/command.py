"""`qnn robustness`: what nobody can change about a network's answers, without a sweep."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipeline.commands.robustness.files import (
    keep_proven,
    share,
    verify_command,
    write_table,
)
from pipeline.commands.robustness.reconstruction import Decoding, Places, reconstructions
from pipeline.commands.writing.folders import new_folder
from pipeline.commands.writing.places import refuse_file, refuse_folder
from qnn.errors import InputError

if TYPE_CHECKING:
    from pipeline.datasets.examples import Examples, Network
    from pipeline.studies.robustness.asked import Asked
    from qnn.robustness import Limits, Robustness

REFUSED = 1


@dataclass(frozen=True)
class RobustRow:
    """A row of the file decided.

    proven: the certified lower bound of the worst margin in the region; attack: the margin of the
    worst row that was found in it; seconds: of processor time.

    With ``--largest``: largest_proven, the largest factor of the radius with a proof, 0 where there
    is none; largest_attacked, the smallest with a witness, None where none was found.
    """

    row: int
    label: str
    predicted: str
    correct: bool
    norm: str
    radius: float | None
    status: str
    proven: float
    attack: float
    method: str
    nodes: int
    seconds: float
    certificate: str | None
    largest_proven: float | None = None
    largest_attacked: float | None = None
    largest_certificate: str | None = None


def robustness(
    network: Annotated[
        Path,
        typer.Argument(
            metavar="NETWORK.npz|MODEL.onnx",
            help="A network of a sweep, or any ReLU network.",
            show_default=False,
        ),
    ],
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="Raw rows: CSV, Parquet or sklearn:NAME.", show_default=False
        ),
    ],
    radius: Annotated[
        list[str],
        typer.Option(
            metavar="R|COLUMN=R",
            help="How far numbers may move: all, or (again and again) one column.",
            show_default=False,
        ),
    ],
    norm: Annotated[
        Literal["linf", "l2"], typer.Option(help="Each column alone, or all together.")
    ] = "linf",
    effort: Annotated[
        Literal["interval", "crown", "dual", "exact"], typer.Option(help="From cheap to dear.")
    ] = "exact",
    solver: Annotated[
        Literal["auto", "second_order", "first_order"],
        typer.Option(help="Who solves the dual of ReLU networks."),
    ] = "auto",
    unit: Annotated[
        Literal["raw", "scale", "range"],
        typer.Option(help="Of the radius: the column's, its deviation, its range in DATA."),
    ] = "raw",
    target: Annotated[
        str | None, typer.Option(help="Column of the labels (default: target, if there).")
    ] = None,
    limits: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="LOW HIGH", help="Values that numbers may have at all."),
    ] = None,
    valid: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=LOW:HIGH", help="Values that one column may have at all."),
    ] = None,
    flip: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="A category that may change.")
    ] = None,
    largest: Annotated[
        bool, typer.Option("--largest", help="Also each row's largest proven factor of the radius.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Parquet file, a row a row of DATA (default: none).")
    ] = None,
    certificates: Annotated[
        Path | None, typer.Option(metavar="DIR", help="New folder for the proofs.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Rows to take, the first ones.")] = None,
    nodes: Annotated[int, typer.Option(min=0, help="Nodes of each row's search.")] = 20_000,
    seconds: Annotated[
        float, typer.Option(min=0.0, help="Processor seconds of each row's search.")
    ] = 60.0,
    images: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="NETWORK is a decoder, DATA latents: their images."),
    ] = None,
    deviations: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="With --images: the unit of each latent, row by row."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0.0, help="With --images: the reconstruction loss to stay below."),
    ] = None,
    require: Annotated[
        float | None,
        typer.Option(min=0.0, max=100.0, help="Exit 1 where fewer % of the rows are proven."),
    ] = None,
) -> None:
    """Say of each row what no change within a radius can do, proven, beside our best attack."""
    from qnn.robustness import Limits

    read: dict[str, str | Path | None] = {
        "the network": network,
        "the data": data,
        "the images' file": images,
        "the deviations' file": deviations,
    }
    refuse_file(out, read)
    refuse_folder(certificates, out)
    if not images == deviations == threshold is None:
        decoding = Decoding(
            network, data, images, deviations, _radius(radius), unit, threshold, effort
        )
        decoding.refuse({
            "--norm l2": norm != "linf", "--solver": solver != "auto", "--target": target,
            "--limits": limits, "--valid": valid, "--flip": flip, "--largest": largest,
            "--require without --threshold": require is not None and threshold is None,
        })  # fmt: skip
        done = reconstructions(
            decoding, Places(out, certificates), limit, Limits(nodes=nodes, seconds=seconds)
        )
        if done.refused or (require is not None and done.proven < require):
            raise typer.Exit(REFUSED)
        return
    from pipeline.datasets.examples import load_network, read_examples
    from pipeline.studies.robustness.asked import Asked

    allowed = _valid(valid or [], limits)
    asked = Asked(_radius(radius), norm, unit, allowed, tuple(flip or ()))
    loaded = load_network(network)
    examples = read_examples(data, loaded, target)
    left_out = getattr(loaded, "left_out", "")
    if left_out:
        said = f"its last {left_out} is left out: margins are of the scores that go into it"
        print(f"note: {network}: {said}", file=sys.stderr)
    start = time.process_time()
    search = Limits(nodes=nodes, seconds=seconds, solver=solver)
    work = Work(loaded, examples, asked, effort, search, data)
    work.largest = largest
    with new_folder(certificates) as place:
        rows = work.run(examples.n if limit is None else min(limit, examples.n), place)
        if place is not None and certificates is not None:
            again = verify_command(network, work.content, place, certificates)
        if out is not None:
            write_table(rows, {**asdict(asked), "effort": effort}, work.digest, out)
    print(sentence(rows, asked, labelled=examples.labels is not None))
    if largest:
        print(reach_sentence(rows, asked))
    print(f"{len(rows)} rows, {time.process_time() - start:.1f} s of processor time")
    if out is not None:
        print(out)
    if certificates is not None:
        kept = [name for row in rows for name in (row.certificate, row.largest_certificate)]
        print(f"{sum(name is not None for name in kept)} certificates: {again}")
    proven = share(row.status == "robust" for row in rows)
    if work.refused or (require is not None and proven < require):
        raise typer.Exit(REFUSED)


class Work:
    """The rows of one file asked about one network."""

    def __init__(
        self,
        network: Network,
        examples: Examples,
        asked: Asked,
        effort: str,
        search: Limits,
        source: str,
    ) -> None:
        from pipeline.studies.robustness.asked import Asker

        self.examples, self.asked, self.source = examples, asked, source
        self.asker = Asker(network, examples, asked, effort, search)
        self.content = network.to_bytes()
        self.digest = sha256(self.content).hexdigest()
        self.refused, self.largest = 0, False

    def run(self, count: int, place: Path | None) -> list[RobustRow]:
        """Decide the first rows, a progress bar on stderr; write certificates as they come.

        Raises InputError, before any is decided, for a row that cannot be asked about.
        """
        from rich.console import Console
        from rich.progress import Progress

        for index in range(count):
            with self._named(index):
                self.asker.question(index)
        rows: list[RobustRow] = []
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("rows", total=count)
            for index in range(count):
                rows.append(self.decided(index, place))
                proven = sum(row.status == "robust" for row in rows)
                progress.update(task, advance=1, description=f"{proven} proven")
        return rows

    def decided(self, index: int, place: Path | None) -> RobustRow:
        """One row's verdict; its certificate, if it is robust, in the folder."""
        asked, asker = self.asked, self.asker
        label, predicted = asker.label(index), asker.answers[index]
        with self._named(index):
            found = asker.certify(index)
            row = RobustRow(
                row=index,
                label=str(label),
                predicted=str(predicted),
                correct=predicted == label,
                norm=asked.norm,
                radius=asked.radius if isinstance(asked.radius, float) else None,
                status=found.verdict,
                proven=found.lower_bound,
                attack=found.upper_bound,
                method=found.certificate.method,
                nodes=found.nodes,
                seconds=found.seconds,
                certificate=self._kept(found, f"row-{index:06d}.npz", place),
            )
            return self._furthest(row, place) if self.largest else row

    @contextmanager
    def _named(self, index: int) -> Iterator[None]:
        """A block in which every InputError begins with the row that it is about."""
        try:
            yield
        except InputError as error:
            raise InputError(f"{self.source}, row {index + 1}: {error}") from None

    def _furthest(self, row: RobustRow, place: Path | None) -> RobustRow:
        far = self.asker.furthest(row.row)
        proof = f"row-{row.row:06d}-largest.npz"
        return replace(
            row,
            largest_proven=far.certified,
            largest_attacked=None if far.attack is None else far.attacked,
            largest_certificate=self._kept(far.proof, proof, place) if far.certified else None,
        )

    def _kept(self, found: Robustness, name: str, place: Path | None) -> str | None:
        """The name of a robust row's certificate, written after the kernel proved its bytes."""
        if place is None or found.verdict != "robust":
            return None
        kept = keep_proven(found.certificate, self.content, place / name)
        self.refused += not kept
        return name if kept else None


def sentence(rows: list[RobustRow], asked: Asked, labelled: bool) -> str:
    """What an engineer wants to know, in one sentence."""
    proven = share(row.status == "robust" for row in rows)
    held = share(row.correct and row.status != "vulnerable" for row in rows)
    within = f"whatever happens within {asked.words}"
    if not labelled:
        return f"{proven:.4g} % provably answered alike {within}, {held:.4g} % by our best attack"
    correct = share(row.correct for row in rows)
    return (
        f"{correct:.4g} % correct, {proven:.4g} % provably correct {within}, {held:.4g} % against "
        "our best attack"
    )


def reach_sentence(rows: list[RobustRow], asked: Asked) -> str:
    """What half of the rows reach, in factors of the region."""
    proven = sorted(row.largest_proven or 0.0 for row in rows)
    ends = [row.largest_attacked for row in rows]
    attacked = sorted(math.inf if end is None else end for end in ends)
    middle = (len(rows) - 1) // 2
    return (
        f"half of the rows provably hold up to {proven[middle]:.4g} times {asked.words}, and half "
        f"against our best attack up to {attacked[middle]:.4g} times"
    )


def _radius(texts: list[str]) -> float | dict[str, float]:
    named: dict[str, float] = {}
    for text in texts:
        name, equals, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not 0.0 <= value < math.inf:
            raise InputError(f"--radius: must be a number, 0 or more, or COLUMN=NUMBER ({text!r})")
        if name in named or (not equals and len(texts) > 1):
            raise InputError("--radius: give one number for all columns, or one COLUMN=NUMBER each")
        named[name] = value
    return named if list(named) != [""] else named[""]


def _valid(
    texts: list[str], limits: tuple[float, float] | None
) -> tuple[float, float] | dict[str, tuple[float, float]] | None:
    named: dict[str, tuple[float, float]] = {}
    for text in texts:
        name, _, ends = text.rpartition("=")
        low, _, high = ends.partition(":")
        try:
            pair = float(low), float(high)
        except ValueError:
            pair = math.nan, math.nan
        if not name or not pair[0] <= pair[1]:
            raise InputError(f"--valid: must be COLUMN=LOW:HIGH, two numbers ({text!r})")
        if name in named or limits is not None:
            raise InputError("--valid: once a column, and not with --limits")
        named[name] = pair
    return named or limits
