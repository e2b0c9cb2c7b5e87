"""A run's folder: every file is written under a temporary name beside its place and then moved.

A reader therefore sees a file whole or not at all, whatever kills the writer. A unit's results file
is written last and is its commit point: certificates and networks without one belong to unfinished
work and are overwritten by a rerun. The folder may lie on any `pyarrow.fs` file system.
"""

import logging
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from pipeline.logs.messages import one_line
from pipeline.results.folder import RESULTS, RunFolder
from pipeline.results.record import RESULTS_ROWS
from pipeline.results.schema import RowSchema

log = logging.getLogger(__name__)

# Rows of a path that never got to its own results file (lost workers): readable like the others,
# but not a commit: the next run computes the path again.
LOST_SUFFIX = ".lost.parquet"


def results_file(unit_id: str) -> str:
    """Return where the rows of a unit lie."""
    return f"{RESULTS}/{unit_id}.parquet"


def rows_table(rows: Sequence[Any]) -> pa.Table:
    """Return rows as a table of `RESULTS_SCHEMA`; `ValueError` on a column outside it."""
    return RESULTS_ROWS.table(rows)


def write_results(
    folder: RunFolder,
    unit_id: str,
    rows: Sequence[Any],
    schema: RowSchema = RESULTS_ROWS,
) -> None:
    """Commit a unit: after this its work is done."""
    folder.write_table(results_file(unit_id), schema.table(rows))


def write_lost(
    folder: RunFolder,
    unit_id: str,
    rows: Sequence[Any],
    schema: RowSchema = RESULTS_ROWS,
) -> None:
    """Record failed rows of a unit that got no results of its own; a rerun tries it again."""
    folder.write_table(f"{RESULTS}/{unit_id}{LOST_SUFFIX}", schema.table(rows))


def clear_lost(folder: RunFolder) -> None:
    """Forget the lost units of an earlier run, which are about to be computed again."""
    for path in folder.files(RESULTS, LOST_SUFFIX):
        folder.remove(path)


def unit_id_of(file: str) -> str:
    """Return the id of the unit that a results file is named after."""
    return file.rpartition("/")[2].removesuffix(LOST_SUFFIX).removesuffix(".parquet")


def read_unit(folder: RunFolder, file: str, schema: RowSchema = RESULTS_ROWS) -> pa.Table:
    """Return one results file; `schema`: the columns of the folder's study.

    Raises `ValueError` with the reason where it cannot be trusted, `FileNotFoundError` where it is
    gone.
    """
    try:
        table = folder.read_table(file)
    except ValueError as error:
        raise ValueError(one_line(str(error).removeprefix(f"{file}: "))) from error
    table = schema.read(table)
    if table.num_rows == 0:
        raise ValueError("it has no rows")
    if set(table["path"].to_pylist()) != {unit_id_of(file)}:
        raise ValueError("its rows belong to another path")
    return table


def read_results(
    folder: RunFolder, schema: RowSchema = RESULTS_ROWS, known: dict[str, pa.Table] | None = None
) -> pa.Table:
    """Return all rows of a run, ordered by unit and trial; `schema`: the columns of its study.

    `known`: files that were read before and are as they were; those read now are added. Files that
    cannot be trusted are left out, with a warning, and left alone: readers change nothing.
    """
    files = folder.files(RESULTS, ".parquet")
    complete = {unit_id_of(file) for file in files if not file.endswith(LOST_SUFFIX)}
    tables, known = [], {} if known is None else known
    for file in files:
        if file.endswith(LOST_SUFFIX) and unit_id_of(file) in complete:
            continue
        try:
            if file not in known:
                known[file] = read_unit(folder, file, schema)
            tables.append(known[file])
        except FileNotFoundError:
            continue
        except ValueError as error:
            log.warning("%s: %s; left out", file, error)
    return pa.concat_tables(tables) if tables else schema.columns.empty_table()
