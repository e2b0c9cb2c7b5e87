from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from pipeline.reports.page import ReportInput, render_report
from tests.browser.pages import browser_page, keep
from tests.pipeline.synthetic import results_table

pytestmark = pytest.mark.slow
EVIL = "<script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">"


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser_page(1100, 900) as page:
        yield page


def show(page: Page, where: Path, content: ReportInput) -> list[str]:
    """Open the report; return what the browser complained of or tried to load."""
    file = where / "report.html"
    file.write_text(render_report(content), encoding="utf-8")
    seen: list[str] = []
    page.on("console", lambda message: seen.append(message.text))
    page.on("pageerror", lambda error: seen.append(str(error)))
    page.on("request", lambda request: seen.append(request.url))
    page.goto(file.as_uri())
    own = (file.as_uri(), "data:")
    return [text for text in seen if not text.startswith(own)]


def test_the_page_shows_itself_without_any_other_request(page: Page, tmp_path: Path) -> None:
    complaints = show(page, tmp_path, ReportInput(results_table(failures=5)))
    assert complaints == []
    sizes = page.eval_on_selector_all("figure img", "all => all.map(i => i.naturalWidth)")
    assert len(sizes) == 6
    assert min(sizes) > 300
    # Nothing wider than the window but what scrolls in its own box.
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    keep(page, "report", full=True)


def test_a_heading_sorts_the_table(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, ReportInput(results_table(seeds=2, betas=4)))
    heading = page.locator("#best table").first.locator("th", has_text="bytes")
    column = heading.evaluate("head => head.cellIndex")
    cells = f"#best table tbody tr td:nth-child({column + 1})"
    heading.locator("button").click()
    table = page.locator("#best table").first
    down = [
        float(text) for text in table.locator(cells.removeprefix("#best table ")).all_inner_texts()
    ]
    assert down == sorted(down, reverse=True)
    assert heading.get_attribute("aria-sort") == "descending"
    heading.locator("button").click()
    up = [
        float(text) for text in table.locator(cells.removeprefix("#best table ")).all_inner_texts()
    ]
    assert up == sorted(up)


def test_markup_in_the_data_is_only_text(page: Page, tmp_path: Path) -> None:
    table = results_table(seeds=1, betas=2, dataset=EVIL, failures=2, error=EVIL)
    show(page, tmp_path, ReportInput(table, features=(EVIL,), location=EVIL))
    assert page.title() != "broken"
    assert "document.title='broken'" in page.inner_text("#failures")


def test_the_page_fits_a_phone(page: Page, tmp_path: Path) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    show(page, tmp_path, ReportInput(results_table(seeds=1, betas=3)))
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    keep(page, "report_phone")
