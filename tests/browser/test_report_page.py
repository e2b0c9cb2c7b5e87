from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from pipeline.reports.page import ReportInput, render_report
from tests.browser.pages import browser_page
from tests.pipeline.synthetic import results_table

pytestmark = pytest.mark.slow
EVIL = "<script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">"


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser_page(1100, 900) as page:
        yield page


def show(page: Page, where: Path, content: ReportInput) -> None:
    file = where / "report.html"
    file.write_text(render_report(content), encoding="utf-8")
    page.goto(file.as_uri())


def test_a_heading_sorts_the_table(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, ReportInput(results_table(seeds=2, betas=4)))
    table = page.locator("#best table").first
    heading = table.locator("th", has_text="neurons")
    column = heading.evaluate("head => head.cellIndex")
    cells = f"tbody tr > :nth-child({column + 1})"
    heading.locator("button").click()
    down = [float(text) for text in table.locator(cells).all_inner_texts()]
    assert down == sorted(down, reverse=True)
    assert len(down) > 5
    assert heading.get_attribute("aria-sort") == "descending"
    heading.locator("button").click()
    up = [float(text) for text in table.locator(cells).all_inner_texts()]
    assert up == sorted(up)


def test_markup_in_the_data_is_only_text(page: Page, tmp_path: Path) -> None:
    table = results_table(
        seeds=1, betas=2, dataset=EVIL, failures=2, error=EVIL, roundings=("krivine", EVIL)
    )
    show(page, tmp_path, ReportInput(table, features=(EVIL,), location=EVIL))
    assert page.title() != "broken"
    assert "document.title='broken'" in page.inner_text("#failures")
    # In the figures too.
    assert "document.title='broken'" in page.inner_text("#figures")
