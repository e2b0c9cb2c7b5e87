"""The page of a study without training: its frame, figures, tables and the failures."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
from matplotlib.figure import Figure

from pipeline.logs.redact import redact
from pipeline.reports.figures.drawing import to_svg
from pipeline.reports.page import REPORT_FILE, page_script, render_page
from pipeline.results.folder import CONFIG_FILE, RunFolder
from pipeline.results.ledger import read_results
from pipeline.results.schema import RowSchema
from qnn.errors import InputError

Cell = dict[str, str]


def write_page(
    folder: RunFolder, study: str, schema: RowSchema, shown: Callable[[pa.Table], Mapping[str, Any]]
) -> str:
    """Make `report.html` from the template `STUDY_page.html`; return where it lies.

    `shown`: what the template takes beside the frame (facts, figures, tables), from the results.
    Raises InputError where the folder has no results.
    """
    results = read_results(folder, schema)
    if not results.num_rows:
        raise InputError(f"{folder.label}: no results here; give the folder of a sweep")
    failed = zip(results["status"].to_pylist(), results["error"].to_pylist(), strict=True)
    failures = Counter(error for status, error in failed if status != "ok")
    script, script_hash = page_script()
    config = _config_text(folder)
    page = render_page(
        f"{study}_page.html",
        script=script,
        script_hash=script_hash,
        name=_name(config, study),
        failures=[{"count": n, "error": redact(str(error))} for error, n in failures.items()],
        verify_command=f"qnn verify {folder.label}",
        config=redact(config),
        **shown(results),
    )
    folder.write(REPORT_FILE, page.encode())
    return f"{folder.label.rstrip('/')}/{REPORT_FILE}"


def drawn(name: str, title: str, figure: Figure, describe: str) -> dict[str, str]:
    """A figure as the template `drawing` takes it."""
    source = f"data:image/svg+xml;base64,{base64.b64encode(to_svg(figure)).decode()}"
    return {"name": name, "title": title, "source": source, "describe": describe}


def table(columns: Sequence[tuple[str, bool]], rows: Iterable[Sequence[Cell]]) -> dict[str, Any]:
    """A table as the template `sortable` takes it; a column: its title, and whether it is text."""
    return {
        "columns": [{"title": title, "text": text} for title, text in columns],
        "rows": [{"chosen": False, "cells": list(cells)} for cells in rows],
    }


def text_cell(value: str) -> Cell:
    """Text, sorted as such."""
    return {"sort": value, "text": value}


def number_cell(value: float | None, how: str) -> Cell:
    """A number in the format `how`; a dash, sorted last, where there is none."""
    if value is None:
        return {"sort": "", "text": "–"}
    return {"sort": f"{value:.10g}", "text": format(value, how)}


def _config_text(folder: RunFolder) -> str:
    """The run's sweep.yaml; empty where it is gone."""
    try:
        return folder.read(CONFIG_FILE).decode(errors="replace")
    except FileNotFoundError:
        return ""


def _name(config: str, otherwise: str) -> str:
    """The sweep's name, as its config says it."""
    lines = [line for line in config.splitlines() if line.startswith("name:")]
    return lines[0].removeprefix("name:").strip().strip("'\"") if lines else otherwise
