"""What all pages share: the frame with its contents, the style, the script, drawn figures.

A page is one file that needs no network, is readable without its script, and light or dark as the
reader's system is.
"""

from __future__ import annotations

import base64
import hashlib
import re
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from pipeline.reports.figures import palette, svg
from pipeline.reports.figures.chart import Chart

REPORT_FILE = "report.html"
_CONTENTS = "<!--contents-->"
_SECTION = re.compile(r'<section id="([a-z-]+)"[^>]*>\s*<h2>(.*?)</h2>', re.DOTALL)


def render_page(template: str, **values: Any) -> str:
    """A page from one of the package's templates; everything put into it is escaped.

    Its sections, each with an id and a heading, make its table of contents.
    """
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_text),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = _text("page.js")
    # Style and script are the package's own files: the only text that is not escaped.
    own = {"css": Markup(_style()), "script": Markup(script), "script_hash": _hash(script)}
    page = environment.get_template(template).render(**values, **own)
    items = [f'<li><a href="#{name}">{title}</a></li>' for name, title in _SECTION.findall(page)]
    return page.replace(_CONTENTS, "\n".join(items), 1)


def drawn(name: str, title: str, chart: Chart, describe: str) -> dict[str, Any]:
    """A figure as the templates take it: its panels at two widths, and its legend."""
    return {
        "name": name,
        "title": title,
        "describe": describe,
        "empty": chart.empty,
        "across": svg.across(chart),
        "legend": svg.legend(chart),
        "panels": svg.pictures(chart),
    }


def _style() -> str:
    fills = "".join(
        f".f-{name}{{fill:var(--{name})}}.s-{name}{{stroke:var(--{name});fill:none}}"
        for name in palette.LIGHT
    )
    return f"{palette.style_sheet()}{fills}\n{_text('page.css')}"


def _text(name: str) -> str:
    return resources.files("pipeline.reports").joinpath("pages", name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"sha256-{digest}"
