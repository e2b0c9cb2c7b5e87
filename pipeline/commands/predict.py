"""`qnn predict NETWORK DATA`: a network's answers for the rows of a file, as a table."""

from __future__ import annotations

import csv
import io
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.commands.writing.places import refuse_file
from qnn.errors import InputError

PREDICTION = "prediction"
# The keys of a sweep's `data` that say how a file is written, which a network does not know.
WRITTEN = ("separator", "decimal", "thousands", "quote", "encoding", "comment")


def predict(
    network: Annotated[
        Path, typer.Argument(help="A network's file (networks/….npz).", show_default=False)
    ],
    data: Annotated[
        str, typer.Argument(help="Rows: CSV, Parquet, a folder or URI.", show_default=False)
    ],
    out: Annotated[
        Path | None, typer.Option(help="File to write, .csv or .parquet (default: CSV, here).")
    ] = None,
    scores: Annotated[
        bool, typer.Option("--scores", help="The score of each class beside the label.")
    ] = False,
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", metavar="COLUMN", help="Copy a column of the data in front."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse categories that were not seen in training.")
    ] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="How the file is written, as in a sweep: data.separator, data.decimal, …",
        ),
    ] = None,
) -> None:
    """Write a network's labels, or numbers, for the rows of a file, in their order."""
    from pipeline.datasets.examples import load_network, read_table_of, rows_of
    from pipeline.logs.console import held_back

    if out is not None and out.suffix.lower() not in (".csv", ".parquet"):
        raise InputError(f"{out}: --out must end in .csv or .parquet")
    refuse_file(out, {"the network": network, "the data": data})
    loaded = load_network(network)
    reading = _reading(data, overrides or [])
    with held_back() as held, warnings.catch_warnings(record=True) as said, rows_of(data):
        warnings.simplefilter("always", UserWarning)
        table = read_table_of(reading)
        columns = _kept(table, keep or [], data)
        answers = _answers(loaded, table, reading, scores, strict, list(columns))
        for name in answers:
            if name in columns:
                raise InputError(f"--keep: {name!r} is what a column of the answers is called")
        columns |= answers
    told = [*held, *(f"warning: {one.message}" for one in said if one.category is UserWarning)]
    for line in told:
        print(line if line.startswith("warning: ") else f"note: {line}", file=sys.stderr)
    if out is None:
        sys.stdout.write(_csv_text(columns))
        return
    _write(columns, out)
    print(out)


def _reading(data: str, overrides: Sequence[str]) -> Any:
    """How the file is read: as told by keys of a sweep's `data`, else as it looks."""
    from pipeline.configuration.reading import parse_config
    from pipeline.configuration.section import Section
    from pipeline.configuration.settings import DataConfig
    from pipeline.configuration.yaml_text import dump_yaml

    class Reading(Section):
        data: DataConfig

    keys = [one.partition("=")[0].strip() for one in overrides]
    strange = [key for key in keys if key not in [f"data.{name}" for name in WRITTEN]]
    if strange:
        known = ", ".join(f"data.{name}" for name in WRITTEN)
        raise InputError(f"--set {strange[0]}: only how the file is written can be set ({known})")
    return parse_config(dump_yaml({"data": {"source": data}}), "--set", overrides, Reading).data


def _kept(table: Any, names: Iterable[str], where: str) -> dict[str, list[Any]]:
    """Columns of the data, as they are."""
    from qnn.features.tables import column_names, shorten

    known = column_names(table)
    for name in names:
        if name not in known:
            raise InputError(f"--keep: no column {name!r} (columns: {shorten(known)})")
    return {name: _listed(table[name]) for name in names}


def _listed(column: Any) -> list[Any]:
    found: list[Any] = column.to_pylist() if hasattr(column, "to_pylist") else column.tolist()
    return found


def _answers(
    network: Any, table: Any, reading: Any, scores: bool, strict: bool, kept: Sequence[str]
) -> dict[str, list[Any]]:
    """A column of predictions, or one a target; with `scores` those of the classes."""
    from pipeline.datasets.examples import matrix_of, raw_rows

    preprocessing = getattr(network, "preprocessing", None)
    if preprocessing is None:
        if scores:
            raise InputError("--scores: the network has no preprocessing, so no classes")
        raw = raw_rows(_inputs(table, network.d, kept), network, reading)
        return _several(network.predict(matrix_of(raw, network.d)), ())
    raw = raw_rows(table, network, reading)
    if scores and preprocessing.classes is None:
        raise InputError("--scores: the network predicts numbers; leave it out")
    found = network.scores(raw, strict)
    answers = _several(preprocessing.decode(found), preprocessing.target.names or ())
    return {**answers, **_scores(preprocessing, found)} if scores else answers


def _inputs(table: Any, d: int, kept: Sequence[str]) -> Any:
    """The columns that a network of d nameless inputs reads: none of the labels.

    What is kept may be one of them; where there are others than d it is none.
    """
    from pipeline.datasets.examples import TARGET
    from qnn.features.tables import column_names

    names = [name for name in column_names(table) if name != TARGET]
    if len(names) != d:
        names = [name for name in names if name not in kept]
    return {name: table[name] for name in names} if isinstance(table, dict) else table.select(names)


def _scores(preprocessing: Any, found: Any) -> dict[str, list[Any]]:
    """Of two classes one score, above 0 for the second; of more one each, the largest counts."""
    each = preprocessing.target.class_scores(found)
    if each.ndim == 1:
        return {"score": each.tolist()}
    labelled = zip(preprocessing.classes, each.T, strict=True)
    return {f"score {label}": one.tolist() for label, one in labelled}


def _several(predicted: Any, names: Sequence[str]) -> dict[str, list[Any]]:
    if predicted.ndim == 1:
        return {PREDICTION: predicted.tolist()}
    called = names or [str(k) for k in range(predicted.shape[1])]
    return {
        f"{PREDICTION} {name}": one.tolist() for name, one in zip(called, predicted.T, strict=True)
    }


def _csv_text(columns: dict[str, list[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def _write(columns: dict[str, list[Any]], out: Path) -> None:
    from qnn.numerics.archive import write_file

    if out.suffix.lower() == ".csv":
        content = _csv_text(columns).encode()
    else:
        import pyarrow as pa

        from pipeline.results.folder import encode_table

        content = encode_table(pa.table(columns))
    try:
        write_file(out, content)
    except OSError as error:
        raise InputError(f"{out}: cannot be written: {error.strerror}") from None
