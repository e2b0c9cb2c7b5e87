"""The report of a study of robustness: one HTML page, from the run's files alone."""

from __future__ import annotations

import base64
import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.logs.redact import redact
from pipeline.reports.figures.drawing import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    RED,
    new_figure,
    say_nothing,
    style,
    to_svg,
)
from pipeline.reports.page import REPORT_FILE, page_script, render_page
from pipeline.results.folder import CONFIG_FILE, RunFolder
from pipeline.results.ledger import read_results
from pipeline.studies.robustness.rows import ROWS
from pipeline.studies.robustness.summary import Group, Reach, finished, groups, reaches
from qnn.errors import InputError

WORDS = (
    "Full lines: provably correct whatever happens within the radius. Dashed: correct against our "
    "best attack. The truth lies in the band between them; without a visible band every row is "
    "decided."
)
_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, RED, INK)
_UNITS = {"raw": "raw units", "scale": "standard deviations", "range": "parts of the range"}
# Factors beyond are those of rows that no change spoils.
_UNBOUNDED = 2.0**39
_COLUMNS = (
    ("network", True), ("norm", True), ("radius", False), ("rows", False), ("correct", False),
    ("provably correct", False), ("against the attack", False), ("nodes", False),
    ("ms a row", False),
)  # fmt: skip


_REACH_COLUMNS = (
    ("network", True), ("norm", True), ("rows", False), ("proven of half", False),
    ("unbroken of half", False), ("largest proven", False), ("nothing proven", False),
)  # fmt: skip
# Of the axis that shows largest radii, the share of the rows that lies on it.
_SHOWN = 0.95


def curves_figure(found: Sequence[Group], far: Sequence[Reach] = ()) -> Figure:
    """Proven and attacked accuracy against the radius: a panel a norm, a colour a network.

    Where largest radii were asked for they give the curves, a step a row.
    """
    if far:
        return reach_figure(far)
    norms = list(dict.fromkeys(group.norm for group in found))
    if not norms:
        return say_nothing(*new_figure(8.6, 1.2), "no row is finished")
    with style():
        figure = Figure(figsize=(8.6, 4.0), layout="constrained")
        panels = figure.subplots(1, len(norms), sharey=True, squeeze=False)[0]
        for norm, axes in zip(norms, panels, strict=True):
            _draw(axes, [group for group in found if group.norm == norm])
            axes.set_title(norm)
        panels[0].set_ylabel("share of the rows, %")
    return figure


def _draw(axes: Axes, found: Sequence[Group]) -> None:
    names = list(dict.fromkeys(group.network for group in found))
    for index, name in enumerate(names):
        some = [group for group in found if group.network == name]
        colour = _COLOURS[index % len(_COLOURS)]
        x = [group.radius for group in some]
        proven, held = ([100.0 * group.shares[key] for group in some] for key in ("proven", "held"))
        axes.fill_between(x, proven, held, color=colour, alpha=0.18, linewidth=0)
        axes.plot(x, proven, color=colour, marker="o", label=f"{name}, proven")
        axes.plot(x, held, color=colour, linestyle="--", label=f"{name}, attacked")
    axes.set_ylim(-3.0, 103.0)
    units = ", ".join(dict.fromkeys(_UNITS[group.unit] for group in found))
    axes.set_xlabel(f"radius, {units}")
    axes.legend(frameon=False)


def reach_figure(found: Sequence[Reach]) -> Figure:
    """Share of the rows proven, and not attacked, at every radius up to the largest of most."""
    norms = list(dict.fromkeys(one.norm for one in found))
    with style():
        figure = Figure(figsize=(8.6, 4.0), layout="constrained")
        panels = figure.subplots(1, len(norms), sharey=True, squeeze=False)[0]
        for norm, axes in zip(norms, panels, strict=True):
            some = [one for one in found if one.norm == norm]
            for colour, one in zip(itertools.cycle(_COLOURS), some, strict=False):
                _draw_reach(axes, one, colour)
            axes.set_title(norm)
            axes.set_ylim(-3.0, 103.0)
            axes.set_xlabel(f"radius, {_UNITS[some[0].unit]}")
            axes.legend(frameon=False)
        panels[0].set_ylabel("share of the rows, %")
    return figure


