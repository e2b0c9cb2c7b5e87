"""`qnn bell`: verdicts about the behaviours of a Parquet file, without a sweep."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pipeline.commands.writing.folders import new_folder
from pipeline.commands.writing.places import refuse_file, refuse_folder
from pipeline.logs.shell import verify_line
from qnn.errors import CertificateError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from rich.console import Console

    from qnn.moments.bell import Decision
    from qnn.moments.hierarchy import MomentMatrix
    from qnn.semidefinite.predictors import Network

# Behaviours between two looks at the progress bar, of so many words; more words take longer.
BLOCK, _WORDS, _GROWTH = 8192, 9, 4


@dataclass(frozen=True)
class Settings:
    """How behaviours are decided, as `qnn.moments.bell.decide` takes it."""

    scenario: str
    level: str
    fallback: str | None
    steps: int
    model: Network | None

    @property
    def block(self) -> int:
        """How many behaviours are decided between two looks at the progress bar."""
        from qnn.moments.hierarchy import moment_matrix
        from qnn.moments.words import Scenario

        words = moment_matrix(Scenario.parse(self.scenario), self.level).size
        return max(1, int(BLOCK * min(1.0, _WORDS / words) ** _GROWTH))

    def decide(self, b: np.ndarray) -> Decision:
        """Verdicts of behaviours (N, p)."""
        from qnn.moments.bell import decide

        return decide(b, self.scenario, self.level, self.fallback, self.model, self.steps)


def bell(
    behaviours: Annotated[
        Path,
        typer.Argument(
            metavar="BEHAVIOURS.parquet",
            help="A behaviour a row: its coordinates or its table p(ab|xy).",
            show_default=False,
        ),
    ],
    level: Annotated[str, typer.Option(help="1, 1+AB, 2 or 3.")] = "1+AB",
    scenario: Annotated[
        str, typer.Option(help="A digit for each party's inputs, then its outcomes.")
    ] = "2222",
    out: Annotated[
        Path | None, typer.Option(help="Parquet file for the verdicts (default: none).")
    ] = None,
    certificates: Annotated[
        int, typer.Option(min=0, help="Certificates to write, of those nearest to the boundary.")
    ] = 0,
    steps: Annotated[int, typer.Option(min=1, help="Completion steps before the solver.")] = 30,
    fallback: Annotated[
        Literal["clarabel", "none"], typer.Option(help="Who takes what the steps leave open.")
    ] = "clarabel",
    model: Annotated[
        str | None,
        typer.Option(help="A network to start from: its npz file, or shipped (default: none)."),
    ] = None,
) -> None:
    """Decide which behaviours are inside a level of the NPA hierarchy, each verdict proven."""
    from rich.console import Console

    from pipeline.results.folder import encode_table
    from pipeline.studies.bell.behaviours import read_behaviours
    from qnn.moments.hierarchy import moment_matrix
    from qnn.moments.words import Scenario
    from qnn.numerics.archive import write_file

    place = (out or behaviours).with_suffix(".certificates") if certificates else None
    own = None if model == "shipped" else model
    refuse_file(out, {"the behaviours' file": behaviours, "the network to start from": own})
    refuse_folder(place, out)
    parsed = Scenario.parse(scenario)
    settings = Settings(
        parsed.name, level, None if fallback == "none" else fallback, steps,
        network_of(model, moment_matrix(parsed, level)),
    )  # fmt: skip
    b = read_behaviours(behaviours, parsed.name)
    start = time.perf_counter()
    table = decided(b, settings, Console(stderr=True))
    seconds = time.perf_counter() - start
    if out is not None:
        write_file(out, encode_table(table))
    _say(table, parsed.name, level, seconds)
    if out is not None:
        print(out)
    if place is not None:
        count = certify(table, settings, certificates, place)
        if count:
            print(f"{count} certificates, exact: {verify_line(str(place))}")
        else:
            print("no certificates: nothing is decided")


def network_of(model: str | None, level: MomentMatrix) -> Network | None:
    """The network of a file, or the package's. InputError where it is none of this level's."""
    from qnn.moments.bell.predictor import Predictor, shipped
    from qnn.semidefinite.predictors import Network

    if model is None:
        return None
    if model == "shipped":
        return shipped(level)
    network = Network.load(model)
    Predictor(network, level, model)
    return network


def decided(b: np.ndarray, settings: Settings, console: Console) -> pa.Table:
    """The verdicts' table of behaviours (N, p), a progress bar on the console."""
    import pyarrow as pa
    from rich.progress import Progress

    from pipeline.studies.bell.rows import verdict_table

    tables = []
    block = settings.block
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("behaviours", total=len(b))
        for first in range(0, len(b), block):
            part = b[first : first + block]
            tables.append(verdict_table(settings.decide(part), first))
            progress.advance(task, len(part))
    return pa.concat_tables(tables)


def certify(table: pa.Table, settings: Settings, count: int, place: Path) -> int:
    """Write certificates of the verdicts nearest to the boundary, each proven exactly first.

    Raises CertificateError where one is not proven.
    """
    import numpy as np

    from pipeline.studies.bell.nearest import nearest
    from pipeline.studies.bell.rows import behaviours_of
    from qnn.certificates.moments import verify_moments

    verdict = np.array(table["verdict"].to_pylist())
    b, taken = behaviours_of(table), table["steps"].to_numpy()
    rows = nearest(b, verdict, taken, settings.scenario, settings.level, count)
    if not len(rows):
        return 0
    b = b[rows]
    decision = settings.decide(b)
    with new_folder(place) as folder:
        assert folder is not None
        for i, row in enumerate(rows.tolist()):
            certificate = decision.certificate(i)
            if certificate.claim != verdict[row]:
                raise CertificateError(f"behaviour {row}: proven {certificate.claim}, report this")
            verify_moments(certificate, b[i], exact=True)
            certificate.save(folder / f"{row}.npz")
    return len(rows)


def _say(table: pa.Table, scenario: str, level: str, seconds: float) -> None:
    import pyarrow.compute as pc

    counted: Any = pc.value_counts(table["verdict"]).to_pylist()
    counts = {one["values"]: one["counts"] for one in counted}
    shown = ", ".join(
        f"{counts.get(name, 0):,} {name}" for name in ("inside", "outside", "inconclusive")
    )
    each = 1e6 * seconds / len(table)
    print(f"level {level} of {scenario}: {shown} ({seconds:.1f} s, {each:.1f} µs a behaviour)")
