"""The report of a study of Bell scenarios: one HTML page, from the run's files alone."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from pipeline.reports.cells import Column, formatted, table_of, words
from pipeline.reports.frame import drawn
from pipeline.reports.study_pages import write_study_report
from pipeline.results.folder import RunFolder
from pipeline.studies.bell import summary
from pipeline.studies.bell.figures import cost_figure, plane_figure, planes
from pipeline.studies.bell.rows import ROWS
from pipeline.studies.bell.summary import (
    Answer,
    Group,
    Row,
    answers,
    asked,
    contradictions,
    finished,
    groups,
    speedup,
)

PLANE_WORDS = (
    "Each point is a behaviour; blue ones are proven inside the level, amber ones outside, dark "
    "ones are undecided. The middle is noise; to the right the box of Popescu and Rohrlich, "
    "upwards the deterministic behaviour of nothing but ones. Empty: no distribution. What "
    "lies on the boundary itself, as the edge at a deterministic behaviour does, stays undecided. "
    "Of several networks the one is drawn that leaves least of a level's plane open."
)
COST_WORDS = (
    "A point a scenario, level, set and number of steps, all seeds together: further left is "
    "cheaper, lower leaves less open. Those that leave most open are named."
)

_COLUMNS: tuple[Column[Group], ...] = (
    words("level and set", lambda g: g.title, wrap=True),
    Column("decided", lambda g: g.decided_share, formatted(".3%")),
    Column("inconclusive", lambda g: g.inconclusive, formatted(",d")),
    Column("behaviours", lambda g: g.count, formatted(",d")),
    Column("inside", lambda g: g.inside, formatted(",d")),
    Column("outside", lambda g: g.outside, formatted(",d")),
    Column("by the solver", lambda g: g.by_solver, formatted(",d")),
    Column("µs a behaviour", lambda g: 1e3 * g.cpu_per_1000, formatted(".1f")),
    Column("steps", lambda g: g.steps, formatted("d")),
    Column("proven exactly", lambda g: g.certified, formatted(",d")),
    Column("refused", lambda g: g.refused, formatted("d")),
)


def _trained(left: dict[tuple[Any, ...], int]) -> tuple[Column[Row], ...]:
    """A row a network; ``left``: how many verdicts it left open, at all steps and of all sets."""

    def open_of(row: Row) -> int | None:
        return left.get((row["scenario"], row["level"], row["model"], row["model_seed"]))

    return (*_TRAINED, Column("left open", open_of, formatted(",d")), _FILE)


_TRAINED: tuple[Column[Row], ...] = (
    words("network", lambda r: f"{r['scenario']} {r['level']}, {r['model']}", wrap=True),
    Column("seed", lambda r: r["model_seed"], formatted("d")),
    Column("processor seconds", lambda r: r["cpu_seconds"], formatted(".1f")),
)
_FILE: Column[Row] = words("file", lambda r: r["model_file"])


def _answers(found: list[Answer]) -> tuple[Column[Answer], ...]:
    """A row a level and a start: what is left open of each set, and what deciding costs."""

    def open_of(name: str, steps: int) -> Column[Answer]:
        title = f"open of {name}, {steps} steps"
        return Column(title, lambda a: a.open_share(name, steps), formatted(".2%"))

    shares = [open_of(name, steps) for name, steps in asked(found)]
    faster = any(answer.speedup is not None for answer in found)
    return (
        words("level and start", lambda a: a.title, wrap=True),
        *shares[:1],
        Column("µs a behaviour", lambda a: 1e3 * a.whole.cpu_per_1000, formatted(".1f")),
        *([Column("times faster", lambda a: a.speedup, formatted(".2f"))] if faster else []),
        *shares[1:],
    )


def _against_cold(found: list[Group]) -> tuple[Column[Group], ...]:
    """A column of what a network saves, where there is one."""
    if not any(group.model for group in found):
        return ()
    return (Column("times faster than without", lambda g: speedup(g, found), formatted(".2f")),)


def write_report(folder: RunFolder) -> str:
    """Make `report.html`; return where it lies. InputError where the folder has no results."""

    def told(results: pa.Table) -> dict[str, Any]:
        rows = finished(results)
        found, said = groups(rows), answers(rows)
        return {
            "facts": _facts(folder, rows, said),
            "most_steps": max((answer.whole.steps for answer in said), default=0),
            "answers": table_of(_answers(said), said),
            "figures": [
                drawn("plane", "The boundary in a plane of behaviours",
                      plane_figure(planes(folder, rows)), PLANE_WORDS),
                drawn("cost", "What is left open, and what deciding costs",
                      cost_figure(found), COST_WORDS),
            ],
            "groups": table_of((*_COLUMNS, *_against_cold(found)), found),
            "trained": table_of(_trained(summary.left_open(rows)), summary.trained(results)),
        }  # fmt: skip

    return write_study_report(folder, ROWS, "bell_page.html", told)


def _facts(folder: RunFolder, rows: list[Row], said: list[Answer]) -> list[Any]:
    count = sum(answer.whole.count for answer in said)
    undecided = sum(answer.whole.inconclusive for answer in said)
    wrong, compared = contradictions(folder, rows)
    certified, refused = (sum(row[name] for row in rows) for name in ("certified", "refused"))
    share = f"{1.0 - undecided / count:.3%}" if count else "–"
    steps = said[0].whole.steps if said else 0
    return [
        (f"{sum(row['count'] for row in rows):,}", "verdicts asked for"),
        (share, f"decided with {steps} steps at most, each with a proof; {undecided:,} of "
                f"{count:,} inconclusive"),
        (f"{refused} of {certified:,}",
         "verdicts nearest to the boundary refused by rational arithmetic"),
        (f"{wrong} of {compared:,}",
         "behaviours decided at several levels or steps that contradict themselves"),
    ]  # fmt: skip