def _draw_reach(axes: Axes, one: Reach, colour: str) -> None:
    ends = [end for end in (*one.certified, *one.attacked) if 0.0 < end < _UNBOUNDED]
    edge = 1.1 * float(np.quantile(ends, _SHOWN)) if ends else 1.0
    radii = sorted({0.0, edge, *(end for end in ends if end < edge)})
    # Just above a row's radius it counts no more.
    radii = sorted({*radii, *(np.nextafter(r, np.inf) for r in radii)})
    proven, held = (100.0 * np.array(shares) for shares in one.shares(radii))
    axes.fill_between(radii, proven, held, color=colour, alpha=0.18, linewidth=0)
    axes.plot(radii, proven, color=colour, label=f"{one.network}, proven")
    axes.plot(radii, held, color=colour, linestyle="--", label=f"{one.network}, attacked")


def write_report(folder: RunFolder) -> str:
    """Make `report.html`; return where it lies. InputError where the folder has no results."""
    results = read_results(folder, ROWS)
    if not results.num_rows:
        raise InputError(f"{folder.label}: no results here; give the folder of a sweep")
    done = finished(results)
    found, far = groups(done), reaches(done)
    failures = Counter(row["error"] for row in results.to_pylist() if row["status"] != "ok")
    script, script_hash = page_script()
    page = render_page(
        "robustness_page.html",
        script=script,
        script_hash=script_hash,
        name=_name(folder),
        facts=_facts(found),
        figures=[_figure(curves_figure(found, far))],
        groups=_table(found),
        reaches=_reach_table(far) if far else None,
        failures=[{"count": n, "error": redact(str(error))} for error, n in failures.items()],
        verify_command=f"qnn verify {folder.label}",
        config=redact(_text(folder)),
    )
    folder.write(REPORT_FILE, page.encode())
    return f"{folder.label.rstrip('/')}/{REPORT_FILE}"


def _facts(found: Sequence[Group]) -> list[tuple[str, str]]:
    count = sum(group.count for group in found)
    undecided = sum(group.held - group.proven for group in found)
    seconds = sum(group.cpu_seconds for group in found)
    return [
        (f"{count:,}", "rows asked, a network and a radius each"),
        (f"{1.0 - undecided / count:.2%}" if count else "–",
         f"decided: proven, or a witness; {undecided:,} open"),
        (f"{1e3 * seconds / count:.3g} ms" if count else "–", "of one core a row, proof included"),
    ]  # fmt: skip


def _table(found: Sequence[Group]) -> dict[str, Any]:
    def cells(group: Group) -> list[dict[str, str]]:
        shares = group.shares
        numbers = [
            (group.radius, "g"), (group.count, ",d"), (shares["correct"], ".1%"),
            (shares["proven"], ".1%"), (shares["held"], ".1%"), (group.nodes, ",d"),
            (1e3 * group.cpu_seconds / group.count, ".3g"),
        ]  # fmt: skip
        return [{"sort": text, "text": text} for text in (group.network, group.norm)] + [
            {"sort": f"{value:.10g}", "text": format(value, how)} for value, how in numbers
        ]

    return {
        "columns": [{"title": title, "text": text} for title, text in _COLUMNS],
        "rows": [{"chosen": False, "cells": cells(group)} for group in found],
    }


def _reach_table(found: Sequence[Reach]) -> dict[str, Any]:
    def cells(one: Reach) -> list[dict[str, str]]:
        proven, held = one.medians
        numbers = [
            (float(len(one.certified)), ",.0f"), (proven, ".4g"), (held, ".4g"),
            (one.certified[-1], ".4g"), (one.certified.count(0.0), ",d"),
        ]  # fmt: skip
        return [{"sort": text, "text": text} for text in (one.network, one.norm)] + [
            {"sort": f"{value:.10g}", "text": _far_text(value, how)} for value, how in numbers
        ]

    return {
        "columns": [{"title": title, "text": text} for title, text in _REACH_COLUMNS],
        "rows": [{"chosen": False, "cells": cells(one)} for one in found],
    }


def _far_text(value: float, how: str) -> str:
    return "unbounded" if value >= _UNBOUNDED else format(value, how)


def _figure(figure: Figure) -> dict[str, str]:
    source = f"data:image/svg+xml;base64,{base64.b64encode(to_svg(figure)).decode()}"
    title = "Proven and attacked accuracy against the radius"
    return {"name": "curves", "title": title, "source": source, "describe": WORDS}


def _text(folder: RunFolder) -> str:
    try:
        return folder.read(CONFIG_FILE).decode(errors="replace")
    except FileNotFoundError:
        return ""


def _name(folder: RunFolder) -> str:
    lines = [line for line in _text(folder).splitlines() if line.startswith("name:")]
    return lines[0].removeprefix("name:").strip().strip("'\"") if lines else "robustness"
