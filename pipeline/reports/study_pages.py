"""What the pages of studies without training share: how they are made of a run's folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from pipeline.logs.redact import redact
from pipeline.logs.shell import verify_line
from pipeline.reports.frame import REPORT_FILE, render_page
from pipeline.reports.origin import origin_of
from pipeline.results.folder import CONFIG_FILE, RunFolder
from pipeline.results.ledger import read_results
from pipeline.results.schema import RowSchema
from qnn.errors import InputError


def write_study_report(
    folder: RunFolder, rows: RowSchema, template: str, told: Callable[[pa.Table], dict[str, Any]]
) -> str:
    """Make `report.html`; return where it lies. InputError where the folder has no results.

    `told` says what the template takes beside what every study's page has.
    """
    results = read_results(folder, rows)
    if not results.num_rows:
        raise InputError(f"{folder.label}: no results here; give the folder of a sweep")
    failures = Counter(row["error"] for row in results.to_pylist() if row["status"] != "ok")
    page = render_page(
        template,
        name=redact(name_of(folder, template.removesuffix("_page.html"))),
        origin=origin_of(folder, results),
        failures=[
            {"count": count, "error": redact(str(error)), "where": ""}
            for error, count in failures.items()
        ],
        verify_command=verify_line(folder.address),
        config=redact(config_text(folder)),
        **told(results),
    )
    folder.write(REPORT_FILE, page.encode())
    return f"{folder.label.rstrip('/')}/{REPORT_FILE}"


def config_text(folder: RunFolder) -> str:
    """The run's sweep.yaml; empty where it is gone."""
    try:
        return folder.read(CONFIG_FILE).decode(errors="replace")
    except FileNotFoundError:
        return ""


def name_of(folder: RunFolder, otherwise: str) -> str:
    """The sweep's name, as its config says it."""
    lines = [line for line in config_text(folder).splitlines() if line.startswith("name:")]
    return lines[0].removeprefix("name:").strip().strip("'\"") if lines else otherwise
