"""`qnn bell`: verdicts about the behaviours of a Parquet file, without a sweep."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from qnn.errors import CertificateError, InputError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from rich.console import Console

# Behaviours between two looks at the progress bar.
BLOCK = 8192


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
) -> None:
    """Decide which behaviours are inside a level of the NPA hierarchy, each verdict proven."""
    from rich.console import Console

    from pipeline.results.folder import encode_table
    from pipeline.studies.bell.behaviours import read_behaviours
    from qnn.moments.hierarchy import moment_matrix
    from qnn.moments.words import Scenario
    from qnn.numerics.archive import write_file

    if out is not None and not out.absolute().parent.is_dir():
        raise InputError(f"{out}: its folder does not exist")
    parsed = Scenario.parse(scenario)
    moment_matrix(parsed, level)
    b = read_behaviours(behaviours, parsed.name)
    solver = None if fallback == "none" else fallback
    start = time.perf_counter()
    table = decided(b, parsed.name, level, solver, steps, Console(stderr=True))
    seconds = time.perf_counter() - start
    if out is not None:
        write_file(out, encode_table(table))
    _say(table, parsed.name, level, seconds)
    if out is not None:
        print(out)
    if certificates:
        place = (out or behaviours).with_suffix(".certificates")
        settings = (parsed.name, level, solver, steps)
        print(f"{certify(table, settings, certificates, place)} certificates, exact, in {place}")


def decided(
    b: np.ndarray, scenario: str, level: str, fallback: str | None, steps: int, console: Console
) -> pa.Table:
    """The verdicts' table of behaviours (N, p), a progress bar on the console."""
    import pyarrow as pa
    from rich.progress import Progress

    from pipeline.studies.bell.rows import verdict_table
    from qnn.moments.bell import decide

    tables = []
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("behaviours", total=len(b))
        for first in range(0, len(b), BLOCK):
            part = b[first : first + BLOCK]
            decision = decide(part, scenario, level, fallback=fallback, steps=steps)
            tables.append(verdict_table(decision, first))
            progress.advance(task, len(part))
    return pa.concat_tables(tables)


def certify(
    table: pa.Table, settings: tuple[str, str, str | None, int], count: int, place: Path
) -> int:
    """Write certificates of the verdicts nearest to the boundary, each proven exactly first.

    `settings`: scenario, level, fallback, steps. Raises CertificateError where one is not proven.
    """
    import numpy as np

    from pipeline.studies.bell.nearest import nearest
    from pipeline.studies.bell.rows import behaviours_of
    from qnn.certificates.moments import verify_moments
    from qnn.moments.bell import decide

    verdict = np.array(table["verdict"].to_pylist())
    scenario, level, fallback, steps = settings
    b = behaviours_of(table)
    rows = nearest(b, verdict, table["steps"].to_numpy(), scenario, level, count)
    if not len(rows):
        return 0
    b = b[rows]
    decision = decide(b, scenario, level, fallback=fallback, steps=steps)
    place.mkdir(exist_ok=True)
    for i, row in enumerate(rows.tolist()):
        certificate = decision.certificate(i)
        if certificate.claim != verdict[row]:
            raise CertificateError(f"behaviour {row}: proven {certificate.claim}, report this")
        verify_moments(certificate, b[i], exact=True)
        certificate.save(place / f"{row}.npz")
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
