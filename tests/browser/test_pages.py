"""The pages as readers have them: on a desktop and a phone, in light and dark, on paper."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from pipeline.reports.comparison.page import render_comparison
from pipeline.reports.comparison.sets import make_sets
from pipeline.reports.figures.palette import contrast
from pipeline.reports.page import ReportInput, render_report
from pipeline.results.folder import RunFolder
from pipeline.studies.robustness.page import write_report
from pipeline.studies.robustness.rows import ROWS as ROBUST_ROWS
from pipeline.studies.robustness.rows import RobustRow
from tests.browser.pages import CHROMIUM, FLAGS, keep
from tests.pipeline.reports.comparison.test_sets import ROWS, table
from tests.pipeline.synthetic import results_table

pytestmark = pytest.mark.slow
WIDTHS = {"desktop": 1400, "phone": 390}
PAGES = ("report", "comparison", "study")
LEGIBLE, CONTRAST = 10.0, 4.5

# What is written in figures: its size on the screen, its place, and whether it lies in its picture.
TEXTS = """() => [...document.querySelectorAll("svg text")].filter(t => t.getClientRects().length)
  .map(t => { const box = t.getBoundingClientRect(), own = t.ownerSVGElement;
    const ground = own.getBoundingClientRect();
    return {text: t.textContent, bold: t.classList.contains("b"),
      picture: [...document.querySelectorAll("svg")].indexOf(own),
      size: parseFloat(getComputedStyle(t).fontSize) * own.getScreenCTM().a,
      inside: box.left >= ground.left - 2 && box.right <= ground.right + 2,
      box: [box.left, box.top, box.right, box.bottom]}; })"""
# Colours of all words that are seen, on the ground behind them.
COLOURS = """() => { const found = [];
  const ground = e => { for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor; if (c !== "rgba(0, 0, 0, 0)") return c; }
    return getComputedStyle(document.documentElement).backgroundColor; };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) { const e = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !e.getClientRects().length) continue;
    if (["SCRIPT", "STYLE", "title"].includes(e.tagName)) continue;
    const own = getComputedStyle(e);
    found.push([walk.currentNode.data.trim().slice(0, 40),
                e instanceof SVGElement ? own.fill : own.color, ground(e)]); }
  return found; }"""
TABLES = """() => [...document.querySelectorAll(".scroll")].filter(b => b.clientWidth).map(box => {
  const hint = box.parentElement.querySelector(".hint").getClientRects().length > 0;
  const wide = box.scrollWidth > box.clientWidth + 1;
  box.scrollLeft = box.scrollWidth;
  const left = box.getBoundingClientRect().left;
  const first = [...box.querySelectorAll("tr > :first-child")].map(c => c.getBoundingClientRect());
  return {hint, wide, name: box.ariaLabel, room: box.clientWidth,
          away: Math.max(...first.map(c => Math.abs(c.left - left))),
          width: Math.max(...first.map(c => c.width))}; })"""


@dataclass
class Reader:
    """A browser over the pages, made once."""

    browser: Browser
    folder: Path

    def open(self, name: str, device: str = "desktop", scheme: Any = "light", **how: Any) -> Page:
        view = {"width": WIDTHS[device], "height": 900}
        context = self.browser.new_context(viewport=view, color_scheme=scheme, **how)
        page = context.new_page()
        page.goto((self.folder / f"{name}.html").as_uri())
        return page


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    folder = tmp_path_factory.mktemp("pages")
    found = results_table(seeds=2, betas=6, shards=3, failures=3)
    arms = [{**row, "rounding": "annealing"} for row in found.to_pylist() if row["shard"] != "all"]
    whole = pa.concat_tables([found, pa.Table.from_pylist(arms[:60], found.schema)])
    (folder / "report.html").write_text(render_report(ReportInput(whole)), "utf-8")
    sets = make_sets("one", "standardize", table(ROWS))
    (folder / "comparison.html").write_text(render_comparison(sets), "utf-8")
    run = RunFolder.open(folder / "run")
    run.create()
    run.write_table("results/a.parquet", ROBUST_ROWS.table(robust_rows()))
    Path(write_report(run)).rename(folder / "study.html")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield Reader(browser, folder)
        finally:
            browser.close()


def robust_rows() -> list[RobustRow]:
    return [
        RobustRow(
            trial=f"{name}{norm}{radius}{k}", path="a", shard="all", network=name, norm=norm,
            radius=radius, unit="range", effort="exact", limits=None, row=k, label="yes",
            labelled=True, correct=k % 7 > 0, nodes=3 * k, cpu_seconds=0.01,
            verdict=("robust" if k > 40 * radius * 10 else "vulnerable" if k % 3 else "open"),
        )
        for name in ("wdbc", "a network with a long name") for norm in ("linf", "l2")
        for radius in (0.0, 0.01, 0.05, 0.1) for k in range(20)
    ]  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_all_words_are_legible(reader: Reader, name: str, device: str, scheme: str) -> None:
    page = reader.open(name, device, scheme)
    # Nothing is wider than the window but what scrolls in its own box.
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS[device]
    keep(page, f"{name}_{device}_{scheme}", full=True)
    texts = page.evaluate(TEXTS)
    assert len(texts) > 10
    assert min(text["size"] for text in texts) >= LEGIBLE
    assert [text["text"] for text in texts if not text["inside"]] == []
    found = {(colour, ground): words for words, colour, ground in page.evaluate(COLOURS)}
    assert len(found) > 5
    poor = {words for (colour, ground), words in found.items()
            if contrast(as_hex(colour), as_hex(ground)) < CONTRAST}  # fmt: skip
    assert poor == set()
    page.context.close()


def as_hex(colour: str) -> str:
    channels = re.findall(r"\d+", colour)[:3]
    return "#" + "".join(f"{int(channel):02x}" for channel in channels)


@pytest.mark.parametrize("device", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_names_of_lines_do_not_cover_one_another(reader: Reader, name: str, device: str) -> None:
    page = reader.open(name, device)
    names = [text for text in page.evaluate(TEXTS) if text["bold"]]
    for k, one in enumerate(names):
        for other in names[:k]:
            if one["picture"] == other["picture"]:
                (a, b, c, d), (e, f, g, h) = one["box"], other["box"]
                # Lines of text touch; their letters do not.
                assert c <= e or g <= a or d <= f + 4 or h <= b + 4, (one["text"], other["text"])
    page.context.close()


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
@pytest.mark.parametrize("device", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_wide_tables_keep_their_first_column_and_say_so(
    reader: Reader, name: str, device: str, script: bool
) -> None:
    page = reader.open(name, device, java_script_enabled=script)
    tables = page.evaluate(TABLES)
    assert tables
    assert any(one["wide"] for one in tables) or device == "desktop"
    for one in tables:
        # Without the script the hint may also stand where the table just fits.
        assert one["hint"] or not one["wide"], one
        assert one["hint"] == one["wide"] or not script, one
        # Scrolled to its end, it still says which row is which, and shows a figure beside it.
        assert one["away"] <= 2, one
        assert one["width"] <= 0.6 * one["room"], one
    page.context.close()


@pytest.mark.parametrize("device", WIDTHS)
def test_the_contents_lead_to_the_sections(reader: Reader, device: str) -> None:
    page = reader.open("report", device)
    page.add_style_tag(content="html { scroll-behavior: auto !important; }")
    links = page.locator("nav ol a")
    assert links.count() == page.locator("main section").count() > 6
    for k in range(links.count()):
        links.nth(k).click()
        target = links.nth(k).get_attribute("href") or ""
        assert page.locator(f"{target} h2").is_visible()
        top = page.evaluate(f"document.querySelector('{target}').getBoundingClientRect().top")
        end = page.evaluate("scrollY + innerHeight >= document.documentElement.scrollHeight - 2")
        assert -60 <= top <= 60 or end, target
    page.context.close()


def test_the_dark_page_is_dark_and_paper_is_light(reader: Reader) -> None:
    page = reader.open("report", scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(20, 25, 30)"
    page.emulate_media(media="print")
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS["desktop"]
    assert not page.locator("nav").is_visible()
    assert not page.locator(".hint").first.is_visible()
    page.context.close()


def test_nothing_else_is_asked_for(reader: Reader) -> None:
    page = reader.open("report")
    seen: list[str] = []
    page.on("console", lambda message: seen.append(message.text))
    page.on("pageerror", lambda error: seen.append(str(error)))
    page.on("request", lambda request: seen.append(request.url))
    page.reload()
    assert [text for text in seen if not text.startswith("file:")] == []
    page.context.close()
